"""Tests of gates: a language cannot pay for another, noise opens nothing."""

import numpy as np
import pytest

from coordinator.release.evaluate import Evaluation, IntentScore, ReplyScore
from coordinator.release.gates import GateRules, compare
from shared.errors import BadInput
from shared.hashing import canonical_json

RULES = GateRules(resamples=400)


def scored(
    better: dict[str, float], right: dict[str, float], count: int = 60, seed: int = 0
) -> Evaluation:
    """Return an evaluation whose nats per token are ``better`` below a common noisy level."""
    rng, own = np.random.default_rng(1), np.random.default_rng(seed)
    replies, intents = [], []
    for lang in sorted(better):
        for number in range(count):
            level = rng.normal(3.0, 0.5)
            for turn in range(2):
                nll = 10 * (level - better[lang] + own.normal(0, 0.05))
                name = f"{lang}-{number}"
                replies.append(
                    ReplyScore(
                        item=f"{name}#{turn}", conversation=name, lang=lang, nll=nll, tokens=10
                    )
                )
        for number in range(100):
            chosen = "a" if number < right.get(lang, 0.5) * 100 else "b"
            intents.append(
                IntentScore(item=f"i-{lang}-{number}", lang=lang, wanted="a", chosen=chosen)
            )
    return Evaluation(replies=tuple(replies), intents=tuple(intents))


CURRENT = scored({"en": 0, "zh": 0}, {}, seed=9)


def test_better_in_every_language_opens_the_gate() -> None:
    report = compare(scored({"en": 0.1, "zh": 0.05}, {}), CURRENT, RULES)
    assert report.passed
    assert report.closed == ()
    english = report.verdicts[0]
    assert english.nll is not None
    assert english.nll.low < -0.1 + 0.02
    assert -0.12 < english.nll.mean < -0.08
    assert english.nll.high < 0
    canonical_json(report.as_dict())


def test_one_worse_language_closes_it_and_is_named_with_its_worst_conversations() -> None:
    report = compare(scored({"en": 0.5, "zh": -0.1}, {}), CURRENT, RULES)
    assert not report.passed
    assert report.closed == ("zh",)
    chinese = report.verdicts[1]
    assert "not surely better" in chinese.reasons[0]
    assert len(chinese.worst) == 5
    assert all(name.startswith("zh-") for name in chinese.worst)


def test_no_difference_is_not_better() -> None:
    assert not compare(CURRENT, CURRENT, RULES).passed
    assert compare(scored({"en": 0, "zh": 0}, {}, seed=3), CURRENT, RULES).closed


def test_intents_worse_beyond_noise_close_it_and_within_noise_do_not() -> None:
    good = {"en": 0.1, "zh": 0.1}
    bad = compare(scored(good, {"en": 0.3}), CURRENT, RULES)
    assert bad.closed == ("en",)
    assert "intents are worse" in bad.verdicts[0].reasons[0]
    assert compare(scored(good, {"en": 0.49}), CURRENT, RULES).passed


def test_too_few_conversations_cannot_open_it() -> None:
    few = scored({"en": 0.1}, {}, count=5)
    report = compare(few, scored({"en": 0}, {}, count=5, seed=9), RULES)
    assert "at least 20" in report.verdicts[0].reasons[0]
    empty = Evaluation(replies=(), intents=())
    assert not compare(empty, empty, RULES).passed


def test_different_items_cannot_be_compared() -> None:
    with pytest.raises(BadInput, match="different items"):
        compare(scored({"en": 0.1}, {}), CURRENT, RULES)


@pytest.mark.parametrize(
    ("right", "count", "reason"),
    [
        (0.8, 100, ""),
        (0.52, 100, "intents are not surely better"),
        (0.3, 100, "intents are worse beyond noise"),
        (0.9, 25, "25 labelled messages, at least 40"),
    ],
)
def test_a_language_without_conversations_is_judged_by_its_labelled_messages(
    right: float, count: int, reason: str
) -> None:
    def only(share: float) -> Evaluation:
        rows = scored({"ja": 0}, {"ja": share}).intents[:: 100 // count][:count]
        return Evaluation(replies=(), intents=rows)

    report = compare(only(right), only(0.5), RULES)
    (verdict,) = report.verdicts
    assert verdict.passed == (not reason)
    assert verdict.reasons == () if not reason else reason in verdict.reasons[0]
    canonical_json(report.as_dict())
