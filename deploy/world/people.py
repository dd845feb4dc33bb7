"""Invented people: names, phones, addresses and numbers in the form of each language's country.

Nothing here can be dialled or delivered to on purpose: phones use ranges that are reserved for
fiction or blocks that are not given out, e-mails use example.com and its like, identity numbers
belong to people born more than a century ago or carry prefixes that are never issued.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.world.grammar import Value
from deploy.world.texts import LanguageTexts, StoreTexts

LABELS = (
    "name",
    "phone",
    "email",
    "address",
    "order",
    "tracking",
    "id_card",
    "bank_card",
    "plate",
)
"""The kinds of personal data that are planted."""

_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
_ARABIC_INDIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One customer; agents address them by family or given name and title."""

    name: str
    family: str
    given: str
    title: str
    phone: str
    email: str
    address: str
    id_card: str
    bank_card: str
    plate: str

    def values(self, chance: random.Random, lang: str) -> Mapping[str, Value]:
        """Return the slots of this person, written the way people type them."""
        return {
            "name": Value(text=self.name, label="name"),
            "family": Value(text=self.family, label="name"),
            "given": Value(text=self.given, label="name"),
            "title": Value(text=self.title),
            "phone": Value(text=typed(self.phone, chance, lang), label="phone"),
            "email": Value(text=self.email, label="email"),
            "address": Value(text=self.address, label="address"),
            "id_card": Value(text=self.id_card, label="id_card"),
            "bank_card": Value(text=self.bank_card, label="bank_card"),
            "plate": Value(text=self.plate, label="plate"),
        }


def typed(number: str, chance: random.Random, lang: str) -> str:
    """Return ``number`` as a customer might type it: now and then with their script's digits."""
    if lang in {"zh", "ja"} and chance.random() < 0.06:  # noqa: PLR2004
        return number.translate(_FULL_WIDTH)
    if lang == "ar" and chance.random() < 0.12:  # noqa: PLR2004
        return number.translate(_ARABIC_INDIC)
    return number


def luhn(digits: str) -> str:
    """Return ``digits`` with the check digit of ISO/IEC 7812 behind them."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        figure = int(char) * (2 if place % 2 == 0 else 1)
        total += figure - 9 if figure > 9 else figure  # noqa: PLR2004
    return digits + str(-total % 10)


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice("0123456789") for _ in range(count))


def _card(chance: random.Random, prefix: str) -> str:
    number = luhn(prefix + _digits(chance, 15 - len(prefix)))
    return " ".join(number[i : i + 4] for i in range(0, 16, 4)) if chance.random() < 0.5 else number  # noqa: PLR2004


def _chinese_id(chance: random.Random) -> str:
    body = f"3301{chance.randint(2, 9):02d}19{chance.randint(0, 9):02d}"
    body += f"{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}{_digits(chance, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(char) * weight for char, weight in zip(body, weights, strict=True))
    return body + "10X98765432"[total % 11]


def _phone(chance: random.Random, lang: str) -> str:
    end = _digits(chance, 4)
    if lang == "zh":
        start = chance.choice(("138", "139", "151", "177", "186", "199"))
        forms = (f"{start}0000{end}", f"{start} 0000 {end}", f"{start}-0000-{end}")
    elif lang == "ar":
        start = chance.choice(("077", "078", "079"))
        forms = (
            f"{start}0000{end[:3]}",
            f"{start}-0000-{end[:3]}",
            f"+962 {start[1:]} 0000 {end[:3]}",
        )
    elif lang == "ja":
        start = chance.choice(("070", "080", "090"))
        forms = (f"{start}-0000-{end}", f"{start}0000{end}", f"{start}-0000-{end}")
    else:
        forms = (f"07700 900{end[:3]}", f"07700900{end[:3]}", f"+44 7700 900{end[:3]}")
    return chance.choice(forms)


def _id_card(chance: random.Random, lang: str) -> str:
    if lang == "zh":
        return _chinese_id(chance)
    if lang == "ar":
        return "900" + _digits(chance, 7)
    if lang == "ja":
        return f"{_digits(chance, 4)} {_digits(chance, 4)} {_digits(chance, 4)}"
    pairs = (_digits(chance, 2), _digits(chance, 2), _digits(chance, 2))
    return f"QQ {' '.join(pairs)} {chance.choice('ABCD')}"


def _plate(chance: random.Random, lang: str) -> str:
    letter, *others = (chance.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(3))
    first, second = _digits(chance, 2), _digits(chance, 2)
    if lang == "zh":
        return f"浙{chance.choice('ABCDF')}{chance.choice(['·', ''])}{first}{letter}{second}"
    if lang == "ar":
        return f"{chance.randint(10, 60)}-{first}{second}{chance.randint(0, 9)}"
    if lang == "ja":
        kind, kana = chance.choice(("300", "500", "530")), chance.choice("さすせそたちつ")
        return f"なにわ {kind} {kana} {first}-{second}"
    return f"Y{chance.choice('ABDEF')}{chance.randint(10, 26)} {letter}{''.join(others)}"


_CARD_PREFIX = {"zh": "622202000", "ar": "40000000", "ja": "35300000", "en": "40000000"}


def invent(chance: random.Random, texts: LanguageTexts, store: StoreTexts, *, gate: bool) -> Person:
    """Return a person of the store's town; the gate's people draw from names of their own."""
    lang = texts.lang
    woman = chance.random() < 0.5  # noqa: PLR2004
    names = texts.names
    given_pool = names.women if woman else names.men
    cut = max(1, len(given_pool) // 4)
    given = chance.choice(given_pool[:cut] if gate else given_pool[cut:])
    family = chance.choice(names.family)
    at = chance.choice(("example.com", "example.org", "example.net"))
    latin = chance.choice(names.latin)
    address = chance.choice(store.addresses).format(
        street=chance.choice(store.streets),
        area=chance.choice(store.areas),
        no=chance.randint(1, 188),
        floor=chance.randint(1, 9),
        flat=chance.randint(1, 4) * 100 + chance.randint(1, 8),
        code=chance.choice("ABDEFGHJLN"),
    )
    return Person(
        name=names.full.format(given=given, family=family),
        family=family,
        given=given,
        title=names.titles[0 if woman else 1],
        phone=_phone(chance, lang),
        email=f"{latin}{chance.choice(['.', '_', ''])}{chance.randint(10, 9999)}@{at}",
        address=address,
        id_card=_id_card(chance, lang),
        bank_card=_card(chance, _CARD_PREFIX[lang]),
        plate=_plate(chance, lang),
    )
