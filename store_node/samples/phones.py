# ruff: noqa: E501 - a pattern is read as one line
"""Recogniser for phone numbers and other long runs of digits, spelled in digits or in words.

``phonenumbers`` knows the numbering plans; numbers that no plan holds but that are written or
announced like a phone number are taken too, since customers mistype. A run of seven digits or more
that is neither a date nor an amount is masked whatever it means.
"""

import re
from collections.abc import Iterator

import phonenumbers

from store_node.samples.formats import digits_of
from store_node.samples.spans import Span

_REGIONS = {
    "zh": ("CN", "HK", "TW"),
    "en": ("US", "GB", "AU", "IN"),
    "ja": ("JP",),
    "ar": ("SA", "AE", "EG"),
    "es": ("ES", "MX", "AR"),
    "de": ("DE", "AT", "CH"),
}
_CANDIDATE = re.compile(
    r"(?<![\d/\-])(?<!\d[.,])(?:\+ ?|(?<!\d)00)?\(?\d(?:[ .\-/()]{0,3}\d){6,17}"
    r"(?: ?(?:x|ext\.?|extension|分机|转|内線) ?\d{1,6})?(?!\d)(?![.,]\d)",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:19|20)\d\d([-/. ])[01]?\d\1[0-3]?\d|[0-3]?\d([-/.])[0-3]?\d\2(?:19|20)\d\d")
_GROUPS = re.compile(
    r"\+.*|\(?\d{3,5}\)?[ .\-/]{1,2}\d{3,4}[ .\-/]\d{3,4}(?:[ .\-x].*)?|0\d{1,4}[ .\-/)]{1,2}\d{5,8}"
    r"|\d{1,3}[ .\-]\(?\d{3}\)?[ .\-]{1,2}\d{3}[ .\-]\d{4}.*|\(\d+\).*|(?:\d ){6,}\d|\d{2,4}(?:[ .\-/]\d{2,4}){2,5}",
    re.IGNORECASE,
)
_MAINLAND = re.compile(r"(?:0086|86)?1[3-9]\d{9}")
_CUE = re.compile(
    r"(?:phone|mobile|cell|tel|call|fax|whatsapp|number is|reach me|contact|电话|手机|联系|号码|座机"
    r"|致电|電話|携帯|هاتف|جوال|موبايل|اتصل|رقمي|رقم|teléfono|móvil|telefon|handy|rufnummer)[^\d\n]{0,16}$",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"(?:item|product|sku|article|model|商品|产品|货号|型号|商品番号|المنتج|artikel|artículo)[ _]?(?:id|no\.?|numbers?|编号)?s?[\s:\"'#\[]{0,4}$",
    re.IGNORECASE,
)
_HAN = "〇零一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖"
_HAN_VALUES = str.maketrans(_HAN, "001234567891" + "2" + "123456789")
_HAN_RUN = re.compile(rf"[{_HAN}\d](?:[ \-,，、]{{0,2}}[{_HAN}\d]){{6,}}")
_WORDS = (
    "zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple"
    "|صفر|واحد|اثنان|اثنين|ثلاثة|أربعة|اربعة|خمسة|ستة|سبعة|ثمانية|تسعة"
    "|cero|uno|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|null|eins|zwei|zwo|drei|vier|fünf|sechs|sieben|acht|neun"
)
_WORD_RUN = re.compile(
    rf"(?<!\w)(?:{_WORDS}|\d)(?:[ ,\-]{{1,2}}(?:{_WORDS}|\d)(?!\w)){{5,}}", re.IGNORECASE
)
_KANA = "ゼロ|れい|まる|いち|に|さん|よん|ご|ろく|なな|はち|きゅう"
_KANA_RUN = re.compile(rf"(?:{_KANA})(?:[ 、\-]{{0,2}}(?:{_KANA})){{6,}}")
_LEAST, _MOST = 7, 15


def is_planned(text: str, lang: str) -> bool:
    """Return whether a numbering plan that customers of ``lang`` use holds the number."""
    for region in _REGIONS.get(lang, _REGIONS["en"]):
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return True
    return False


def find_phones(text: str, lang: str) -> Iterator[Span]:
    """Yield phone numbers (``PHONE``) and other long numbers (``NUMBER``) of a folded text."""
    for match in _CANDIDATE.finditer(text):
        value = match.group()
        digits = digits_of(value)
        if len(digits) < _LEAST or _DATE.fullmatch(value.strip()):
            continue
        whole = value.isdigit()
        before = text[max(0, match.start() - 40) : match.start()]
        if whole and _ITEM.search(before):
            continue
        cue = _CUE.search(before) is not None
        likely = (
            bool(_MAINLAND.fullmatch(digits))
            or cue
            or _GROUPS.fullmatch(value) is not None
            or (len(digits) > _LEAST and is_planned(value, lang))
        )
        if len(digits) <= _MOST + 4 and likely:
            yield Span(match.start(), match.end(), "PHONE")
        elif whole:
            yield Span(match.start(), match.end(), "NUMBER")
    yield from _spelled(text)


def _spelled(text: str) -> Iterator[Span]:
    for match in _HAN_RUN.finditer(text):
        if any(char in _HAN for char in match.group()):
            digits = digits_of(match.group().translate(_HAN_VALUES))
            phone = _MAINLAND.fullmatch(digits) or digits.startswith("0")
            yield Span(match.start(), match.end(), "PHONE" if phone else "NUMBER")
    for pattern in (_WORD_RUN, _KANA_RUN):
        for match in pattern.finditer(text):
            yield Span(match.start(), match.end(), "PHONE")
