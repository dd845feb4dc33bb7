"""Training texts as token rows, grouped by customer and packed so that no customer is split."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from shared.ids import CustomerKey
from store_node.ports import Sample

MAX_TOKENS = 192
"""A longer prompt loses its beginning; a longer target its end."""
MAX_TARGET_TOKENS = 96
TARGETS_PER_TEXT = 24
"""A step predicts at most this many target tokens of a text, drawn anew each time: the output layer
over a large vocabulary is most of a step's cost. Fewer agree less between customers, and agreement
is what noise leaves over (synthetic replies, length of the mean clipped gradient in clips: 24
tokens .26, all .32, at 1.4 times the cost)."""

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text: its tokens, and from where on they are the target."""

    key: str
    tokens: tuple[int, ...]
    target_start: int

    @property
    def targets(self) -> int:
        """Number of target tokens."""
        return len(self.tokens) - self.target_start


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerTexts:
    """All of a customer's rows; at most k of them enter a step."""

    customer: CustomerKey
    rows: tuple[Row, ...]


def encode(
    key: str,
    prompt: str,
    target: str,
    tokenize: Tokenize,
    begin: Sequence[int],
) -> Row:
    """Return the row of one text; every text starts with the tokens ``begin`` (BOS or none)."""
    goal = tokenize(target)[:MAX_TARGET_TOKENS]
    room = MAX_TOKENS - len(goal) - len(begin)
    start = tokenize(prompt)[-room:]
    tokens = (*begin, *start, *goal)
    return Row(key=key, tokens=tokens, target_start=len(tokens) - len(goal))


def by_customer(
    samples: Iterable[Sample], tokenize: Tokenize, begin: Sequence[int], k: int
) -> list[CustomerTexts]:
    """Group samples, which come in order of customer, into customers with at most ``k`` rows.

    Labelled sentences are taken from customers alone who have no reply: in one step with replies
    they take the clipped gradient for themselves, since they all pull the same way, and make
    replies worse than no training (synthetic, 0.4 of a reply's weight: +.1 nats a token instead of
    -.1). Which rows are kept depends on this customer's samples alone.
    """
    return [
        CustomerTexts(
            customer=customer,
            rows=tuple(_encode_sample(sample, tokenize, begin) for sample in _choose(mine, k)),
        )
        for customer, mine in groupby(samples, key=lambda sample: sample.customer)
    ]


def _choose(samples: Iterable[Sample], k: int) -> list[Sample]:
    mine = list(samples)
    replies = [sample for sample in mine if sample.kind == "reply"]
    # Short prompts first: a step's time goes with their tokens, what it teaches with the targets.
    return sorted(replies or mine, key=lambda sample: len(str(sample.prompt)))[:k]


def _encode_sample(sample: Sample, tokenize: Tokenize, begin: Sequence[int]) -> Row:
    return encode(sample.sample_id, str(sample.prompt), str(sample.target), tokenize, begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Some customers' rows, padded on the right.

    ``owner`` maps a row to its customer within the batch. ``where_row``, ``where_column`` name the
    positions that predict ``targets``; ``weight`` is each target's share of its customer's loss.
    """

    rows: tuple[Row, ...]
    mask: torch.Tensor
    owner: torch.Tensor
    customers: int
    weight: torch.Tensor
    where_row: torch.Tensor
    where_column: torch.Tensor
    targets: torch.Tensor


def pack(chosen: Sequence[tuple[Row, ...]], budget_tokens: int) -> Iterator[MicroBatch]:
    """Yield micro-batches of whole customers, of at most ``budget_tokens`` padded tokens each.

    Args:
        chosen: the rows of each customer in this step.
        budget_tokens: a customer larger than this gets a batch of its own.
    """
    order = sorted(chosen, key=lambda rows: max(len(row.tokens) for row in rows))
    group: list[tuple[Row, ...]] = []
    for rows in order:
        longest = max(len(row.tokens) for row in rows)
        count = sum(len(r) for r in group) + len(rows)
        if group and longest * count > budget_tokens:
            yield _batch(group)
            group = []
        group.append(rows)
    if group:
        yield _batch(group)


def _batch(group: Sequence[tuple[Row, ...]]) -> MicroBatch:
    rows = tuple(row for part in group for row in part)
    sizes = [len(part) for part in group for _ in part]
    width = max(len(row.tokens) for row in rows)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    where: list[tuple[int, int]] = []
    targets: list[int] = []
    weight: list[float] = []
    for index, row in enumerate(rows):
        mask[index, : len(row.tokens)] = 1
        positions = _positions(row)
        for position in positions:
            where.append((index, position - 1))
            targets.append(row.tokens[position])
            weight.append(1 / (sizes[index] * len(positions)))
    return MicroBatch(
        rows=rows,
        mask=mask,
        owner=torch.tensor([index for index, part in enumerate(group) for _ in part]),
        customers=len(group),
        weight=torch.tensor(weight),
        where_row=torch.tensor([row for row, _ in where]),
        where_column=torch.tensor([column for _, column in where]),
        targets=torch.tensor(targets),
    )


def _positions(row: Row) -> Sequence[int]:
    every = range(row.target_start, len(row.tokens))
    if len(every) <= TARGETS_PER_TEXT:
        return every
    return sorted(secrets.SystemRandom().sample(every, TARGETS_PER_TEXT))
