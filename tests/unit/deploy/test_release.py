"""Tests of what chooses the merge weight where no tuning set is there."""

from collections import Counter

from deploy.release import set_apart
from shared.formats import ConversationRow


def rows(lang: str, count: int) -> list[ConversationRow]:
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    return [
        ConversationRow(
            conversation_id=f"{lang}-{n}", customer_id=f"k{n}", lang=lang, messages=turns
        )
        for n in range(count)
    ]


def test_a_quarter_is_set_apart_where_enough_stays_to_judge_by() -> None:
    given = [*rows("en", 200), *rows("ja", 22)]
    gate, tuning = set_apart(given, 20)
    assert sorted(r.conversation_id for r in (*gate, *tuning)) == sorted(
        r.conversation_id for r in given
    )
    assert 30 < Counter(row.lang for row in tuning)["en"] < 70
    assert Counter(row.lang for row in gate)["ja"] == 22
    assert set_apart(list(reversed(given)), 20)[1] == tuple(reversed(tuning))
    assert set_apart([], 20) == ((), ())
