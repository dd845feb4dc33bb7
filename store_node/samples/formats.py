# ruff: noqa: E501 - a pattern is read as one line
"""Recognisers for what has a form: e-mails, cards, ids, order and tracking numbers, plates, IPs, URLs.

They look at a folded text (:mod:`store_node.samples.view`) and so at one spelling of digits and
dashes. Word ends are look-arounds: the usual sign does not hold beside Chinese or Japanese characters.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stdnum import iban, luhn

from store_node.samples.spans import Span

_LATIN = "A-Za-z0-9À-ɏ"
_TLD = "com|net|org|edu|gov|io|co|info|biz|shop|store|me|app|dev|cn|jp|de|es|uk|us|sa|ae|eg|fr|it|nl|eu"
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领"
_CODE_DIGITS = 4
_IBAN_COUNTRIES = frozenset(
    [
        "AD",
        "AE",
        "AL",
        "AT",
        "AZ",
        "BA",
        "BE",
        "BG",
        "BH",
        "BR",
        "BY",
        "CH",
        "CR",
        "CY",
        "CZ",
        "DE",
        "DK",
        "DO",
        "EE",
        "EG",
        "ES",
        "FI",
        "FO",
        "FR",
        "GB",
        "GE",
        "GI",
        "GL",
        "GR",
        "GT",
        "HR",
        "HU",
        "IE",
        "IL",
        "IQ",
        "IS",
        "IT",
        "JO",
        "KW",
        "KZ",
        "LB",
        "LC",
        "LI",
        "LT",
        "LU",
        "LV",
        "LY",
        "MC",
        "MD",
        "ME",
        "MK",
        "MR",
        "MT",
        "MU",
        "NL",
        "NO",
        "PK",
        "PL",
        "PS",
        "PT",
        "QA",
        "RO",
        "RS",
        "SA",
        "SC",
        "SE",
        "SI",
        "SK",
        "SM",
        "ST",
        "SV",
        "TL",
        "TN",
        "TR",
        "UA",
        "VA",
        "VG",
        "XK",
    ]
)
_GAP = r"[ .\-]{0,2}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern; its group ``v`` (or the whole match) is a span where ``check`` accepts the value."""

    label: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] = bool

    def find(self, text: str) -> Iterator[Span]:
        """Yield the spans of this rule in a folded text."""
        group = "v" if "v" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            if self.check(match.group(group)):
                yield Span(match.start(group), match.end(group), self.label)


def digits_of(text: str) -> str:
    """Return the ASCII digits of a folded text."""
    return "".join(char for char in text if char in "0123456789")


def _has_digit(text: str) -> bool:
    return any(char in "0123456789" for char in text)


def _is_code(text: str) -> bool:
    return len(digits_of(text)) >= _CODE_DIGITS


def _is_card(text: str) -> bool:
    return bool(luhn.is_valid(digits_of(text)))


def _is_iban(text: str) -> bool:
    # A mistyped IBAN is still somebody's account, so a failed checksum passes if the form is clear.
    compact = text.replace(" ", "")
    if compact[:2] not in _IBAN_COUNTRIES:
        return False
    return bool(iban.is_valid(compact)) or sum(c.isdigit() for c in compact) >= len(compact) // 2


def _is_ip(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))  # noqa: PLR2004 - an octet


def _rule(
    label: str, pattern: str, check: Callable[[str], bool] = bool, *, flags: int = re.IGNORECASE
) -> Rule:
    return Rule(label, re.compile(pattern, flags), check)


_CODE = r"(?P<v>#?[A-Za-z0-9][A-Za-z0-9_\-]{3,30})"
_LINK = r"[\s:#\"'=]*(?:is|was|are|no\.?|number|num|id|code|号码?|编号|番号|は|رقم|هو|es|número|nummer|ist|为|是)?[\s:#\"'=]*"
_LINKS = f"(?:{_LINK}){{1,2}}"

