"""Topics told by plain words."""

import pytest

from store_node.chat.rules import HUMAN, ORDER, PRICE, STOCK, topic_of_intent, topics_in


@pytest.mark.parametrize(
    ("text", "lang", "topic"),
    [
        ("How much is the kettle?", "en", PRICE),
        ("这个多少钱", "zh", PRICE),
        ("これはいくらですか", "ja", PRICE),
        ("بكم هذا الجهاز؟", "ar", PRICE),
        ("Was kostet das?", "de", PRICE),
        ("¿Cuánto cuesta?", "es", PRICE),
        ("Is it in stock?", "en", STOCK),
        ("还有货吗", "zh", STOCK),
        ("在庫はありますか", "ja", STOCK),
        ("هل المنتج متوفر؟", "ar", STOCK),
        ("Ist das auf Lager?", "de", STOCK),
        ("¿Está disponible?", "es", STOCK),
        ("Where is my order?", "en", ORDER),
        ("我的订单到哪了", "zh", ORDER),
        ("注文した商品はいつ届きますか", "ja", ORDER),
        ("أين طلبي؟", "ar", ORDER),
        ("Wo ist meine Bestellung?", "de", ORDER),
        ("¿Dónde está mi pedido?", "es", ORDER),
        ("Can I speak to a real person", "en", HUMAN),
        ("转人工客服", "zh", HUMAN),
        ("オペレーターにつないで", "ja", HUMAN),
        ("أريد التحدث مع موظف", "ar", HUMAN),
        ("Ich möchte mit einem Menschen sprechen", "de", HUMAN),
        ("Quiero hablar con un agente", "es", HUMAN),
    ],
)
def test_topics_in_six_languages(text: str, lang: str, topic: str) -> None:
    assert topic in topics_in(text, lang)


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Can I return goods?", "en"),
        ("How do I cancel my order?", "en"),
        ("怎么退货", "zh"),
        ("كيف أعيد المنتج", "ar"),
        ("Hello", "en"),
    ],
)
def test_other_questions_have_no_topic(text: str, lang: str) -> None:
    assert topics_in(text, lang) == frozenset()


def test_labels_of_any_spelling_name_topics() -> None:
    assert topic_of_intent("Human_Agent") == HUMAN
    assert topic_of_intent("contact_human_agent") == HUMAN
    assert topic_of_intent("order/status") == ORDER
    assert topic_of_intent("returns") is None
