"""What a text contributes: some of its tokens, as a share of its customer's loss."""

import pytest
import torch

from shared.ids import CustomerKey
from store_node.ports import Sample
from store_node.samples.desensitize import restore
from store_node.training.texts import (
    MAX_TARGET_TOKENS,
    MAX_TOKENS,
    TARGETS_PER_TEXT,
    Row,
    by_customer,
    encode,
    pack,
)


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def sample(customer: str, name: str, kind: str = "reply") -> Sample:
    return Sample(
        sample_id=name,
        customer=CustomerKey(customer),
        lang="en",
        kind=kind,
        prompt=restore("ask", "1"),
        target=restore("answer", "1"),
        detector_version="1",
        masked_digest="",
    )


def test_a_row_is_beginning_prompt_and_target() -> None:
    row = encode("k", "ask", "answer", letters, [2])
    assert row.tokens == (2, *letters("askanswer"))
    assert row.target_start == 4
    assert row.targets == 6


def test_a_long_prompt_loses_its_beginning_and_a_long_target_its_end() -> None:
    row = encode("k", "p" * 500 + "q", "t" * 500, letters, [2])
    assert len(row.tokens) == MAX_TOKENS
    assert row.targets == MAX_TARGET_TOKENS
    assert row.tokens[0] == 2
    assert row.tokens[row.target_start - 1] == ord("q")


def test_samples_are_grouped_by_customer() -> None:
    found = by_customer([sample("a", "1"), sample("a", "2"), sample("b", "3")], letters, [], 2)
    assert [(c.customer, [r.key for r in c.rows]) for c in found] == [
        ("a", ["1", "2"]),
        ("b", ["3"]),
    ]
    assert by_customer([], letters, [], 2) == []


def test_a_customer_keeps_k_texts_and_labels_only_where_there_is_no_reply() -> None:
    many = [
        sample("a", "1", "intent"),
        sample("a", "2", "intent"),
        sample("a", "3"),
        sample("a", "4"),
        sample("a", "5"),
        sample("b", "6", "intent"),
    ]
    found = by_customer(many, letters, [], 2)
    assert [[row.key for row in one.rows] for one in found] == [["3", "4"], ["6"]]


def test_a_step_predicts_some_target_tokens_drawn_anew_each_time() -> None:
    row = Row(key="k", tokens=tuple(range(100, 180)), target_start=10)
    drawn = set()
    for _ in range(40):
        (batch,) = pack([(row,)], 4096)
        found = batch.targets.tolist()
        assert len(set(found)) == len(found) == TARGETS_PER_TEXT
        # Each is predicted from the position before it.
        assert [row.tokens[column] + 1 for column in batch.where_column] == found
        drawn.update(found)
    assert drawn <= set(range(110, 180))
    assert len(drawn) > 2 * TARGETS_PER_TEXT


def test_a_short_target_is_predicted_whole() -> None:
    row = Row(key="k", tokens=(1, 2, 3, 4, 5), target_start=2)
    (batch,) = pack([(row,)], 4096)
    assert batch.targets.tolist() == [3, 4, 5]


def test_a_customers_loss_is_the_mean_of_texts_of_means_of_tokens() -> None:
    long = Row(key="a", tokens=tuple(range(60)), target_start=5)
    short = Row(key="b", tokens=(1, 2, 3, 4), target_start=2)
    (batch,) = pack([(long, short), (short,)], 4096)
    per_row = torch.zeros(3).index_add_(0, batch.where_row, batch.weight)
    by_owner = {owner: [] for owner in range(batch.customers)}
    for row, share in enumerate(per_row.tolist()):
        by_owner[int(batch.owner[row])].append(share)
    (two,) = (shares for shares in by_owner.values() if len(shares) == 2)
    (one,) = (shares for shares in by_owner.values() if len(shares) == 1)
    assert sorted(two) == pytest.approx([0.5, 0.5])
    assert one == pytest.approx([1.0])
