"""What the detector finds, and what it leaves alone."""

import pytest

from store_node.samples.detect import Detector
from store_node.samples.spans import Span, resolve

DETECTOR = Detector()


def found(text: str, lang: str | None = None, **more: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(text[s.start : s.end], s.label) for s in DETECTOR.detect(text, lang, **more)]


@pytest.mark.parametrize(
    ("text", "lang", "wanted"),
    [
        ("我叫张伟想查一下订单", "zh", ("张伟", "PERSON")),
        ("我是欧阳女士，请尽快发货", "zh", ("欧阳", "PERSON")),
        ("收件人改成李小红", "zh", ("李小红", "PERSON")),
        ("电话138 0013 8000谢谢", "zh", ("138 0013 8000", "PHONE")),
        ("手机１３８００１３８０００", "zh", ("１３８００１３８０００", "PHONE")),
        ("一三八零零一三八零零零是我的号", "zh", ("一三八零零一三八零零零", "PHONE")),
        ("1-3-8-0-0-1-3-8-0-0-0", "zh", ("1-3-8-0-0-1-3-8-0-0-0", "PHONE")),
        ("座机010-62345678", "zh", ("010-62345678", "PHONE")),
        ("身份证110101199003071235", "zh", ("110101199003071235", "NATIONAL_ID")),
        ("身份证11010119900307123x吗", "zh", ("11010119900307123x", "NATIONAL_ID")),
        ("车牌京A12345", "zh", ("京A12345", "PLATE")),
        ("寄到上海市浦东新区世纪大道100号", "zh", ("上海市浦东新区世纪大道100号", "ADDRESS")),
        ("卡号6222021234567890128", "zh", ("6222021234567890128", "CARD")),
        ("快递单号SF1234567890123", "zh", ("SF1234567890123", "TRACKING")),
        ("我的微信号是wx_abc12345", "zh", ("wx_abc12345", "USER_ID")),
        ("hello, my name is John Smith.", "en", ("John Smith", "PERSON")),
        ("my name is john smith", "en", ("john smith", "PERSON")),
        ("Thanks,\nPriya Raman", "en", ("Priya Raman", "PERSON")),
        ("Dear Mrs. O'Neill, thanks", "en", ("O'Neill", "PERSON")),
        ("call (415) 555-0132 ext 22", "en", ("(415) 555-0132 ext 22", "PHONE")),
        ("+44 7911 123456", "en", ("+44 7911 123456", "PHONE")),
        ("one three double zero five five", "en", ("one three double zero five five", "PHONE")),
        (
            "I live at 12 Oak St, Apt 4, Troy, NY 12180",
            "en",
            ("12 Oak St, Apt 4, Troy, NY 12180", "ADDRESS"),
        ),
        ("card 4454 7945 1139 0933", "en", ("4454 7945 1139 0933", "CARD")),
        ("the card ending in 4242", "en", ("4242", "CARD")),
        ("a.b+c@mail.example.org please", "en", ("a.b+c@mail.example.org", "EMAIL")),
        ("write to jane dot doe at gmail dot com", "en", ("doe at gmail dot com", "EMAIL")),
        ("order #W4923227", "en", ("#W4923227", "ORDER_ID")),
        ("from 192.168.10.20", "en", ("192.168.10.20", "IP")),
        ("أنا اسمي محمد العتيبي", "ar", ("محمد العتيبي", "PERSON")),
        ("جوالي ٠٥٠١٢٣٤٥٦٧", "ar", ("٠٥٠١٢٣٤٥٦٧", "PHONE")),
        ("أسكن في شارع الملك فهد 12", "ar", ("شارع الملك فهد 12", "ADDRESS")),
        ("رقم الطلب ORD-99812", "ar", ("ORD-99812", "ORDER_ID")),
        ("田中と申します", "ja", ("田中", "PERSON")),
        ("山田太郎様のご注文", "ja", ("山田太郎", "PERSON")),
        ("電話は０９０-1234-5678です", "ja", ("０９０-1234-5678", "PHONE")),
        ("住所は東京都渋谷区神南1丁目2番3号です", "ja", ("東京都渋谷区神南1丁目2番3号", "ADDRESS")),
        ("Me llamo María López", "es", ("María López", "PERSON")),
        ("mi DNI es 12345678Z", "es", ("12345678Z", "NATIONAL_ID")),
        ("Hauptstraße 12, 10115 Berlin", "de", ("Hauptstraße 12, 10115 Berlin", "ADDRESS")),
        ("IBAN DE89 3704 0044 0532 0130 00", "de", ("DE89 3704 0044 0532 0130 00", "IBAN")),
    ],
)
def test_finds(text: str, lang: str, wanted: tuple[str, str]) -> None:
    assert wanted in found(text, lang)


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("这件红色的连衣裙多少钱？有M码吗", "zh"),
        ("七天内可以无理由退货，退款三天到账。", "zh"),
        ("How much is it? I paid 1,299.00 on 2024-01-05 for 3 items.", "en"),
        ("Where is my order? It should have come by Friday.", "en"),
        ("كم سعر هذا المنتج؟ وهل هو متوفر؟", "ar"),
        ("この商品はいくらですか。お客様サポートに連絡したいです。", "ja"),
        ("¿Cuánto cuesta el envío a Madrid?", "es"),
        ("Wann kommt meine Bestellung an?", "de"),
    ],
)
def test_leaves_plain_questions_alone(text: str, lang: str) -> None:
    assert found(text, lang) == []


