"""Builds the store's trainer; apart from the rest because it needs torch."""

from pathlib import Path

from shared.config import Settings
from shared.errors import BadConfig
from store_node.ports import LocalTrainer
from store_node.training.trainer import DpTrainer, TrainerParts
from store_node.wiring import open_data


def build_trainer(home: Path, settings: Settings) -> LocalTrainer:
    """Return the trainer of the store in ``home``.

    Raises:
        BadConfig: the base model is not a local folder yet.
    """
    base = Path(settings.model.base).expanduser()
    if not settings.model.base or not (base / "config.json").is_file():
        raise BadConfig(
            "the base model is not a local folder",
            where="[model] base",
            remedy="set it to the folder of the base model that HQ plans with",
        )
    data = open_data(settings, home)
    return DpTrainer(
        TrainerParts(
            base=base,
            samples=data.samples,
            states=home / "states",
            digests=home / "states" / "base.json",
            min_customers=settings.privacy.min_customers,
            performance=settings.performance,
        )
    )
