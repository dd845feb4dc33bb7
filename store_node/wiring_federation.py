"""Builds the store's federation service from its home folder; imports torch only to train."""

import importlib
import json
from pathlib import Path

from shared.clock import SystemClock
from shared.config import Settings, load_settings
from shared.errors import BadConfig
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger
from store_node.federation.policy import Membership
from store_node.federation.service import FederationService
from store_node.ports import LocalTrainer


def build_federation(home: Path) -> FederationService:
    """Return the service of the store in ``home``.

    Raises:
        BadConfig: the store has no id, or has not joined a federation.
    """
    settings = load_settings(home=home)
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    member = read_membership(home, settings)
    ledger = Ledger.open(home / "ledger.db", owner=member.store_id, key=key, clock=SystemClock())
    return FederationService(
        membership=member,
        key=key,
        ledger=ledger,
        policy=settings.privacy,
        folder=home / "federation",
        trainer=lambda: _trainer(home, settings),
    )


def read_membership(home: Path, settings: Settings) -> Membership:
    """Return what ``store join`` wrote to ``hq.json``.

    Raises:
        BadConfig: the store has no id, or the file is missing or incomplete.
    """
    path = home / "hq.json"
    if not settings.store.id:
        raise BadConfig(
            "the store has no id", where=str(home), remedy="run `storeweave store init`"
        )
    try:
        found = json.loads(path.read_text("utf-8"))
        return Membership(
            store_id=settings.store.id,
            hq_key=found["hq_key"],
            federation=found["federation"],
            cohort=found.get("cohort", ""),
        )
    except (OSError, ValueError, KeyError):
        raise BadConfig(
            "the store has not joined a federation",
            where=str(path),
            remedy="run `storeweave store join`",
        ) from None


def _trainer(home: Path, settings: Settings) -> LocalTrainer:
    # Late on purpose: the trainer needs torch, and a proposal is answered without it.
    wiring = importlib.import_module("store_node.wiring_training")
    trainer: LocalTrainer = wiring.build_trainer(home, settings)
    return trainer
