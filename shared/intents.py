"""The intents that StoreWeave's own synthetic world speaks of; ids are English in every language.

Data that users bring may use labels of its own (a bank's 77 intents, for example): nothing but the
generator of the synthetic world depends on this list.
"""

from collections.abc import Mapping
from types import MappingProxyType

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "returns": {"en": "Sending goods back or exchanging them", "zh": "退货或换货"},
        "refund": {"en": "When and how money is paid back", "zh": "退款时间与方式"},
        "delivery": {"en": "Delivery times, fees and addresses", "zh": "配送时间、运费与地址"},
        "order_status": {"en": "Where an order is now", "zh": "查询订单进度"},
        "promotions": {"en": "Offers, coupons and member points", "zh": "优惠、优惠券与积分"},
        "product_question": {"en": "What a product can do, how to use it", "zh": "商品功能与用法"},
        "stock": {"en": "Whether a product is available", "zh": "商品是否有货"},
        "price": {"en": "What a product costs, price protection", "zh": "商品价格与保价"},
        "complaint": {"en": "Something went wrong: damage, service", "zh": "投诉：破损、服务问题"},
        "payment": {
            "en": "Ways to pay, invoices, failed payments",
            "zh": "支付方式、发票与支付失败",
        },
        "account": {"en": "Sign-in, personal details, membership", "zh": "登录、个人资料与会员"},
        "human_agent": {"en": "Asking for a person", "zh": "转人工客服"},
    }
)
"""One line about each intent, in English and Chinese."""

INTENTS: tuple[str, ...] = tuple(DESCRIPTIONS)
"""The ids, in a fixed order."""