RULES: tuple[Rule, ...] = (
    _rule(
        "EMAIL",
        rf"(?<![{_LATIN}._%+\-])[{_LATIN}._%+\-]{{1,64}} ?@ ?[{_LATIN}\-]+(?:\.[{_LATIN}\-]+)+",
    ),
    _rule(
        "EMAIL",
        rf"(?<![{_LATIN}._%+\-])[{_LATIN}._%+\-]{{1,64}} ?(?:\(at\)|\[at\]| at ) ?[{_LATIN}\-]+ ?(?:\(dot\)|\[dot\]| dot |\.) ?(?:{_TLD})(?![{_LATIN}])",
    ),
    _rule("URL", r"(?:https?://|www\.)[\w.\-/?=&%#~:+@]+", flags=re.IGNORECASE | re.ASCII),
    _rule(
        "URL",
        rf"(?<![{_LATIN}@.\-])(?:[a-z0-9](?:[a-z0-9\-]{0, 61}[a-z0-9])?\.){1, 6}(?:{_TLD})(?:/[\w.\-/?=&%#]*)?(?![{_LATIN}@\-])",
        flags=re.IGNORECASE | re.ASCII,
    ),
    _rule("IP", r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]\d)", _is_ip),
    _rule("IP", r"(?<![0-9a-f:])(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}(?![0-9a-f:])"),
    _rule(
        "IP",
        r"(?<![0-9a-f:])(?:[0-9a-f]{1,4}:){1,6}:(?:[0-9a-f]{1,4}:){0,5}[0-9a-f]{1,4}(?![0-9a-f:])",
        _has_digit,
    ),
    _rule(
        "IBAN",
        r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])",
        _is_iban,
        flags=0,
    ),
    _rule(
        "NATIONAL_ID",
        rf"(?<!\d)[1-9](?:{_GAP}\d){{5}}{_GAP}(?:1{_GAP}9|2{_GAP}0)(?:{_GAP}\d){{9}}{_GAP}[\dX](?![A-Za-z0-9])",
    ),
    _rule(
        "NATIONAL_ID",
        r"(?<![A-Za-z0-9])[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![A-Za-z0-9])",
        flags=0,
    ),
    _rule("NATIONAL_ID", r"(?<![\d\-])\d{3}[\- ]\d{2}[\- ]\d{4}(?![\d\-])"),
    _rule("CARD", rf"(?<!\d)\d(?:{_GAP}\d){{11,18}}(?!\d)", _is_card),
    _rule("CARD", r"(?<!\d)\d{4}([ \-])\d{4}\1\d{4}\1\d{1,7}(?!\d)"),
    _rule(
        "CARD",
        rf"(?:card|卡号?|カード|بطاقة|tarjeta|karte){_LINKS}(?P<v>\d(?:{_GAP}\d){{11,18}})(?!\d)",
    ),
    _rule(
        "CARD",
        r"(?:ending(?: in| with)?|ends (?:in|with)|last (?:four|4)(?: digits)?|尾号|后四位|末四位|下4桁|下四桁|آخر (?:أربعة|4) أرقام)[^\d\n]{0,8}(?P<v>\d{4})(?!\d)",
    ),
    _rule(
        "CODE",
        r"(?:cvv|cvc|pin(?: code)?|otp|验证码|校验码|密码|暗証番号|認証コード|رمز التحقق)[^\d\nA-Za-z]{0,8}(?:is |是)?(?P<v>\d{3,8})(?!\d)",
    ),
    _rule(
        "NATIONAL_ID",
        rf"(?:passport|护照|パスポート|旅券|جواز(?: السفر)?|pasaporte|reisepass|driver'?s? licen[cs]e|licen[cs]e|identity card|national id|身份证|ssn|dni|nie|iqama|إقامة|هوية|الهوية){_LINKS}(?P<v>[A-Z]{{0,3}}[ \-]?\d[\dA-Z\-]{{4,17}})(?![A-Za-z0-9])",
        _has_digit,
    ),
    _rule(
        "NATIONAL_ID",
        r"(?<![A-Za-z0-9])(?:\d{8}-?[A-HJ-NP-TV-Z]|[XYZ]-?\d{7}-?[A-Z])(?![A-Za-z0-9])",
        flags=0,
    ),
    _rule(
        "PLATE",
        rf"[{_PROVINCES}][A-HJ-NP-Z][ ·•\-]?[A-HJ-NP-Z0-9]{{4,5}}[A-HJ-NP-Z0-9挂学警港澳](?![A-Za-z0-9])",
        _has_digit,
    ),
    _rule("PLATE", r"(?<![A-Za-z0-9])[A-Z]{2}\d{2} ?[A-Z]{3}(?![A-Za-z0-9])", flags=0),
    _rule("PLATE", r"[一-龠]{1,4} ?\d{2,3} ?[ぁ-ん] ?(?:\d{2}-\d{2}|[・.\d]{1,4})(?!\d)"),
    _rule(
        "PLATE",
        rf"(?:plate|车牌号?|ナンバー|لوحة|matrícula|kennzeichen){_LINKS}(?P<v>[A-Z0-9][A-Z0-9 \-]{{3,9}}[A-Z0-9])(?![A-Za-z0-9])",
        _has_digit,
    ),
    _rule(
        "TRACKING",
        r"(?<![A-Za-z0-9])(?:1Z[0-9A-Z]{16}|SF\d{10,15}|(?:YT|ZTO|STO|JDV?|JT|EMS|DPK|YD)[A-Z]{0,2}\d{9,15}|[A-Z]{2}\d{9}[A-Z]{2})(?![A-Za-z0-9])",
    ),
    _rule(
        "TRACKING",
        rf"(?:tracking|waybill|快递单?|运单|物流单|追跡|送り状|تتبع|شحنة|seguimiento|sendungs?){_LINKS}{_CODE}",
        _is_code,
    ),
    _rule(
        "ORDER_ID",
        rf"(?:orders?|purchase|invoice|receipt|ticket|booking|reservation|订单|单号|注文|طلب(?:ي|ية|يتي)?|الطلب|فاتورة|pedido|bestell(?:ung|nummer)?|auftrag){_LINKS}{_CODE}",
        _is_code,
    ),
    _rule("ORDER_ID", r"#[A-Z]{0,4}-?\d{4,}(?![A-Za-z0-9])"),
    _rule(
        "ORDER_ID",
        r"(?<![A-Za-z0-9])[A-Z]{1,5}(?:-?\d{6,}|-\d{4,})(?:-[A-Z0-9]{1,12})*(?![A-Za-z0-9])",
        flags=0,
    ),
    _rule(
        "USER_ID", r"(?<![A-Za-z0-9])[a-z]{2,20}(?:[_.][a-z]{1,20}){0,3}[_.]\d{3,}(?![A-Za-z0-9])"
    ),
    _rule(
        "USER_ID",
        rf"(?:wechat|weixin|微信号?|qq号?|line ?id|whatsapp|telegram|skype|username|user ?name|user ?id|customer ?id|account(?: number| no\.?)?|用户名|会员号|会员卡号?|账号|帐号|客户号|会員番号|ユーザーid|رقم العضوية|اسم المستخدم){_LINKS}{_CODE}",
        _is_code,
    ),
    _rule("USER_ID", rf"(?<![{_LATIN}@.])@[A-Za-z][A-Za-z0-9_]{{3,30}}"),
    _rule(
        "BIRTH",
        r"(?:born(?: on| in)?|birth ?da(?:y|te)|date of birth|dob|生日|出生(?:日期)?|生年月日|誕生日|تاريخ الميلاد|مواليد|nacid[oa] el|geboren am)[\s:是为はis]{0,6}(?P<v>\d{1,4}[\-/.年 ]\d{1,2}[\-/.月 ]\d{1,4}日?)",
    ),
    _rule(
        "ADDRESS", r"(?<![A-Z0-9])[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}(?![A-Z0-9])", flags=0
    ),
    _rule("ADDRESS", r"〒 ?\d{3}-?\d{4}"),
    _rule(
        "ADDRESS", r"(?:zip|post(?:al)?) ?(?:code)?[\s:\"'is是]{1,8}(?P<v>\d{4,6}(?:-\d{4})?)(?!\d)"
    ),
    _rule(
        "ADDRESS",
        r"(?:邮编|邮政编码|郵便番号|الرمز البريدي|código postal|plz)[\s::\"'is是为は]{0,4}(?P<v>\d{3}-?\d{2,4})(?!\d)",
    ),
)
"""All rules of form; cue words are in Chinese, English, Japanese, Arabic, Spanish and German."""


def find_formats(text: str) -> Iterator[Span]:
    """Yield what has a form in a folded text; spans may overlap."""
    for rule in RULES:
        yield from rule.find(text)
