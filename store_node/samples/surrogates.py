"""What stands in a masked text in place of a real value: same kind, same language, never the value.

A surrogate is drawn by HMAC from the store's secret, the conversation and the real value, so it is
the same each time within a conversation, another one in the next, and nobody without the secret can
go back. Phone numbers come from ranges that are kept for fiction (US 555-01xx, UK 07700 900xxx,
Germany 030 23125xxx) or that no numbering plan assigns
(mainland China 154…, elsewhere drawn until no plan holds it).
"""

import hashlib
import hmac
import re
from functools import lru_cache

from store_node.samples.formats import digits_of
from store_node.samples.lexicon import names_of
from store_node.samples.phones import is_planned
from store_node.samples.view import view

_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ"
_HAN_DIGITS = "零一二三四五六七八九"
_HAN_ALL = "〇零一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖"
_STREETS = {
    "zh": ("平安路{n}号", "和平街{n}号", "幸福大道{n}号", "春晖路{n}号", "新华巷{n}号"),
    "ja": ("架空市中央{a}丁目{b}番{n}号", "見本市本町{a}丁目{b}番{n}号", "例町桜{a}丁目{b}番{n}号"),
    "ar": ("شارع الزهور {n}", "شارع السلام {n}", "شارع النخيل {n}", "حي الياسمين {n}"),
    "en": ("{n} Example Street", "{n} Sample Avenue", "{n} Maple Test Road", "{n} Fiction Lane"),
    "es": ("Calle Ejemplo {n}", "Avenida Muestra {n}", "Plaza Ficticia {n}"),
    "de": ("Musterstraße {n}", "Beispielweg {n}", "Probeallee {n}"),
}
_TITLES = re.compile(r"(?:mr|mrs|ms|dr|prof|miss|sr|sra|herr|frau)\.?", re.IGNORECASE)
_EXTENSION = re.compile(r"( ?(?:x|ext\.?|extension|分机|转|内線) ?)(\d+)$", re.IGNORECASE)
_US, _UK, _CN, _JP = 10, 11, 11, 11
_TRIES = 16


