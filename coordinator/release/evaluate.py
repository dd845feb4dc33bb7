"""What a model is worth on public or synthetic gate sets, item by item, so that two can be paired.

Replies: negative log-likelihood of the agent's words. Intents: which label's words the model finds
likeliest after the prompt. Labels differ in how likely they are whatever was asked, so each
label's mean over the set's messages of the language is subtracted first (batch calibration, Zhou
et al. 2023): on a base model without training this finds more than plain or length-normalised
sums do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.release.scorer import Scorer
from coordinator.release.tensors import Tensors
from shared.config import PerformanceSettings
from shared.formats import ConversationRow, IntentRow
from shared.prompts import intent_prompt, intent_target, reply_prompt, reply_target

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyScore:
    """One reply of an agent: ``nll`` in nats, summed over ``tokens`` tokens."""

    item: str
    conversation: str
    lang: str
    nll: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentScore:
    """One labelled message and the label that the model chose."""

    item: str
    lang: str
    wanted: str
    chosen: str

    @property
    def right(self) -> bool:
        """Whether the model chose the label."""
        return self.wanted == self.chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All items of the gate sets as one model scores them."""

    replies: tuple[ReplyScore, ...]
    intents: tuple[IntentScore, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that occur, sorted."""
        found = {score.lang for score in self.replies} | {score.lang for score in self.intents}
        return tuple(sorted(found))

    def as_dict(self) -> dict[str, Any]:
        """Return figures by language: ``nll_per_token``, ``tokens``, ``intent_accuracy``, …."""
        out: dict[str, Any] = {}
        for lang in self.languages:
            replies = [score for score in self.replies if score.lang == lang]
            intents = [score for score in self.intents if score.lang == lang]
            tokens = sum(score.tokens for score in replies)
            out[lang] = {
                "conversations": len({score.conversation for score in replies}),
                "replies": len(replies),
                "tokens": tokens,
                "nll_per_token": _share(sum(score.nll for score in replies), tokens),
                "intents": len(intents),
                "intent_accuracy": _share(sum(score.right for score in intents), len(intents)),
            }
        return out


def evaluate(
    folder: Path,
    conversations: Sequence[ConversationRow],
    intents: Sequence[IntentRow],
    *,
    variants: Sequence[Tensors] = (),
    performance: PerformanceSettings,
    on_progress: Progress = lambda *_: None,
) -> list[Evaluation]:
    """Score a model folder, then each of its variants, on the same rows.

    Args:
        folder: a causal language model with its tokenizer.
        conversations: every agent's reply after a customer's turn counts.
        intents: the labels are those that occur in the same language.
        variants: for each further model, the weights that differ from the folder's; layers below
            the lowest difference run once for all.
        performance: ``[performance]``: device and tokens in a batch.
        on_progress: called with ``replies`` or ``intents:<lang>``, done and total.
    """
    scorer = Scorer(folder, performance, variants=variants)
    asked = [item for row in conversations for item in _replies(row)]
    nlls, tokens = scorer.targets(
        [(prompt, target) for _, _, _, prompt, target in asked],
        lambda done, total: on_progress("replies", done, total),
    )
    chosen: list[list[IntentScore]] = [[] for _ in nlls]
    for lang in sorted({row.lang for row in intents}):
        rows = [(number, row) for number, row in enumerate(intents) if row.lang == lang]
        found = _choose(scorer, lang, rows, on_progress)
        chosen = [mine + more for mine, more in zip(chosen, found, strict=True)]
    return [
        Evaluation(
            replies=tuple(
                ReplyScore(item=item, conversation=name, lang=lang, nll=float(n), tokens=int(t))
                for (item, name, lang, _, _), n, t in zip(asked, nll, tokens, strict=True)
            ),
            intents=tuple(mine),
        )
        for nll, mine in zip(nlls, chosen, strict=True)
    ]


def _replies(row: ConversationRow) -> list[tuple[str, str, str, str, str]]:
    """Return ``(item, conversation, lang, prompt, target)`` of each reply to a customer."""
    turns = [(m.role, m.content) for m in row.messages if m.role in {"user", "assistant"}]
    name = row.conversation_id
    return [
        (f"{name}#{at}", name, row.lang, reply_prompt(turns[:at]), reply_target(text))
        for at, (role, text) in enumerate(turns)
        if role == "assistant" and at and text.strip()
    ]


def _choose(
    scorer: Scorer, lang: str, rows: Sequence[tuple[int, IntentRow]], on_progress: Progress
) -> list[list[IntentScore]]:
    """Return, for each model, the label that it finds likeliest for each row."""
    labels = sorted({row.intent for _, row in rows})
    scores = scorer.labels(
        [intent_prompt(row.text) for _, row in rows],
        [intent_target(label) for label in labels],
        lambda done, total: on_progress(f"intents:{lang}", done, total),
    )
    best = (scores - scores.mean(axis=1, keepdims=True)).argmax(axis=2)
    return [
        [
            IntentScore(item=f"intent#{number}", lang=lang, wanted=row.intent, chosen=labels[at])
            for (number, row), at in zip(rows, mine.tolist(), strict=True)
        ]
        for mine in best
    ]


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
