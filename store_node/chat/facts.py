"""Sentences about prices, stock and orders, made from the database and from nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.formats import CatalogRow, OrderRow
from store_node.chat.rules import ORDER, PRICE, STOCK

_FALLBACK = "en"
_NO_MINOR_UNIT = frozenset({"JPY", "KRW", "VND", "CLP", "ISK", "XAF", "XOF"})

_SENTENCES: Mapping[str, Mapping[str, str]] = {
    "price": {
        "en": "The price of {name} is {price} {currency}.",
        "zh": "{name}的价格是{price} {currency}。",
        "ja": "{name}の価格は{price} {currency}です。",
        "ar": "سعر «{name}» هو {price} {currency}.",
        "de": "Der Preis von {name} beträgt {price} {currency}.",
        "es": "El precio de {name} es {price} {currency}.",
    },
    "in_stock": {
        "en": "{name} is in stock ({stock} available).",
        "zh": "{name}有货，库存{stock}件。",
        "ja": "{name}は在庫があります（残り{stock}点）。",
        "ar": "«{name}» متوفر (الكمية: {stock}).",
        "de": "{name} ist auf Lager ({stock} verfügbar).",
        "es": "{name} está en stock ({stock} disponibles).",
    },
    "out_of_stock": {
        "en": "{name} is out of stock at the moment (0 available).",
        "zh": "{name}目前缺货，库存0件。",
        "ja": "{name}は現在在庫切れです（残り0点）。",
        "ar": "«{name}» غير متوفر حاليا (الكمية: 0).",
        "de": "{name} ist zurzeit nicht auf Lager (0 verfügbar).",
        "es": "{name} está agotado en este momento (0 disponibles).",
    },
    "order": {
        "en": "Order {order_id} ({name}, {quantity} pcs, placed {placed}): {status}.",
        "zh": "订单{order_id}（{name}，{quantity}件，{placed}下单）状态：{status}。",
        "ja": "ご注文{order_id}（{name}、{quantity}点、{placed}注文）の状況：{status}。",
        "ar": "الطلب {order_id} («{name}»، الكمية {quantity}، بتاريخ {placed}): {status}.",
        "de": "Bestellung {order_id} ({name}, {quantity} Stück, vom {placed}): {status}.",
        "es": "Pedido {order_id} ({name}, {quantity} uds., del {placed}): {status}.",
    },
    "tracking": {
        "en": "Carrier: {carrier}, tracking number: {tracking}.",
        "zh": "承运商：{carrier}，运单号：{tracking}。",
        "ja": "配送業者：{carrier}、追跡番号：{tracking}。",
        "ar": "شركة الشحن: {carrier}، رقم التتبع: {tracking}.",
        "de": "Versand: {carrier}, Sendungsnummer: {tracking}.",
        "es": "Transportista: {carrier}, número de seguimiento: {tracking}.",
    },
    "no_order": {
        "en": "I cannot find this order under your account. Please check the order number, "
        "and sign in with the account that placed it.",
        "zh": "在您的账户下没有找到该订单。请核对订单号，并使用下单的账户登录。",
        "ja": "お客様のアカウントではこのご注文が見つかりません。"
        "注文番号とログイン中のアカウントをご確認ください。",
        "ar": "لا أجد هذا الطلب في حسابك. يرجى التحقق من رقم الطلب وتسجيل الدخول بالحساب الذي طلب.",
        "de": "Unter Ihrem Konto finde ich diese Bestellung nicht. Bitte prüfen Sie die "
        "Bestellnummer und melden Sie sich mit dem Konto an, mit dem bestellt wurde.",
        "es": "No encuentro este pedido en su cuenta. Compruebe el número de pedido e inicie "
        "sesión con la cuenta con la que se hizo.",
    },
    "handoff": {
        "en": "I am passing you to a colleague, who will answer you here.",
        "zh": "正在为您转接人工客服，同事会在这里回复您。",
        "ja": "担当者におつなぎします。こちらでご返信いたします。",
        "ar": "سأحولك إلى أحد الزملاء وسيجيبك هنا.",
        "de": "Ich gebe Sie an eine Kollegin oder einen Kollegen weiter; die Antwort kommt hier.",
        "es": "Le paso con un compañero, que le responderá aquí.",
    },
    "unknown": {
        "en": "I do not have this information. Could you say it in other words, "
        "or would you like to talk to a colleague?",
        "zh": "我暂时没有这方面的信息。您可以换个说法，或者转人工客服。",
        "ja": "申し訳ありません、その情報がありません。"
        "言い換えていただくか、担当者におつなぎします。",
        "ar": "ليست لدي هذه المعلومة. هل يمكنك صياغة السؤال بطريقة أخرى أو التحدث إلى أحد الزملاء؟",
        "de": "Dazu habe ich keine Auskunft. Können Sie es anders sagen, "
        "oder möchten Sie mit jemandem aus dem Team sprechen?",
        "es": "No tengo esa información. ¿Puede decirlo de otra manera "
        "o prefiere hablar con un compañero?",
    },
    "which_product": {
        "en": "Which product do you mean? Please give me its name.",
        "zh": "请问您指的是哪件商品？请告诉我商品名称。",
        "ja": "どの商品でしょうか。商品名を教えてください。",
        "ar": "أي منتج تقصد؟ يرجى ذكر اسمه.",
        "de": "Welches Produkt meinen Sie? Bitte nennen Sie mir den Namen.",
        "es": "¿A qué producto se refiere? Dígame su nombre, por favor.",
    },
}

_STATUS_WORDS: Mapping[str, Mapping[str, str]] = {
    "pending": {
        "zh": "待处理",
        "ja": "受付済み",
        "ar": "قيد الانتظار",
        "de": "in Bearbeitung",
        "es": "pendiente",
    },
    "processing": {
        "zh": "处理中",
        "ja": "準備中",
        "ar": "قيد المعالجة",
        "de": "in Bearbeitung",
        "es": "en preparación",
    },
    "processed": {
        "zh": "已处理",
        "ja": "処理済み",
        "ar": "تمت المعالجة",
        "de": "bearbeitet",
        "es": "procesado",
    },
    "paid": {"zh": "已付款", "ja": "支払い済み", "ar": "مدفوع", "de": "bezahlt", "es": "pagado"},
    "shipped": {
        "zh": "已发货",
        "ja": "発送済み",
        "ar": "تم الشحن",
        "de": "versandt",
        "es": "enviado",
    },
    "in_transit": {
        "en": "in transit",
        "zh": "运输中",
        "ja": "配送中",
        "ar": "في الطريق",
        "de": "unterwegs",
        "es": "en camino",
    },
    "delivered": {
        "zh": "已送达",
        "ja": "配達済み",
        "ar": "تم التسليم",
        "de": "zugestellt",
        "es": "entregado",
    },
    "cancelled": {
        "zh": "已取消",
        "ja": "キャンセル済み",
        "ar": "ملغى",
        "de": "storniert",
        "es": "cancelado",
    },
    "returned": {
        "zh": "已退货",
        "ja": "返品済み",
        "ar": "تم الإرجاع",
        "de": "zurückgesandt",
        "es": "devuelto",
    },
    "refunded": {
        "zh": "已退款",
        "ja": "返金済み",
        "ar": "تم رد المبلغ",
        "de": "erstattet",
        "es": "reembolsado",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A sentence in the customer's language; ``topic`` says which kind of question it answers."""

    topic: str
    sentence: str