class Surrogates:
    """Draws the surrogates of one conversation."""

    def __init__(self, key: bytes, conversation_key: str) -> None:
        self._key = hmac.digest(key, b"surrogate\0" + conversation_key.encode(), hashlib.sha256)

    def of(self, value: str, label: str, lang: str) -> str:
        """Return the surrogate of ``value``, which never equals it nor holds a part of a name."""
        folded = view(value).text
        for attempt in range(_TRIES):
            made = self._make(folded, label, lang, attempt)
            if made.casefold() != folded.casefold():
                return _like(value, made)
        return "[" + label + "]"

    def _make(self, value: str, label: str, lang: str, attempt: int) -> str:
        kind = _kind_of(value) if label == "PRIVATE" else label
        salt = f"{attempt}" if attempt else ""
        makers = {
            "PERSON": self._person,
            "ADDRESS": self._address,
            "PHONE": self._phone,
            "EMAIL": self._email,
            "URL": self._url,
            "IP": self._ip,
            "BIRTH": self._birth,
        }
        return makers.get(kind, self._code)(value, lang, salt)

    def _email(self, value: str, _lang: str, salt: str) -> str:
        return f"user{self._digits(value.casefold() + salt, 6)}@example.com"

    def _url(self, value: str, _lang: str, salt: str) -> str:
        return f"https://example.com/{self._digits(value.casefold() + salt, 6)}"

    def _ip(self, value: str, _lang: str, salt: str) -> str:
        return f"192.0.2.{self._number(value + salt, 254) + 1}"

    def _birth(self, value: str, _lang: str, salt: str) -> str:
        year = 1950 + self._number("y" + value + salt, 50)
        month = 1 + self._number("m" + value + salt, 12)
        return f"{year}-{month:02d}-{1 + self._number('d' + value + salt, 28):02d}"

    def _bytes(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _number(self, text: str, below: int) -> int:
        return int.from_bytes(self._bytes(text)[:8], "big") % below

    def _digits(self, text: str, count: int) -> str:
        number = int.from_bytes(self._bytes("#" + text), "big")
        return str(number).zfill(78)[-count:]

    def _pick(self, values: tuple[str, ...], word: str, salt: str) -> str:
        real = word.casefold()
        for step in range(len(values)):
            made = values[(self._number(real + salt, len(values)) + step) % len(values)]
            if real not in made.casefold() and made.casefold() not in real:
                return made
        return values[0]

    def _person(self, value: str, lang: str, salt: str) -> str:
        script = _script(value, lang)
        names = names_of(script)
        if script in {"zh", "ja"}:
            return self._han_person(value, script, salt)
        firsts = {name.casefold() for name in names.given}
        lasts = {name.casefold() for name in names.surnames}
        made: list[str] = []
        for word in value.split():
            if _TITLES.fullmatch(word):
                made.append(word)
                continue
            # Not by its place: a word must become the same one in "Ann Walden" and "Ms Walden".
            bare = word.strip(".,'\"").removesuffix("'s").casefold()
            given = bare in firsts and bare not in lasts
            pool = names.given if given or not names.surnames else names.surnames
            made.append(self._pick(_one_word(pool), bare, salt))
        return " ".join(made[:3])

    def _han_person(self, value: str, script: str, salt: str) -> str:
        names = names_of(script)
        surname = next((value[:n] for n in (3, 2, 1) if value[:n] in names.surnames), value[:1])
        given = value[len(surname) :].strip()
        pool = tuple(n for n in names.surnames if _script(n, script) == script)[:200]
        made = self._pick(pool, surname, salt)
        if given:
            # Only names that share no character with the real one.
            fit = tuple(n for n in names.given if not set(n) & set(value)) or names.given
            made += self._pick(fit, given, salt)
        return made

    def _address(self, value: str, lang: str, salt: str) -> str:
        if not any(char.isalpha() for char in value):
            return self._code(value, lang, salt)
        forms = _STREETS[_script(value, lang)]
        seed = value.casefold() + salt
        return forms[self._number(seed, len(forms))].format(
            n=1 + self._number("n" + seed, 899),
            a=1 + self._number("a" + seed, 6),
            b=1 + self._number("b" + seed, 20),
        )

    def _phone(self, value: str, lang: str, salt: str) -> str:
        extension = _EXTENSION.search(value)
        if extension is not None:
            number = self._phone(value[: extension.start()], lang, salt)
            return number + extension.group(1) + self._digits(value + salt, len(extension.group(2)))
        digits = digits_of(_spelled_digits(value))
        plus = value.lstrip().startswith(("+", "00"))
        local, code = _split_code(digits, lang, plus=plus)
        seed = local + salt
        if not digits:
            return self._digits(value.casefold() + salt, _US)
        if len(local) == _CN and local[0] == "1" and (code == "86" or (not code and lang != "en")):
            made = "154" + self._digits(seed, 8)
        elif len(local) == _US and (code == "1" or (not code and lang == "en")):
            made = (
                f"{200 + self._number('a' + seed, 790):03d}"[:3]
                + "5550"
                + "1"
                + self._digits(seed, 2)
            )
        elif len(local) in {_UK, _UK - 1} and (code == "44" or local.startswith("07")):
            made = ("07700900" if len(local) == _UK else "7700900") + self._digits(seed, 3)
        elif len(local) >= _US and (code == "49" or lang == "de"):
            made = ("030" if local.startswith("0") else "30") + "23125" + self._digits(seed, 3)
        else:
            made = self._unplanned(local, code, lang, seed)
        return _shaped(value, code + made, plus="+" + code + " " + made if code else made)

    def _unplanned(self, local: str, code: str, lang: str, seed: str) -> str:
        """Return as many digits, which no numbering plan of the language holds, where there are."""
        made = self._digits(seed, len(local))
        for attempt in range(_TRIES):
            tail = self._digits(f"{attempt}{seed}", len(local))
            # The first tries keep the prefix, before a block of zeros; the later ones one digit.
            head = local[:3] + "000" if attempt < 2 and len(local) > _US - 1 else local[:1]  # noqa: PLR2004
            made = head + tail[len(head) :]
            if not is_planned(f"+{code}{made}" if code else made, lang):
                break
        return made

    def _code(self, value: str, _lang: str, salt: str) -> str:
        """Return the same shape with other digits and capitals; short words before digits stay."""
        seed = value.casefold() + salt
        stream = self._digits(seed, 40) + self._digits("2" + seed, 40)
        made: list[str] = []
        for place, char in enumerate(value):
            draw = int(stream[place % len(stream)])
            if char.isdigit():
                made.append(str((int(char) + 1 + draw % 9) % 10))
            elif char in _HAN_ALL:
                made.append(_HAN_DIGITS[draw])
            elif char.isascii() and char.isalpha():
                letter = _LETTERS[(draw * 7 + ord(char)) % len(_LETTERS)]
                made.append(letter if char.isupper() else letter.lower())
            else:
                made.append(char if not char.isalpha() else "某" if char >= "一" else "x")
        return "".join(made)


@lru_cache(maxsize=32)
def _one_word(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if " " not in name) or names


def _script(value: str, lang: str) -> str:
    """Return the language whose names fit the script of ``value``."""
    if any("\u0600" <= c <= "\u06ff" for c in value):
        return "ar"
    if any("ぁ" <= c <= "ヿ" for c in value):
        return "ja"
    if any("一" <= c <= "龠" for c in value):
        return "ja" if lang == "ja" else "zh"
    return lang if lang in {"es", "de"} else "en"


def _kind_of(value: str) -> str:
    """Return what a private term looks like."""
    if "@" in value:
        return "EMAIL"
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() and c not in _HAN_ALL for c in value)
    if digits and letters:
        return "ADDRESS"
    if not letters:
        return "PHONE"
    return "ADDRESS" if re.search(r"[路街号市区省县町村]|شارع|حي", value) else "PERSON"