def test_private_terms_are_found_in_every_spelling() -> None:
    terms = ("Wei Zhang", "+86 138 0013 8000", "wei.zhang@shop.test", "12 Rosewood Crescent, Leeds")
    text = "wei: 1 3 8-0013 8000, 一三八00138000, WEI.ZHANG@shop.test, the rosewood house, ZHANG's"
    spans = DETECTOR.detect(text, "en", private_terms=terms)
    covered = {i for s in spans for i in range(s.start, s.end)}
    for piece in (
        "wei",
        "8-0013 8000",
        "一三八00138000",
        "WEI.ZHANG@shop.test",
        "rosewood",
        "ZHANG",
    ):
        start = text.index(piece)
        assert covered >= set(range(start, start + len(piece))), piece


def test_a_chinese_customers_given_name_alone_is_private() -> None:
    spans = found("建国说他明天在家", "zh", private_terms=("王建国",))
    assert spans[0][0] == "建国"


def test_a_name_that_is_also_a_word_is_private_only_with_its_capital() -> None:
    assert [
        t for t, _ in found("will Will Hopkins come", "en", private_terms=("Will Hopkins",))
    ] == ["Will Hopkins"]


def test_allowed_terms_stay_unless_they_are_the_customers_own() -> None:
    detector = Detector(allow=("400-800-1234", "Anna Dress"))
    text = "Call 400-800-1234 about the Anna Dress, said Anna"
    spans = [text[s.start : s.end] for s in detector.detect(text, "en")]
    assert spans == ["Anna"]
    assert text.index("Anna") in {
        s.start for s in detector.detect(text, "en", private_terms=("Anna Bell",))
    }


def test_positions_are_those_of_the_text_as_given() -> None:
    # A decomposed accent, a zero-width space in the number and a right-to-left mark.
    text = "cafe\u0301 \u200f138\u200b0013\u200b8000 ok"
    (span,) = DETECTOR.detect(text, "zh")
    assert text[span.start : span.end] == "138\u200b0013\u200b8000"


def test_resolve_keeps_the_longest_and_uncovers_nothing() -> None:
    spans = resolve([Span(0, 4, "A"), Span(2, 10, "B"), Span(3, 5, "C"), Span(9, 12, "D")])
    assert spans == (Span(0, 2, "A"), Span(2, 10, "B"), Span(10, 12, "D"))
