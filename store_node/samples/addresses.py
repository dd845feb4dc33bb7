# ruff: noqa: E501 - a pattern is read as one line
"""Recognisers for postal addresses, one of each writing tradition.

Chinese, Japanese and Arabic addresses go by their unit words (路, 丁目, شارع); Latin ones (English,
Spanish, German) by a street word and a house number, or by a cue such as "ship to" before a run of
capitalised words and numbers. A town or country alone is not taken: it names no one.
"""

import re
from collections.abc import Iterator

from store_node.samples.spans import Span
from store_node.samples.view import CAPITALS

_UNIT = "号院|号楼|号|弄|栋|幢|座|单元|楼|层|室|房|户|期|门"
_ZH = re.compile(
    r"(?:[一-龠]{2,9}?(?:省|自治区|特别行政区|市|州|盟|区|县|旗|镇|乡|街道)){0,4}"
    r"(?:[一-龠A-Za-z0-9]{1,12}?(?:路|街|大道|道|巷|胡同|里|村|小区|花园|苑|大厦|广场|公寓|新城|家园|公馆|庄园|园|府|城|湾|社区)){0,3}"
    rf"(?:[东西南北中]{{0,2}}[0-9A-Za-z一二三四五六七八九十百\-]{{1,8}} ?(?:{_UNIT})){{1,6}}(?:[0-9A-Za-z\-]{{1,6}}(?!\d))?"
)
_ZH_AREA = re.compile(
    r"(?:[一-龠]{2,9}?(?:省|自治区|市|区|县|镇)){2,4}[一-龠0-9]{1,12}?(?:路|街|大道|巷|村|小区|花园|苑|大厦)"
)
_ZH_ANCHOR = re.compile(
    r"省|自治区|市|区|县|镇|乡|路|街|大道|巷|胡同|村|小区|花园|苑|大厦|广场|公寓|园|栋|幢|单元|号楼|室|弄"
)
_ZH_LEAD = re.compile(
    r".*(?:地址|住址|住|寄|送|发|改|派|搬|配送|收货)(?:的)?(?:在|到|往|至|成|为|是|去)?(?:了)?[::,， ]*|.*?(?:请|我家|公司|家)(?:在|是)|^(?:在|到|是|去|从|我|的|了|就|和|把|给|帮|麻烦|您好|你好)+"
)
_JA = re.compile(
    r"(?:〒 ?\d{3}-?\d{4} ?)?(?:(?:東京都|北海道|(?:京都|大阪)府|[一-龠]{2,3}県) ?)?"
    r"(?:[一-龠ヶケ々ぁ-んァ-ヴー]{1,7}?[市区郡町村] ?){1,3}[一-龠ヶケ々ぁ-んァ-ヴー]{0,8}? ?"
    r"(?:[\d一二三四五六七八九十]{1,3}丁目 ?)?\d{1,4}(?:番地?|-)?(?:の?\d{1,4})?(?:号|-\d{1,4})*(?:番地)?"
    r"(?: ?[一-龠ァ-ヴーA-Za-z]{2,15} ?\d{1,5}(?:号室|階)?)?"
)
_JA_ANCHOR = re.compile(r"丁目|番|号|\d-\d|〒|[都道府県市区]")
_JA_LEAD = re.compile(
    r"^[一-龠ぁ-ん]{0,6}?(?:所|先|家|宅)(?:は|が|を|へ)[:、 ]*|.*(?:住所|お届け先|届け先|配送先|送り先|宛先)(?:は|が|を)?[:、 ]*|^(?:は|が|を|に|の|で|私|自宅)+"
)
_AR_UNIT = "طابق|دور|جبل|ضاحية|دوار|مجمع|حارة|زقاق|قرية|شارع|طريق|حي|منطقة|مبنى|بناية|عمارة|شقة|فيلا|برج|صندوق بريد|ميدان|الدور|الطابق|بلوك|قطعة|منزل"
_AR_STOP = "من|في|إلى|على|لكن|هل|أريد|اريد|و|أو|ثم|بدل|بدلا|قبل|بعد|هذا|هذه|لو|إذا|حتى|اليوم|غدا|وليس|ورقم|ورقمي|وهاتفي|واسمي|شكرا|رجاء"
_AR_LEAD = "العنوان|عنواني|عنوان|والعنوان|وعنواني|لعند|عند|باسم|اسمي"
_AR_PART = rf"(?:{_AR_UNIT})(?: رقم)?(?: (?:(?!(?:{_AR_STOP}|{_AR_UNIT})(?![ء-ي]))[ء-ي]+|\d+[A-Za-z]?)){{1,3}}"
_AR_AREA = rf"(?:(?!(?:{_AR_STOP}|{_AR_LEAD})(?![ء-ي]))[ء-ي]+ ?){{1,2}}(?: ?[،,] ?| - )"
_AR = re.compile(
    rf"(?<![ء-ي])(?<!عن )(?:{_AR_AREA}){{0,2}}{_AR_PART}(?:(?:[،, ]+| - )(?:رقم )?(?:{_AR_PART}|\d+))*(?:[،,] ?(?:مدينة )?[ء-ي]+(?![ء-ي]))?"
)
_STREET = (
    "street|st|avenue|ave|road|rd|boulevard|blvd|drive|dr|lane|ln|court|ct|way|place|pl|terrace|circle|cir"
    "|parkway|pkwy|highway|hwy|square|sq|crescent|close|trail|alley|row|walk|mews|grove|rue|via|chemin|ul\\.|u\\.|route|apt|suite"
    "|calle|avenida|av|avda|paseo|plaza|carrer|camino|c/|carretera|cami"
)
_STREET_WORD = re.compile(
    rf"(?:{_STREET})\.?|.*(?:stra(?:ß|ss)e|str\.?|weg|platz|allee|gasse|damm|ufer|straat|gatan|vägen|katu|tie|utca|útja|vej|veien|laan|cesta|ulica)",
    re.IGNORECASE,
)
_TOKEN = rf"(?:[{CAPITALS}][\w'.\-/]*|#?\d[\w/.\-ºª]*|de|del|la|las|los|el|le|les|du|des|of|am|an|der|den|dem|da|do|van|von|het|na|y|ul\.|u\.|utca|útja|rue|via|chemin)"
_RUN = re.compile(rf"(?<![\w@])(?:{_TOKEN})(?:[ \n,]+(?:{_TOKEN})(?![a-z@])){{1,18}}")
_LATIN_CUE = re.compile(
    r"(?:address(?:es)?(?: (?:is|to|as|with|of))?|liv(?:e|es|ing) (?:at|in|on)|located (?:at|in)|ship(?:ped|ping)?(?: it)? to|deliver(?:ed|y)?(?: it)? to"
    r"|sent? (?:it )?to|moved to|visit (?:us|me) (?:at|on|in)|office (?:is )?(?:at|in|on)|store (?:at|in|on)|dirección(?: es)?|vivo en|envia[rd]o? a|adresse(?: ist| lautet)?|wohne in)[:\s'\"]*$",
    re.IGNORECASE,
)
_POSTCODE = re.compile(r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?![A-Za-z0-9])")
_INNER = re.compile(r"(?:Apt|Suite|Ste|Unit|Flat|Room|\d)")
_MILITARY = re.compile(
    r"(?:(?:PSC|Unit|CMR) \d+,? Box \d+|US[NSCGV]{1,3} \w+)[,\s]+[AFD]PO,? A[AEP],? \d{5}"
)
_BOX = re.compile(r"(?<!\w)P\.? ?O\.? ?Box \d+", re.IGNORECASE)
_UNIT_ONLY = re.compile(
    r"(?<!\w)(?:Suite|Ste|Apt|Apartment|Unit|Flat|Room)\.? #?\d+[A-Za-z]?(?!\w)", re.IGNORECASE
)
_LONGEST_CUE = 60
_ZIP_DIGITS = 4
_ABBREVIATION = 5
_NEXT_FACT = frozenset(
    {
        "IBAN",
        "DNI",
        "Tel",
        "Tel.",
        "Phone",
        "My",
        "Mi",
        "Meine",
        "Please",
        "Email",
        "Order",
        "Card",
        "The",
        "I",
        "Is",
    }
)


