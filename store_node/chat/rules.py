"""What a question is about, as far as plain words tell it; in six languages, no model needed."""

import re
from collections.abc import Mapping

from store_node.knowledge.terms import fold

PRICE = "price"
STOCK = "stock"
ORDER = "order_status"
HUMAN = "human_agent"
FACT_TOPICS = frozenset({PRICE, STOCK, ORDER})

_PHRASES: Mapping[str, Mapping[str, str]] = {
    PRICE: {
        "en": r"how much (?:is|are|does|do|for|would)|how much\?|\bprices?\b|\bpriced\b|\bcosts?\b|"
        r"expensive",
        "zh": r"多少钱|价格|价钱|售价|几块钱|几元|怎么卖|什么价|贵不贵|多贵",
        "ja": r"いくら|値段|価格|おいくら",
        "ar": r"بكم|كم سعر|سعر|كم ثمن|ثمن|تكلف",
        "de": r"was kostet|wie viel kost|wieviel kost|kostet|kosten|preis|wie teuer",
        "es": r"cuánto (?:cuesta|vale|es|sale)|precio|cuesta|cuestan|cuánto valen",
    },
    STOCK: {
        "en": r"in stock|out of stock|\bstock\b|availab|sold out|still have (?:it|this|any|the)|"
        r"do you (?:have|carry|sell)|how many .{0,40}(?:left|have)",
        "zh": r"有货|现货|库存|缺货|有没有货|还有吗|还有货|卖完|售罄|还剩",
        "ja": r"在庫|売り切れ|入荷|残って",
        "ar": r"متوفر|متاح|المخزون|مخزون|نفد|هل لديكم|هل يوجد",
        "de": r"auf lager|vorrätig|lieferbar|verfügbar|ausverkauft|lagerbestand|bestand",
        "es": r"en stock|existencias|disponib|agotad|quedan|tienen (?:el|la|los|las|un|una)\b",
    },
    ORDER: {
        "en": r"(?:where|when|status|track|arrive|ship).{0,60}\b(?:order|package|parcel)s?\b|"
        r"\b(?:order|package|parcel)s?\b.{0,60}(?:where|when|status|track|arriv|ship|deliver)|"
        r"\border (?:number|no\.?|id)|order #",
        "zh": r"我的订单|订单(?:号|状态|到哪|什么时候|进度|查询)|查.{0,4}订单|物流|快递到|包裹|"
        r"发货了吗|到哪了|到哪儿了",
        "ja": r"注文.{0,20}(?:どこ|状況|いつ|届|番号|確認)|荷物|配送状況|発送(?:済|し|され)",
        "ar": r"طلبي|طلبيتي|حالة الطلب|رقم الطلب|شحنتي|تتبع|أين الطلب",
        "de": r"meine bestellung|bestellstatus|bestellnummer|mein paket|sendung|"
        r"wo (?:ist|bleibt).{0,30}(?:bestellung|paket)|status.{0,20}bestellung",
        "es": r"mi pedido|mis pedidos|estado d.{0,8}pedido|número de pedido|mi paquete|"
        r"dónde está.{0,30}(?:pedido|paquete)|rastre",
    },
    HUMAN: {
        "en": r"(?:speak|talk|chat|connect|transfer).{0,25}\b(?:human|person|agent|representative|"
        r"operator|someone|staff|manager)\b|\b(?:human|real|live) (?:agent|person|being|operator)|"
        r"customer service representative",
        "zh": r"人工|真人|转客服|找客服|接线员|人工客服|找个人",
        "ja": r"オペレーター|担当者|人と話|有人|スタッフと(?:話|つな)",
        "ar": r"موظف|شخص حقيقي|ممثل خدمة|التحدث (?:مع|إلى) (?:شخص|إنسان|أحد)|خدمة العملاء البشرية",
        "de": r"mitarbeiter|echten menschen|mit (?:einem|einer) (?:menschen|person|berater)|"
        r"kundenberater",
        "es": r"(?:hablar|comunicar|pasar|conectar).{0,20}(?:persona|humano|agente|alguien|"
        r"representante|operador)|agente humano|persona real",
    },
}


def _folded_pattern(source: str) -> re.Pattern[str]:
    # Patterns are written with accents and folded once, as the texts they are compared with are;
    # folding would lower-case ``\S`` and the like, so patterns use ``\b`` only.
    return re.compile(fold(source))


_PATTERNS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    topic: {lang: _folded_pattern(source) for lang, source in by_lang.items()}
    for topic, by_lang in _PHRASES.items()
}

_INTENT_WORDS: Mapping[str, tuple[str, ...]] = {
    HUMAN: ("human agent", "human_agent", "customer service", "representative", "speak to agent"),
    PRICE: ("price",),
    STOCK: ("stock", "availability"),
    ORDER: ("order status", "track order", "order tracking", "delivery status"),
}


def topics_in(text: str, lang: str) -> frozenset[str]:
    """Return the topics whose phrases stand in ``text``: those of ``lang``, and English ones."""
    folded = fold(text)
    return frozenset(
        topic
        for topic, by_lang in _PATTERNS.items()
        if any(by_lang[code].search(folded) for code in {lang, "en"} & by_lang.keys())
    )


def topic_of_intent(intent: str) -> str | None:
    """Return the topic that a label names, whatever its spelling; ``None`` for any other label."""
    words = re.sub(r"[\W_]+", " ", intent.casefold()).strip()
    for topic, names in _INTENT_WORDS.items():
        if words == topic.replace("_", " ") or any(name in words for name in names):
            return topic
    return None


def speaks_of(text: str, topics: frozenset[str], lang: str) -> bool:
    """Return whether ``text`` touches one of ``topics``."""
    return bool(topics_in(text, lang) & topics)
