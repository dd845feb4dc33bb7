"""A federation of several public sets in one folder."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from shared.errors import BadInput
from tests.benchmarks.converters import crosswoz, eshop, intents_only, tau
from tests.benchmarks.converters.layout import Limits, Store, write
from tests.benchmarks.converters.source import data_root


class Reader(Protocol):
    """Reads one store of a set."""

    def __call__(self, source: Path, *, limits: Limits) -> Store:
        """Return the store."""


def _intents(folder: str, lang: str) -> Callable[..., Store]:
    return partial(intents_only.read, folder=folder, lang=lang)


SETS: Mapping[str, Reader] = MappingProxyType(
    {
        "tau": tau.read,
        "eshop": eshop.read,
        "crosswoz": crosswoz.read,
        "xsid-ja": _intents("xsid07", "ja"),
        "xsid-ar": _intents("xsid07", "ar"),
        "xsid-zh": _intents("xsid07", "zh"),
        "xsid-en": _intents("xsid07", "en"),
        "xsid-de": _intents("xsid07", "de"),
        "banking-en": _intents("banking77_en_ar", "en"),
        "banking-ar": _intents("banking77_en_ar", "ar"),
    }
)
"""What ``--sets`` may name; each becomes a store of that id."""

DEFAULT_SETS = ("tau", "eshop", "crosswoz", "xsid-ja", "xsid-ar", "banking-en", "banking-ar")


def convert_all(
    out: Path,
    *,
    sets: Sequence[str] = DEFAULT_SETS,
    source: Path | None = None,
    limits: Limits | None = None,
) -> tuple[Store, ...]:
    """Write a federation with one store per set to ``out``.

    Raises:
        BadInput: a set is unknown.
        Unavailable: a set's files are missing; says where to get them.
    """
    unknown = [name for name in sets if name not in SETS]
    if unknown:
        raise BadInput(
            f"no such set: {', '.join(unknown)}", where="--sets", remedy=f"take {', '.join(SETS)}"
        )
    folder, bounds = source or data_root(), limits or Limits()
    stores = tuple(SETS[name](folder, limits=bounds) for name in sets)
    write(out, stores)
    return stores
