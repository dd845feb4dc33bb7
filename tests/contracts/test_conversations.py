"""Every implementation of ports ``Conversations`` and ``Dialogues`` keeps the same promises."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared.clock import FixedClock
from shared.errors import Refused
from shared.text import RawText
from store_node.adapters.tables import outbox
from store_node.wiring import StoreData
from tests.shop import fill

POLICY = "policy-1"


def names(data: StoreData, policy: str = POLICY, limit: int = 10) -> list[str]:
    return [c.conversation_id for c in data.conversations.unprocessed(policy, limit)]


def test_imported_conversations_are_processed_once_for_each_policy(
    data: StoreData, tmp_path: Path
) -> None:
    fill(data, tmp_path)
    first, second = data.conversations.unprocessed(POLICY, 10)
    assert (first.conversation_id, first.lang, first.csat, first.consent) == (
        "old-1",
        "zh",
        5,
        True,
    )
    assert first.customer == data.keys.of("c-1")
    assert [(m.role, m.content) for m in first.messages] == [
        ("user", "键盘怎么退货？"),
        ("assistant", "30天内可以退货。"),
    ]
    assert second.consent is False
    assert names(data, limit=1) == ["old-1"]
    data.conversations.mark_processed(["old-1"], POLICY)
    assert names(data) == ["old-2"]
    assert names(data, "policy-2") == ["old-1", "old-2"]
    fill(data, tmp_path)
    assert names(data) == ["old-2"]


def test_what_is_private_to_a_customer(data: StoreData, tmp_path: Path) -> None:
    fill(data, tmp_path)
    assert data.conversations.private_terms(data.keys.of("c-1")) == ("c-1", "Li Lei", "13800138000")
    assert data.conversations.private_terms(data.keys.of("nobody")) == ()
    ((customer, row),) = data.conversations.private_intents()
    assert customer == data.keys.of("c-2")
    assert (row.text, row.intent, row.customer_id) == ("How much is it?", "price", None)
    assert data.conversations.labels("en") == ("human_agent", "price", "returns")
    assert data.conversations.labels("zh") == ("human_agent", "price", "returns")


def test_a_chat_is_closed_when_nothing_is_said_for_a_while(
    data: StoreData, clock: FixedClock
) -> None:
    session = data.dialogues.open("s", "c-1", "zh")
    asked = data.dialogues.ask(session, RawText("你好"), "m1")
    answer = data.dialogues.answer(
        session, asked.message, RawText("您好"), {"a": 1}, lang="zh", status="pending"
    )
    assert names(data) == []
    clock.at += timedelta(hours=1)
    (found,) = data.conversations.unprocessed(POLICY, 10)
    assert [m.content for m in found.messages] == ["你好", "您好"]
    assert found.messages[1].message_id == answer.message_id
    data.conversations.mark_processed([found.conversation_id], POLICY)
    assert names(data) == []
    data.dialogues.ask(session, RawText("还在吗"), "m2")
    clock.at += timedelta(hours=1)
    assert names(data) == [found.conversation_id]


def test_the_outbox_tells_of_every_change(data: StoreData) -> None:
    session = data.dialogues.open("s", None, "en")
    assert not session.known
    asked = data.dialogues.ask(session, RawText("hi"), "m1")
    data.dialogues.answer(session, asked.message, RawText("hello"), {}, lang="en", status="open")
    with data.database.reading() as db:
        refs = db.scalars(sa.select(outbox.c.ref).order_by(outbox.c.seq)).all()
    assert refs == [session.conversation_id] * 2
    assert data.dialogues.open("s", None, "en").status == "open"


def test_asking_again_gives_what_there_is(data: StoreData) -> None:
    session = data.dialogues.open("s", "c-1", "en")
    first = data.dialogues.ask(session, RawText("hi"), "m1")
    assert data.dialogues.ask(session, RawText("hi"), "m1") == first
    answer = data.dialogues.answer(
        session, first.message, RawText("hello"), {}, lang="en", status="pending"
    )
    assert data.dialogues.ask(session, RawText("other"), "m1").answer == answer
    again = data.dialogues.answer(
        session, first.message, RawText("twice"), {}, lang="en", status="pending"
    )
    assert again == answer
    second = data.dialogues.ask(session, RawText("hi"), "")
    assert second.message.position == 2
    assert data.dialogues.ask(session, RawText("hi"), "").message.position == 3
    assert data.dialogues.before(session, 2, 1) == [answer]


def test_answers_after_a_message(data: StoreData) -> None:
    session = data.dialogues.open("s", "c-1", "en")
    answers = []
    for number in range(3):
        asked = data.dialogues.ask(session, RawText("hi"), f"m{number}")
        answers.append(
            data.dialogues.answer(
                session, asked.message, RawText("yes"), {}, lang="en", status="pending"
            )
        )
    assert data.dialogues.answers_after(session, answers[0].message_id) == answers[1:]
    assert data.dialogues.answers_after(session, "") == answers
    assert data.dialogues.answers_after(session, answers[2].message_id) == []


def test_a_session_belongs_to_one_customer(data: StoreData) -> None:
    data.dialogues.open("s", "c-1", "en")
    for customer in ("c-2", None):
        with pytest.raises(Refused, match="another user"):
            data.dialogues.open("s", customer, "en")
    assert data.dialogues.open("s", "c-1", "en").known
