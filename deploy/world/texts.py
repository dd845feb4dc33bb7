"""The words of each language and the goods and policies of each store, read from packaged TOML."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from shared.errors import BadInput
from shared.intents import INTENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Pools and forms of names; the first quarter of the given names is kept for the gate."""

    family: tuple[str, ...]
    women: tuple[str, ...]
    men: tuple[str, ...]
    latin: tuple[str, ...]
    full: str
    call: str
    titles: tuple[str, str]
    """For a woman, for a man."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentTexts:
    """How an intent sounds: single sentences, openings of conversations, replies, follow-ups."""

    asks: tuple[str, ...]
    held_asks: tuple[str, ...]
    """Only the gate and nobody's customers say these."""
    opens: tuple[str, ...]
    held_opens: tuple[str, ...]
    replies: tuple[str, ...]
    replies_out: tuple[str, ...] = ()
    """Instead of ``replies`` where the product is sold out."""
    more: tuple[tuple[str, str], ...] = ()
    needs_order: bool = False
    fits: tuple[tuple[int, ...], ...] = ()
    """For each opening the replies that answer it; empty: any reply does."""
    held_fits: tuple[int, ...] = ()
    """The replies that answer the held openings."""
    more_fits: tuple[tuple[int, ...], ...] = ()
    """For each opening the follow-ups that may come after it; empty: any may."""

    def replies_to(self, opening: int) -> tuple[str, ...]:
        """Return the replies to ``opens[opening]``, or to a held opening for a negative number."""
        chosen = self.held_fits if opening < 0 else self.fits[opening] if self.fits else ()
        return tuple(self.replies[i] for i in chosen) or self.replies

    def more_after(self, opening: int) -> tuple[tuple[str, str], ...]:
        """Return the follow-ups that may come after ``opens[opening]``; negative: any."""
        if opening < 0 or not self.more_fits:
            return self.more
        return tuple(self.more[i] for i in self.more_fits[opening])


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageTexts:
    """Everything that is said in one language."""

    lang: str
    date: str
    months: tuple[str, ...]
    names: Names
    fragments: Mapping[str, str]
    knowledge: tuple[tuple[str, str], ...]
    """(title, text) templates, filled from the store's policy."""
    typos: tuple[tuple[str, str], ...]
    emoji: tuple[str, ...]
    intents: Mapping[str, IntentTexts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """A product line; each variant is a product of the catalogue."""

    name: str
    short: str
    price: float
    feature: str
    category: str
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTexts:
    """A store: who it is, what it sells, what it promises, what its customers ask about."""

    id: str
    name: str
    lang: str
    currency: str
    money: str
    timezone: str
    code: str
    """Two letters before order numbers and ids."""
    carrier_code: str
    mix: Mapping[str, float]
    """Weights of the intents."""
    policy: Mapping[str, str]
    addresses: tuple[str, ...]
    streets: tuple[str, ...]
    areas: tuple[str, ...]
    goods: tuple[Goods, ...]
    knowledge: tuple[tuple[str, str], ...] = ()


def _read(name: str, *, known: str) -> dict[str, Any]:
    source = files("deploy.world") / name
    if not source.is_file():
        raise BadInput(
            f"no {known} of that name", where=name, remedy=f"choose one of {_known(known)}"
        )
    return tomllib.loads(source.read_text(encoding="utf-8"))


def _known(known: str) -> str:
    entries = sorted(entry.name for entry in files("deploy.world").iterdir())
    return ", ".join(e[len(known) + 1 : -5] for e in entries if e.startswith(f"{known}_"))


def _frozen(value: object) -> object:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _frozen(value) for key, value in table.items()}


@cache
def language(lang: str) -> LanguageTexts:
    """Return the texts of a language.

    Raises:
        BadInput: there are none.
    """
    data = _read(f"lang_{lang}.toml", known="lang")
    tables = data.pop("intents")
    names = data.pop("names")
    for pool in ("family", "women", "men", "latin"):
        names[pool] = tuple(names[pool].split())
    return LanguageTexts(
        names=Names(**_tuples(names)),
        intents={name: IntentTexts(**_tuples(tables[name])) for name in INTENTS},
        **_tuples(data),
    )


@cache
def store(store_id: str) -> StoreTexts:
    """Return the texts of a store.

    Raises:
        BadInput: there is no such store.
    """
    data = _tuples(_read(f"store_{store_id}.toml", known="store"))
    keys = ("name", "short", "price", "feature", "category", "variants")
    data["goods"] = tuple(Goods(**dict(zip(keys, row, strict=True))) for row in data["goods"])
    return StoreTexts(**data)
