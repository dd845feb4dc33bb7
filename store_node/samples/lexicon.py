"""Lists of names and places, from the Faker library's locale data, loaded when first needed.

They serve twice: to notice a name that no cue announces, and to put a name of the same language in
its place.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from typing import Any

_LOCALES = {
    "en": ("en_US", "en_GB"),
    "zh": ("zh_CN",),
    "ja": ("ja_JP",),
    "ar": ("ar_SA", "ar_AA", "ar_PS", "ar_DZ"),
    "es": ("es_ES", "es_MX"),
    "de": ("de_DE",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Given names and surnames of one language, sorted, without repeats."""

    given: tuple[str, ...]
    surnames: tuple[str, ...]


@lru_cache(maxsize=1)
def _lists() -> dict[str, tuple[str, ...]]:
    text = files("store_node.samples").joinpath("words.toml").read_text(encoding="utf-8")
    return {name: tuple(words.split()) for name, words in tomllib.loads(text).items()}


def word_list(name: str) -> tuple[str, ...]:
    """Return a list of ``words.toml``, in its order."""
    return _lists()[name]


def _flat(values: object) -> Iterable[str]:
    if isinstance(values, Mapping):
        values = values.keys()
    if isinstance(values, (list, tuple, set, frozenset)) or hasattr(values, "__iter__"):
        for value in values:
            yield value if isinstance(value, str) else value[0]


def _provider(kind: str, locale: str) -> Any:  # noqa: ANN401 - the library is untyped
    return import_module(f"faker.providers.{kind}.{locale}").Provider


@lru_cache(maxsize=16)
def names_of(lang: str) -> Names:
    """Return the names of ``lang``; English ones where the language has no list."""
    given: set[str] = set()
    surnames: set[str] = set()
    for locale in _LOCALES.get(lang, _LOCALES["en"]):
        firsts, lasts = _locale_names(locale)
        given.update(firsts)
        surnames.update(lasts)
    if lang == "zh":
        surnames.update(word_list("chinese_surnames"))
    if lang == "ar":
        given.update(word_list("arabic_given"))
    return Names(
        given=tuple(sorted(n for n in given if n.strip())),
        surnames=tuple(sorted(n for n in surnames if n.strip())),
    )


_LATIN_LOCALES = (
    *("en_US", "en_GB", "en_IN", "en_NG", "en_KE", "es_ES", "es_MX", "es_AR", "de_DE", "de_AT"),
    *("fr_FR", "it_IT", "pt_BR", "pt_PT", "nl_NL", "sv_SE", "no_NO", "da_DK", "fi_FI", "pl_PL"),
    *("cs_CZ", "sk_SK", "hu_HU", "hr_HR", "sl_SI", "ro_RO", "tr_TR", "id_ID", "vi_VN", "lt_LT"),
    *("lv_LV", "et_EE"),
)


@lru_cache(maxsize=1)
def latin_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return given names and surnames in Latin script of many countries, casefolded."""
    given: set[str] = set()
    surnames: set[str] = set()
    for locale in _LATIN_LOCALES:
        firsts, lasts = _locale_names(locale)
        given.update(firsts)
        surnames.update(lasts)
    return _single_words(given), _single_words(surnames)


@lru_cache(maxsize=1)
def ordinary_words() -> frozenset[str]:
    """Return common English and German words, casefolded: alone, they are not taken for a name."""
    words: set[str] = set()
    for locale in ("en_US", "de_DE"):
        words.update(word.casefold() for word in _provider("lorem", locale).word_list)
    return frozenset(words)


def _single_words(names: set[str]) -> frozenset[str]:
    folded = {name.strip().casefold() for name in names}
    return frozenset(n for n in folded if len(n) > 1 and not n.startswith("-") and " " not in n)


def _locale_names(locale: str) -> tuple[set[str], set[str]]:
    person = _provider("person", locale)
    given: set[str] = set()
    surnames: set[str] = set()
    for field in dir(person):
        if field.startswith("first_names") or field == "first_name_pairs":
            given.update(_flat(getattr(person, field)))
        elif field.startswith("last_names") or field == "last_name_pairs":
            surnames.update(_flat(getattr(person, field)))
    return given, surnames
