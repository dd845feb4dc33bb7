"""One customer's conversation with a shop, composed from templates."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from deploy.world.grammar import Line, Span, Speaker, Value
from deploy.world.people import Person, typed
from deploy.world.texts import IntentTexts, LanguageTexts, StoreTexts
from shared.formats import CatalogRow, ConversationRow, MessageRow, OrderRow

_TYPO_RATE = 0.08
_EMOJI_RATE = 0.05
_ASKED_FOR_ORDER = 0.6
_FOLLOWS_UP = 0.35
_SAYS_THANKS = 0.4
_LONGEST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Personal data at ``messages[message].content[start:end]``."""

    message: int
    start: int
    end: int
    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A row of the catalogue and the words that customers and clerks use for it."""

    row: CatalogRow
    short: str
    variant: str
    feature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Who talks about what, where."""

    conversation_id: str
    customer_id: str
    person: Person
    product: Product
    order: OrderRow
    gate: bool
    """Use the phrasings that no store's customer uses, and plain names of goods."""


def common_values(store: StoreTexts) -> dict[str, Value]:
    """Return the slots that hold for the whole store."""
    return {"store": Value(text=store.name)} | {
        key: Value(text=text) for key, text in store.policy.items()
    }


def product_values(store: StoreTexts, product: Product, *, gate: bool) -> dict[str, Value]:
    """Return the slots of a product."""
    price = Decimal(str(product.row.price)).normalize()
    amount = f"{price:f}" if price == price.to_integral() else f"{price:.2f}"
    return {
        "product": Value(text=product.short if gate else product.row.name),
        "short": Value(text=product.short),
        "variant": Value(text=product.variant),
        "feature": Value(text=product.feature),
        "price": Value(text=store.money.format(amount=amount)),
    }


def converse(
    intent: IntentTexts,
    scene: Scene,
    texts: LanguageTexts,
    store: StoreTexts,
    chance: random.Random,
) -> tuple[tuple[MessageRow, ...], tuple[Planted, ...]]:
    """Return the messages of one conversation and where personal data lies in them."""
    talk = _Talk(scene=scene, texts=texts, store=store, chance=chance)
    held = scene.gate and chance.random() < 0.5  # noqa: PLR2004
    opening = -1 if held else chance.randrange(len(intent.opens))
    talk.user(chance.choice(intent.held_opens) if held else intent.opens[opening])
    if intent.needs_order and not talk.told("order") and chance.random() < _ASKED_FOR_ORDER:
        talk.agent("{ask_order}")
        talk.user("{give_order}")
    sold_out = intent.replies_out and not scene.product.row.stock
    talk.agent(chance.choice(intent.replies_out if sold_out else intent.replies_to(opening)))
    follow_ups = () if sold_out else intent.more_after(opening)
    if follow_ups and chance.random() < _FOLLOWS_UP:
        question, answer = chance.choice(follow_ups)
        talk.user(question)
        talk.agent(answer)
    if len(talk.lines) < _LONGEST and chance.random() < _SAYS_THANKS:
        talk.user("{user_thanks}")
        talk.agent("{agent_bye}")
    return talk.messages(), talk.planted()


class _Talk:
    """The conversation so far."""

    def __init__(
        self, *, scene: Scene, texts: LanguageTexts, store: StoreTexts, chance: random.Random
    ) -> None:
        self.lines: list[Line] = []
        self._texts = texts
        self._chance = chance
        placed = date.fromisoformat(scene.order.placed)
        tracking = scene.order.tracking
        order = Value(text=typed(scene.order.order_id, chance, texts.lang), label="order")
        self._values: Mapping[str, Value] = (
            common_values(store)
            | product_values(store, scene.product, gate=scene.gate)
            | dict(scene.person.values(chance, texts.lang))
            | {
                "date": Value(text=_day(placed, texts)),
                "later": Value(text=_day(placed + timedelta(days=3), texts)),
                "order": order,
                "tracking": Value(text=tracking, label="tracking") if tracking else order,
            }
        )
        self._fragments = {
            **texts.fragments,
            "call": texts.names.call,
            "state": "{st_" + scene.order.status + "}",
        }

    def told(self, label: str) -> bool:
        """Return whether the customer has said their order number, name, ..."""
        return any(span.label == label for line in self.lines[::2] for span in line.spans)

    def user(self, template: str) -> None:
        line = self._speaker("hi_unknown").say(
            template, noise=lambda text: typo(text, self._texts, self._chance)
        )
        if self._chance.random() < _EMOJI_RATE:
            line = Line(
                text=f"{line.text}{self._chance.choice(self._texts.emoji)}", spans=line.spans
            )
        self.lines.append(line)

    def agent(self, template: str) -> None:
        greeting = "hi_known" if self.told("name") else "hi_unknown"
        self.lines.append(self._speaker(greeting).say(template))

    def messages(self) -> tuple[MessageRow, ...]:
        return tuple(
            MessageRow(role="assistant" if number % 2 else "user", content=line.text)
            for number, line in enumerate(self.lines)
        )

    def planted(self) -> tuple[Planted, ...]:
        return tuple(
            _planted(number, span) for number, line in enumerate(self.lines) for span in line.spans
        )

    def _speaker(self, greeting: str) -> Speaker:
        fragments = {**self._fragments, "hi": "{" + greeting + "}"}
        return Speaker(chance=self._chance, fragments=fragments, values=self._values)


def typo(text: str, texts: LanguageTexts, chance: random.Random) -> str:
    """Return ``text``, now and then with a slip of the fingers that is usual in the language."""
    if chance.random() >= _TYPO_RATE:
        return text
    fitting = [pair for pair in texts.typos if pair[0] in text]
    return text.replace(*chance.choice(fitting), 1) if fitting else text


def _day(day: date, texts: LanguageTexts) -> str:
    return texts.date.format(day=day.day, month=texts.months[day.month - 1])


def _planted(message: int, span: Span) -> Planted:
    return Planted(
        message=message, start=span.start, end=span.end, label=span.label, value=span.value
    )


def conversation(
    intent_name: str, scene: Scene, texts: LanguageTexts, store: StoreTexts, chance: random.Random
) -> tuple[ConversationRow, tuple[Planted, ...]]:
    """Return a whole row: messages, satisfaction (1–5) and consent."""
    messages, planted = converse(texts.intents[intent_name], scene, texts, store, chance)
    usual = (1, 2, 3, 3, 4) if intent_name == "complaint" else (3, 4, 4, 5, 5, 5)
    row = ConversationRow(
        conversation_id=scene.conversation_id,
        customer_id=scene.customer_id,
        lang=texts.lang,
        messages=messages,
        csat=chance.choice(usual) if chance.random() < 0.8 else None,  # noqa: PLR2004
        consent=scene.gate or chance.random() >= 0.04,  # noqa: PLR2004
    )
    return row, planted
