"""Whether a candidate may replace the release in service: language by language, or not at all.

Both were scored on the same items, so their difference is bootstrapped in pairs: conversations
(not replies, which depend on each other) are drawn with replacement, and the candidate must be
better with the whole interval. A mean over languages never decides: one language cannot pay for
another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.release.evaluate import Evaluation, IntentScore, ReplyScore
from shared.errors import BadInput

_WORST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """How sure a gate wants to be."""

    confidence: float = 0.95
    resamples: int = 2000
    min_conversations: int = 20
    """With fewer conversations in a language the gate stays closed: nothing could be told."""
    min_messages: int = 40
    """The same for labelled messages, where a language has no conversation at all."""
    seed: int = 2026


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference, candidate minus current, with its confidence interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the JSON form, rounded to 6 digits."""
        return {
            "mean": round(self.mean, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageVerdict:
    """What the gate says about one language, and on what grounds."""

    lang: str
    reasons: tuple[str, ...]
    """Why it is closed; empty where it is open."""
    conversations: int
    nll: Interval | None
    """Nats per token; below 0 is better."""
    accuracy: Interval | None
    """Share of intents; above 0 is better."""
    worst: tuple[str, ...]
    """Conversations that lost most, by id, never by their words."""

    @property
    def passed(self) -> bool:
        """Whether the gate is open for this language."""
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "conversations": self.conversations,
            "nll_per_token": self.nll.as_dict() if self.nll else None,
            "intent_accuracy": self.accuracy.as_dict() if self.accuracy else None,
            "worst": list(self.worst),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """The verdicts of all languages; the gate is open only where every one is."""

    rules: GateRules
    verdicts: tuple[LanguageVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may be pushed."""
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    @property
    def closed(self) -> tuple[str, ...]:
        """Languages that keep it closed."""
        return tuple(verdict.lang for verdict in self.verdicts if not verdict.passed)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form that a manifest carries."""
        return {
            "passed": self.passed,
            "confidence": self.rules.confidence,
            "resamples": self.rules.resamples,
            "method": "paired bootstrap over conversations (replies) and messages (intents)",
            "languages": {verdict.lang: verdict.as_dict() for verdict in self.verdicts},
        }


def compare(
    candidate: Evaluation, current: Evaluation, rules: GateRules | None = None
) -> GateReport:
    """Return the verdict on a candidate against the release in service, on the same items.

    A language is open where the upper end of the interval of nats per token is below 0 and the
    interval of intent accuracy is not wholly below 0. A language without conversations is judged by
    its labelled messages alone, and is open where the interval of accuracy is wholly above 0.

    Raises:
        BadInput: the two were not scored on the same items.
    """
    rules = rules or GateRules()
    if _items(candidate) != _items(current):
        raise BadInput(
            "candidate and current release were scored on different items",
            where="gates",
            remedy="evaluate both on the same gate sets with the same tokenizer",
        )
    verdicts = [_judge(lang, candidate, current, rules) for lang in candidate.languages]
    return GateReport(rules=rules, verdicts=tuple(verdicts))


def worst_change(candidate: Evaluation, current: Evaluation) -> float:
    """Return the change in nats a token of the language that loses most (or gains least).

    Raises:
        BadInput: there is no reply to judge by.
    """
    found = []
    for lang in candidate.languages:
        _, lost, tokens = _by_conversation(
            [score for score in candidate.replies if score.lang == lang],
            [score for score in current.replies if score.lang == lang],
        )
        if len(lost):
            found.append(float(lost.sum() / tokens.sum()))
    if not found:
        raise BadInput("no reply in the set", where="tuning", remedy="add conversations")
    return max(found)


def _judge(
    lang: str, candidate: Evaluation, current: Evaluation, rules: GateRules
) -> LanguageVerdict:
    names, lost, tokens = _by_conversation(
        [score for score in candidate.replies if score.lang == lang],
        [score for score in current.replies if score.lang == lang],
    )
    right = _rights(candidate.intents, lang) - _rights(current.intents, lang)
    nll = _interval(lost, tokens, rules) if len(names) else None
    accuracy = _interval(right, np.ones_like(right), rules) if len(right) else None
    by_intents = not names and len(right) > 0
    least, found = (
        (rules.min_messages, f"{len(right)} labelled messages")
        if by_intents
        else (rules.min_conversations, f"{len(names)} conversations")
    )
    reasons: list[str] = []
    if (len(right) if by_intents else len(names)) < least:
        reasons.append(f"{found}, at least {least} are needed to judge")
    if nll and nll.high >= 0:
        reasons.append(f"replies are not surely better, nats a token: {_signed(nll, '.4f', rules)}")
    if accuracy and accuracy.high < 0:
        reasons.append(f"intents are worse beyond noise: {_signed(accuracy, '.2%', rules)}")
    elif accuracy and by_intents and accuracy.low <= 0:
        reasons.append(f"intents are not surely better: {_signed(accuracy, '.2%', rules)}")
    order = np.argsort(-lost / np.maximum(tokens, 1), kind="stable")[:_WORST]
    return LanguageVerdict(
        lang=lang,
        reasons=tuple(reasons),
        conversations=len(names),
        nll=nll,
        accuracy=accuracy,
        worst=tuple(names[int(at)] for at in order if lost[int(at)] > 0),
    )


def _signed(found: Interval, form: str, rules: GateRules) -> str:
    mean, low, high = (format(v, f"+{form}") for v in (found.mean, found.low, found.high))
    return f"{mean} ({rules.confidence:.0%}: {low} to {high})"


def _interval(
    parts: NDArray[np.float64], weights: NDArray[np.float64], rules: GateRules
) -> Interval:
    """Return ``sum(parts) / sum(weights)`` with its percentile bootstrap interval (Efron 1979)."""
    random = np.random.default_rng(rules.seed)
    drawn = random.integers(0, len(parts), size=(rules.resamples, len(parts)))
    ratios = parts[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    tail = (1 - rules.confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(mean=float(parts.sum() / weights.sum()), low=float(low), high=float(high))


def _by_conversation(
    candidate: Sequence[ReplyScore], current: Sequence[ReplyScore]
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Return names, nats lost (candidate minus current) and tokens of each conversation."""
    before = {score.item: score.nll for score in current}
    lost: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for score in candidate:
        name = score.conversation
        lost[name] = lost.get(name, 0.0) + score.nll - before[score.item]
        tokens[name] = tokens.get(name, 0.0) + score.tokens
    return list(lost), np.array(list(lost.values())), np.array(list(tokens.values()))


def _rights(scores: Sequence[IntentScore], lang: str) -> NDArray[np.float64]:
    ordered = sorted((score.item, score.right) for score in scores if score.lang == lang)
    return np.array([float(right) for _, right in ordered])


def _items(evaluation: Evaluation) -> Mapping[str, Any]:
    return {
        **{score.item: (score.lang, score.tokens) for score in evaluation.replies},
        **{score.item: (score.lang, score.wanted) for score in evaluation.intents},
    }
