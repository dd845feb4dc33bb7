"""From a question to its language, intent, entities and topics."""

import asyncio
import math
from collections.abc import Sequence

from shared.errors import Unavailable
from shared.intents import INTENTS
from shared.languages import Language, detect_language
from shared.prompts import intent_prompt, intent_target
from store_node.chat.entities import find_entities
from store_node.chat.model import RULES, Understanding
from store_node.chat.rules import topic_of_intent, topics_in
from store_node.ports import Engine, Labels, Scores, Shop

_MOST_LABELS = 256
"""Labels scored in one call of the engine."""
SURE = 0.5
"""From this confidence on an intent decides by itself; below it only the customer's words do."""


class Understander:
    """Understands questions with the store's own labels, its catalogue and an engine."""

    def __init__(
        self, *, engine: Engine, labels: Labels, shop: Shop, timeout_s: float = 10.0
    ) -> None:
        self._engine = engine
        self._labels = labels
        self._shop = shop
        self._timeout_s = timeout_s

    async def understand(
        self, text: str, *, default_lang: str, lang: str | None = None, sticky_key: str = ""
    ) -> Understanding:
        """Return what ``text`` is about; without an engine, what its plain words tell.

        Args:
            text: the customer's words.
            default_lang: the language of words that do not tell theirs.
            lang: the language where the caller knows it.
            sticky_key: keeps a session on its release.
        """
        code = lang or detect_language(text, default_lang)
        if code not in set(Language):
            code = default_lang
        named = await asyncio.to_thread(self._shop.named_products, text, code)
        phrases = topics_in(text, code)
        labels = await asyncio.to_thread(self._labels.labels, code) or INTENTS
        intent, confidence, release = await self._intent(text, labels, sticky_key)
        if not intent and phrases:
            intent, confidence = _label_for(sorted(phrases)[0], labels), 0.0
        topics = set(phrases)
        topic = topic_of_intent(intent) if confidence >= SURE else None
        if topic is not None:
            topics.add(topic)
        return Understanding(
            lang=code,
            intent=intent,
            confidence=confidence,
            entities=find_entities(text, named),
            topics=frozenset(topics),
            release=release,
        )

    async def _intent(
        self, text: str, labels: Sequence[str], sticky_key: str
    ) -> tuple[str, float, str]:
        sums: list[float] = []
        tokens: list[int] = []
        release = RULES
        try:
            async with asyncio.timeout(self._timeout_s):
                for at in range(0, len(labels), _MOST_LABELS):
                    part = await self._engine.score(
                        intent_prompt(text),
                        [intent_target(label) for label in labels[at : at + _MOST_LABELS]],
                        sticky_key=sticky_key,
                    )
                    sums += part.log_likelihoods
                    tokens += part.tokens
                    release = part.release
        except (Unavailable, TimeoutError):
            return "", 0.0, RULES
        scores = Scores(log_likelihoods=tuple(sums), tokens=tuple(tokens), release=release)
        best, confidence = best_label(scores)
        return labels[best], confidence, scores.release


def best_label(scores: Scores) -> tuple[int, float]:
    """Return the place of the best candidate and its share of the probability of all candidates.

    The best is the one with the highest log-likelihood per token, so that long labels have a
    chance; the share is a softmax over the sums.
    """
    sums = scores.log_likelihoods
    per_token = [total / max(1, n) for total, n in zip(sums, scores.tokens, strict=True)]
    best = max(range(len(per_token)), key=per_token.__getitem__)
    top = max(sums)
    weights = [math.exp(total - top) for total in sums]
    return best, weights[best] / sum(weights)


def _label_for(topic: str, labels: Sequence[str]) -> str:
    return next((label for label in labels if topic_of_intent(label) == topic), topic)
