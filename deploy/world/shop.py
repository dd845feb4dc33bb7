"""A store of the synthetic world: goods, customers, orders, conversations, intents, knowledge."""

import random
from dataclasses import dataclass
from datetime import date, timedelta

from deploy.world.conversations import (
    Planted,
    Product,
    Scene,
    common_values,
    conversation,
    product_values,
    typo,
)
from deploy.world.grammar import Speaker
from deploy.world.people import Person, invent
from deploy.world.texts import LanguageTexts, StoreTexts, language
from shared.formats import (
    CatalogRow,
    ConversationRow,
    CustomerRow,
    IntentRow,
    KnowledgeRow,
    OrderRow,
)
from shared.intents import INTENTS

PUBLIC_PER_INTENT = 4
_FIRST_DAY = date(2026, 9, 1)
_DAYS = 75
_STATUS = {
    "returns": ("delivered",),
    "refund": ("delivered", "cancelled"),
    "delivery": ("processing", "shipped"),
    "order_status": ("processing", "shipped", "shipped", "delivered", "cancelled"),
    "complaint": ("delivered",),
}
_GREETS = 0.4
_ANY_STATUS = ("processing", "shipped", "delivered", "delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """All rows of one store (or of the gate, where most lists stay empty)."""

    id: str
    name: str
    lang: str
    currency: str
    timezone: str
    public_customers: int
    catalog: tuple[CatalogRow, ...]
    customers: tuple[CustomerRow, ...]
    orders: tuple[OrderRow, ...]
    conversations: tuple[ConversationRow, ...]
    intents: tuple[IntentRow, ...]
    knowledge: tuple[KnowledgeRow, ...]
    planted: dict[str, tuple[Planted, ...]]


def chance_of(seed: int, *names: str) -> random.Random:
    """Return a source of chance of its own for one part of the world; not for secrets."""
    return random.Random(":".join((str(seed), *names)))  # noqa: S311


def products(texts: StoreTexts, chance: random.Random) -> tuple[Product, ...]:
    """Return every variant of every product line; about one in eight is sold out."""
    found: list[Product] = []
    for goods in texts.goods:
        for variant in goods.variants:
            number = len(found) + 1
            row = CatalogRow(
                product_id=f"{texts.code}-P{number:03d}",
                name=goods.name,
                lang=texts.lang,
                price=goods.price,
                currency=texts.currency,
                stock=0 if chance.random() < 0.125 else chance.randint(2, 80),  # noqa: PLR2004
                attributes={
                    "category": goods.category,
                    "variant": variant,
                    "description": goods.feature,
                },
            )
            found.append(
                Product(row=row, short=goods.short, variant=variant, feature=goods.feature)
            )
    return tuple(found)


def knowledge(store: StoreTexts, texts: LanguageTexts) -> tuple[KnowledgeRow, ...]:
    """Return the passages of the store's policy."""
    speaker = Speaker(
        chance=chance_of(0, "knowledge"), fragments=texts.fragments, values=common_values(store)
    )
    return tuple(
        KnowledgeRow.model_validate(
            {
                "_id": f"{store.id}-k{number:02d}",
                "title": title,
                "text": speaker.say(text).text,
                "lang": store.lang,
            }
        )
        for number, (title, text) in enumerate((*texts.knowledge, *store.knowledge), start=1)
    )


def build(store: StoreTexts, *, seed: int, customers: int) -> Shop:
    """Return a store with ``customers`` customers."""
    texts = language(store.lang)
    goods = products(store, chance_of(seed, store.id, "goods"))
    weights = [store.mix[name] for name in INTENTS]
    built = _Builder(store=store, texts=texts, goods=goods, gate=False, prefix=store.id)
    for number in range(1, customers + 1):
        chance = chance_of(seed, store.id, "customer", str(number))
        built.customer(number, chance.choices(INTENTS, weights, k=chance.choice((1, 1, 2))), chance)
        built.asks(number, chance.choices(INTENTS, weights, k=chance.choice((1, 2))), chance)
    chance = chance_of(seed, "public", store.lang)
    for name in INTENTS:
        built.public_asks(name, chance)
    return Shop(
        id=store.id,
        name=store.name,
        lang=store.lang,
        currency=store.currency,
        timezone=store.timezone,
        public_customers=customers // 10 * 10,
        catalog=tuple(product.row for product in goods),
        customers=tuple(built.people),
        orders=tuple(built.orders),
        conversations=tuple(built.conversations),
        intents=tuple(built.intents),
        knowledge=knowledge(store, texts),
        planted=built.planted,
    )


def gate_rows(
    store: StoreTexts, *, seed: int, conversations: int, intents: int, prefix: str = "hq"
) -> tuple[tuple[ConversationRow, ...], tuple[IntentRow, ...], dict[str, tuple[Planted, ...]]]:
    """Return held-back rows in the store's language: other people, other phrasings."""
    texts = language(store.lang)
    goods = products(store, chance_of(seed, "gate", store.id, "goods"))
    built = _Builder(
        store=store, texts=texts, goods=goods, gate=True, prefix=f"{prefix}-{store.lang}"
    )
    for number in range(1, conversations + 1):
        chance = chance_of(seed, "gate", store.lang, str(number))
        built.customer(number, [INTENTS[number % len(INTENTS)]], chance)
    chance = chance_of(seed, "gate", store.lang, "intents")
    seen: set[str] = set()
    tries = 0
    while len(built.intents) < intents and tries < 50 * intents:
        name = INTENTS[len(built.intents) % len(INTENTS)]
        text = built.sentence(chance.choice(texts.intents[name].held_asks), chance, chatty=True)
        tries += 1
        if text not in seen:
            seen.add(text)
            built.intents.append(IntentRow(text=text, lang=store.lang, intent=name))
    return tuple(built.conversations), tuple(built.intents), built.planted


class _Builder:
    """Collects rows, one customer after another."""

    def __init__(
        self,
        *,
        store: StoreTexts,
        texts: LanguageTexts,
        goods: tuple[Product, ...],
        gate: bool,
        prefix: str,
    ) -> None:
        self.people: list[CustomerRow] = []
        self.orders: list[OrderRow] = []
        self.conversations: list[ConversationRow] = []
        self.intents: list[IntentRow] = []
        self.planted: dict[str, tuple[Planted, ...]] = {}
        self._store, self._texts, self._goods = store, texts, goods
        self._gate, self._prefix = gate, prefix

    def customer(self, number: int, intents: list[str], chance: random.Random) -> None:
        """Add a customer with one conversation per intent, each about an order of its own."""
        person = invent(chance, self._texts, self._store, gate=self._gate)
        customer_id = self._id(number)
        self.people.append(_customer_row(customer_id, person, self._texts.lang))
        for turn, intent in enumerate(intents, start=1):
            product = chance.choice(self._goods)
            order = self._order(customer_id, product, intent, chance)
            self.orders.append(order)
            scene = Scene(
                conversation_id=f"{customer_id}-{turn}",
                customer_id=customer_id,
                person=person,
                product=product,
                order=order,
                gate=self._gate,
            )
            row, planted = conversation(intent, scene, self._texts, self._store, chance)
            self.conversations.append(row)
            self.planted[row.conversation_id] = planted

    def asks(self, number: int, intents: list[str], chance: random.Random) -> None:
        """Add private single sentences of a customer."""
        for name in intents:
            text = self.sentence(chance.choice(self._texts.intents[name].asks), chance, chatty=True)
            self.intents.append(
                IntentRow(
                    text=text, lang=self._texts.lang, intent=name, customer_id=self._id(number)
                )
            )

    def public_asks(self, name: str, chance: random.Random) -> None:
        """Add sentences that nobody said: examples that may be shown to everybody."""
        for template in chance.sample(self._texts.intents[name].asks, PUBLIC_PER_INTENT):
            text = self.sentence(template, chance)
            self.intents.append(IntentRow(text=text, lang=self._texts.lang, intent=name))

    def sentence(self, template: str, chance: random.Random, *, chatty: bool = False) -> str:
        """Return one sentence about one of the goods, without personal data.

        A ``chatty`` one may begin with a greeting and hold a slip of the fingers.
        """
        if chatty and chance.random() < _GREETS:
            template = "{uh}" + template
        product = chance.choice(self._goods)
        values = common_values(self._store) | product_values(self._store, product, gate=self._gate)
        speaker = Speaker(chance=chance, fragments=self._texts.fragments, values=values)
        if not chatty:
            return speaker.say(template).text
        return speaker.say(template, noise=lambda text: typo(text, self._texts, chance)).text

    def _id(self, number: int) -> str:
        return f"{self._prefix}-c{number:04d}"

    def _order(
        self, customer_id: str, product: Product, intent: str, chance: random.Random
    ) -> OrderRow:
        placed = _FIRST_DAY + timedelta(days=chance.randrange(_DAYS))
        serial = f"{chance.randrange(10_000):04d}{len(self.orders):04d}"
        joint = "" if self._texts.lang in {"zh", "ja"} else "-"
        status = chance.choice(_STATUS.get(intent, _ANY_STATUS))
        sent = status in {"shipped", "delivered"}
        return OrderRow(
            order_id=f"{self._store.code}{joint}{placed:%y%m}{serial}",
            customer_id=customer_id,
            product_id=product.row.product_id,
            quantity=chance.choice((1, 1, 1, 2, 3)),
            status=status,
            placed=placed.isoformat(),
            carrier=self._store.policy["carrier"] if sent else None,
            tracking=f"{self._store.carrier_code}{chance.randrange(10**10):010d}" if sent else None,
        )


def _customer_row(customer_id: str, person: Person, lang: str) -> CustomerRow:
    return CustomerRow(
        customer_id=customer_id,
        name=person.name,
        lang=lang,
        phone=person.phone,
        email=person.email,
        address=person.address,
    )
