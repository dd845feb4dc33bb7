"""What an answer may rest on: facts of the database and passages of the knowledge base."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from store_node.chat.facts import Fact, join, order_fact, product_facts, sentence
from store_node.chat.model import Understanding
from store_node.chat.passages import relevant
from store_node.chat.rules import FACT_TOPICS, HUMAN, ORDER, PRICE, STOCK
from store_node.ports import ChatSession, Hit, KnowledgeIndex, Orders, Shop

PASSAGES = 3
_MOST_PRODUCTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What an answer may rest on."""

    lead: str
    """Sentences of the database with which the answer begins."""
    facts: tuple[Fact, ...]
    hits: tuple[Hit, ...]
    database_only: frozenset[str]
    closed: bool
    """The lead says all: the model is not asked."""


class Grounder:
    """Collects the ground of an answer from the shop, the orders and the knowledge index."""

    def __init__(self, *, shop: Shop, orders: Orders, knowledge: KnowledgeIndex) -> None:
        self._shop = shop
        self._orders = orders
        self._knowledge = knowledge

    async def ground(self, text: str, session: ChatSession, understood: Understanding) -> Ground:
        """Return what the answer to ``text`` may rest on."""
        lang, topics = understood.lang, understood.topics
        products = await asyncio.to_thread(self._shop.product_named_in, text, lang)
        facts = [
            fact for product in products[:_MOST_PRODUCTS] for fact in product_facts(product, lang)
        ]
        numbers = [span.value for span in understood.entities if span.label == "order"]
        own_orders = await self._own_orders(session, numbers, understood)
        if own_orders and numbers:
            topics |= {ORDER}
        facts += own_orders
        found = await asyncio.to_thread(self._knowledge.search, text, lang, PASSAGES)
        hits = relevant(text, found)
        leading = [fact.sentence for fact in facts if fact.topic in topics]
        closed = False
        if HUMAN in topics:
            leading, closed = [sentence("handoff", lang)], True
        elif ORDER in topics and not own_orders and (numbers or not hits):
            leading, closed = [*leading, sentence("no_order", lang)], True
        elif topics & {PRICE, STOCK} and not leading and not hits:
            leading, closed = [sentence("which_product", lang)], True
        return Ground(
            lead=join(leading, lang),
            facts=tuple(facts),
            hits=tuple(hits),
            database_only=FACT_TOPICS
            & ({fact.topic for fact in facts} | (topics if not hits else frozenset({ORDER}))),
            closed=closed,
        )

    async def _own_orders(
        self, session: ChatSession, numbers: Sequence[str], understood: Understanding
    ) -> list[Fact]:
        if not session.known:
            return []
        rows = [
            row
            for number in numbers
            if (row := await asyncio.to_thread(self._orders.order, number, session.customer))
        ]
        if ORDER in understood.topics and not numbers:
            rows = await asyncio.to_thread(self._orders.latest, session.customer)
        facts = []
        for row in rows:
            product = await asyncio.to_thread(self._shop.product, row.product_id, understood.lang)
            facts.append(order_fact(row, product, understood.lang))
        return facts