def find_addresses(text: str, lang: str) -> Iterator[Span]:
    """Yield postal addresses of a folded text; ``lang`` decides who reads shared Han characters."""
    if lang == "ja":
        yield from _trimmed(_JA, text, _JA_LEAD, _JA_ANCHOR)
    elif not text.isascii():
        yield from _trimmed(_ZH, text, _ZH_LEAD, _ZH_ANCHOR)
        yield from _trimmed(_ZH_AREA, text, _ZH_LEAD, _ZH_ANCHOR)
        yield from (Span(m.start(), m.end(), "ADDRESS") for m in _AR.finditer(text))
    yield from _latin(text)


def _trimmed(
    pattern: re.Pattern[str], text: str, lead: re.Pattern[str], anchor: re.Pattern[str]
) -> Iterator[Span]:
    """Yield matches without the words that lead to them ("我住在…")."""
    for match in pattern.finditer(text):
        value = match.group()
        before = lead.match(value)
        skip = before.end() if before and before.end() < len(value) - 2 else 0
        rest = value[skip:]
        if anchor.search(rest) and any(
            c.isdigit() or c in "一二三四五六七八九十路街村苑" for c in rest
        ):
            yield Span(match.start() + skip, match.end(), "ADDRESS")


def _latin(text: str) -> Iterator[Span]:
    for pattern in (_MILITARY, _BOX, _UNIT_ONLY):
        yield from (Span(m.start(), m.end(), "ADDRESS") for m in pattern.finditer(text))
    for match in _RUN.finditer(text):
        tokens = _sentence(list(re.finditer(r"[^\s,]+", match.group())))
        numbers = [i for i, t in enumerate(tokens) if any(c.isdigit() for c in t.group())]
        streets = [i for i, t in enumerate(tokens) if _STREET_WORD.fullmatch(t.group().rstrip(","))]
        if _POSTCODE.search(match.group()):
            streets.append(len(tokens) - 1)
        cue = _LATIN_CUE.search(text[max(0, match.start() - _LONGEST_CUE) : match.start()])
        first = _first_token(tokens, numbers, streets, cue=cue is not None)
        if first is not None:
            start = match.start() + tokens[first].start()
            yield Span(start, match.start() + tokens[-1].end(), "ADDRESS")


