"""Entities, intents and their confidence."""

import pytest

from store_node.chat.entities import find_entities
from store_node.chat.model import (
    MAX_QUERY,
    STATUS_MOVES,
    Action,
    Status,
    check_query,
    next_status,
)
from store_node.chat.understanding import best_label
from store_node.ports import Scores


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Where is #W1002003?", [("order", "#W1002003")]),
        ("订单ORD-2026-001到哪了", [("order", "ORD-2026-001")]),
        ("我的订单20261101888到哪了", [("order", "20261101888")]),
        ("I want 3 of 12.50", [("number", "3"), ("number", "12.50")]),
        ("in 2026 or 5G", [("number", "2026"), ("number", "5")]),
        ("أريد ٣ قطع", [("number", "٣")]),
    ],
)
def test_entities_as_they_stand(text: str, wanted: list[tuple[str, str]]) -> None:
    found = find_entities(text, [])
    assert [(span.label, span.value) for span in found] == wanted
    assert all(text[span.start : span.end] == span.value for span in found)


def test_long_labels_have_a_chance_and_confidence_is_a_share() -> None:
    scores = Scores(log_likelihoods=(-2.0, -3.0), tokens=(1, 3), release="r")
    best, confidence = best_label(scores)
    assert best == 1
    assert confidence == pytest.approx(1 / (1 + 2.718281828), rel=1e-6)


def test_status_moves_follow_the_table() -> None:
    assert next_status(Status.PENDING, Action.CONTINUE) is Status.PENDING
    assert next_status(Status.PENDING, Action.HANDOFF) is Status.OPEN
    assert next_status(Status.OPEN, Action.CONTINUE) is Status.OPEN
    assert next_status(Status.RESOLVED, Action.CONTINUE) is Status.PENDING
    assert set(STATUS_MOVES) == set(Status)


def test_a_question_is_cleaned_not_changed() -> None:
    assert check_query("  he\x00llo\n") == "hello"
    assert check_query("你" * MAX_QUERY) == "你" * MAX_QUERY