def sentence(form: str, lang: str, /, **values: object) -> str:
    """Return a fixed sentence in ``lang`` (English where there is none)."""
    by_lang = _SENTENCES[form]
    return by_lang.get(lang, by_lang[_FALLBACK]).format(**values)


def money(price: float, currency: str) -> str:
    """Return a price with the decimals of its currency, always with a point."""
    if currency in _NO_MINOR_UNIT and price == int(price):
        return str(int(price))
    exact = f"{price:.4f}"
    return exact[:-2] if exact.endswith("00") else exact.rstrip("0")


def product_facts(product: CatalogRow, lang: str) -> tuple[Fact, ...]:
    """Return price and stock of a product."""
    stocked = "in_stock" if product.stock else "out_of_stock"
    return (
        Fact(
            topic=PRICE,
            sentence=sentence(
                "price",
                lang,
                name=product.name,
                price=money(product.price, product.currency),
                currency=product.currency,
            ),
        ),
        Fact(topic=STOCK, sentence=sentence(stocked, lang, name=product.name, stock=product.stock)),
    )


def order_fact(order: OrderRow, product: CatalogRow | None, lang: str) -> Fact:
    """Return where an order is; the caller has made sure that it is the customer's own."""
    key = order.status.casefold().replace(" ", "_").replace("canceled", "cancelled")
    status = _STATUS_WORDS.get(key, {}).get(lang, order.status)
    parts = [
        sentence(
            "order",
            lang,
            order_id=order.order_id,
            name=order.product_id if product is None else product.name,
            quantity=order.quantity,
            placed=order.placed[:10],
            status=status,
        )
    ]
    if order.carrier and order.tracking:
        parts.append(sentence("tracking", lang, carrier=order.carrier, tracking=order.tracking))
    return Fact(topic=ORDER, sentence=join(parts, lang))


def join(parts: Sequence[str], lang: str) -> str:
    """Return sentences one after the other, with a space where the language has them."""
    glue = "" if lang in {"zh", "ja"} else " "
    return glue.join(part for part in parts if part)