def _sentence(tokens: list[re.Match[str]]) -> list[re.Match[str]]:
    """Return the tokens up to a full stop that ends a sentence, not an abbreviation."""
    for place, token in enumerate(tokens):
        word = token.group()
        abbreviated = len(word) <= _ABBREVIATION or _STREET_WORD.fullmatch(word)
        goes_on = place + 1 < len(tokens) and _INNER.match(tokens[place + 1].group())
        if word.endswith(".") and not goes_on and (word[:-1].isdigit() or not abbreviated):
            return tokens[: place + 1]
        if word in _NEXT_FACT:
            return tokens[:place]
    return tokens


def _first_token(
    tokens: list[re.Match[str]], numbers: list[int], streets: list[int], *, cue: bool
) -> int | None:
    """Return where the address begins among the tokens of a run, or ``None`` if there is none."""
    if not numbers:
        return None
    if cue:
        return 0
    if streets:
        before = [i for i in numbers if i < streets[0]]
        if before:
            return before[0]
        after = [i for i in numbers if i > streets[0]]
        return streets[0] if after and after[0] - streets[0] <= _ZIP_DIGITS else None
    longest = max(len(re.sub(r"\D", "", tokens[i].group())) for i in numbers)
    enough = len(numbers) > 1 and len(tokens) - len(numbers) > 1 and longest >= _ZIP_DIGITS
    return numbers[0] if enough and numbers[0] == 0 else None