def _spelled_digits(value: str) -> str:
    return value.translate(str.maketrans(_HAN_ALL, "00123456789" + "12" + "123456789"))


def _split_code(digits: str, lang: str, *, plus: bool) -> tuple[str, str]:
    """Return the national digits and the country code (empty where none is written)."""
    bare = digits.removeprefix("00") if plus else digits
    for code in ("86", "44", "49", "81", "966", "971", "20", "34", "1"):
        rest = len(bare) - len(code)
        bare_code = (code == "86" and rest == _CN) or (code == "1" and rest == _US and lang == "en")
        if bare.startswith(code) and (plus or bare_code):
            return bare[len(code) :], code
    return bare, ""


def _shaped(value: str, digits: str, *, plus: str) -> str:
    """Put ``digits`` in the digits' places of ``value``; ``plus`` where the counts differ."""
    places = [i for i, char in enumerate(value) if char.isdigit() or char in _HAN_ALL]
    own = digits_of(_spelled_digits(value))
    if own.startswith("00") and not digits.startswith("00") and value.lstrip().startswith("00"):
        digits = "00" + digits
    if len(places) != len(digits):
        return plus
    chars = list(value)
    for place, digit in zip(places, digits, strict=True):
        chars[place] = _HAN_DIGITS[int(digit)] if chars[place] in _HAN_ALL else digit
    return "".join(chars)


def _like(value: str, made: str) -> str:
    """Write the digits of ``made`` in the script that ``value`` uses."""
    for zero in ("\u0660", "\u06f0", "\uff10"):
        if any(zero <= char <= chr(ord(zero) + 9) for char in value):
            return "".join(chr(ord(zero) + int(c)) if c in "0123456789" else c for c in made)
    return made
