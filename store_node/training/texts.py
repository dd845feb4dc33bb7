"""Training texts as token rows, grouped by customer and packed so that no customer is split."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

import torch

from shared.ids import CustomerKey
from store_node.ports import Sample

MAX_TOKENS = 192
"""A longer prompt loses its beginning; a longer target its end."""
MAX_TARGET_TOKENS = 96
TARGETS_PER_TEXT = 10
"""A step predicts at most this many target tokens of a text, drawn anew each time: the output layer
over a large vocabulary is most of a step's cost. Fewer cost less and agree less between customers,
and agreement is what noise leaves over (synthetic replies, mean cosine: 6 tokens .11, all .23). To
take the first tokens alone agrees more and teaches less: what is not trained got worse."""
INTENT_WEIGHT = 0.15
"""Weight of a labelled sentence beside a reply of the same customer. Labels pull all customers the
same way, so that at equal weight they would take the whole of the clipped gradient."""

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text: its tokens, and from where on they are the target."""

    key: str
    tokens: tuple[int, ...]
    target_start: int
    weight: float = 1.0
    """Of this text beside the customer's others; a public constant of its kind."""

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
    weight: float = 1.0,
) -> Row:
    """Return the row of one text; every text starts with the tokens ``begin`` (BOS or none)."""
    goal = tokenize(target)[:MAX_TARGET_TOKENS]
    room = MAX_TOKENS - len(goal) - len(begin)
    start = tokenize(prompt)[-room:]
    tokens = (*begin, *start, *goal)
    return Row(key=key, tokens=tokens, target_start=len(tokens) - len(goal), weight=weight)


def by_customer(
    samples: Iterable[Sample], tokenize: Tokenize, begin: Sequence[int], k: int
) -> list[CustomerTexts]:
    """Group samples, which come in order of customer, into customers with at most ``k`` rows.

    Kinds take turns (a reply, a labelled sentence, a reply, …), so that a customer with many of one
    kind still teaches the other; which rows are kept depends on this customer's samples alone.
    """
    return [
        CustomerTexts(
            customer=customer,
            rows=tuple(_encode_sample(sample, tokenize, begin) for sample in _choose(mine, k)),
        )
        for customer, mine in groupby(samples, key=lambda sample: sample.customer)
    ]


def _choose(samples: Iterable[Sample], k: int) -> list[Sample]:
    kinds: dict[str, list[Sample]] = {}
    # Short prompts first: a step's time goes with their tokens, what it teaches with the targets.
    for sample in sorted(samples, key=lambda sample: len(str(sample.prompt))):
        kinds.setdefault(sample.kind, []).append(sample)
    # Replies first: "reply" sorts after "intent".
    turns = zip_longest(*(kinds[kind] for kind in sorted(kinds, reverse=True)))
    return [sample for turn in turns for sample in turn if sample is not None][:k]


def _encode_sample(sample: Sample, tokenize: Tokenize, begin: Sequence[int]) -> Row:
    weight = INTENT_WEIGHT if sample.kind == "intent" else 1.0
    return encode(sample.sample_id, str(sample.prompt), str(sample.target), tokenize, begin, weight)


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
            weight.append(row.weight / (sizes[index] * len(positions)))
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
