"""The rows of a simulation: whose they are, their features, and how they fall to stores."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.demo.layout import HQ_DATA, read_stores
from deploy.simulate.plan import Simulation, Split
from shared.errors import BadInput
from shared.formats import IntentRow, read_rows
from shared.hashing import digest_json
from strategies.head import Labels
from strategies.whitening import Features

Read = Callable[[Sequence[str]], Features]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Labelled texts: features, labels, and the customer of each, rising; -1 where it is public."""

    features: Features
    labels: Labels
    customers: Labels
    langs: tuple[str, ...]

    def take(self, where: NDArray[np.int64]) -> "Rows":
        """Return the rows of these places, in order of customer."""
        order = where[np.argsort(self.customers[where], kind="stable")]
        return Rows(
            features=self.features[order],
            labels=self.labels[order],
            customers=self.customers[order],
            langs=tuple(self.langs[place] for place in order),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What every cell shares."""

    labels: tuple[str, ...]
    names: Features
    """Features of the labels' own words."""
    public: Features
    """Features of texts that nobody protects."""
    examples: Rows
    """Labelled rows that are public."""
    private: Rows
    stores: Labels
    """Of each private row, by the data folder."""
    judged: Rows


def read_world(plan: Simulation, read: Read, k: int) -> World:
    """Read the data folder of a plan and the features of its texts.

    Args:
        plan: the simulation.
        read: gives the features of texts, ``(texts, hidden)``.
        k: texts of a customer at most.

    Raises:
        BadInput: no store has labelled sentences of customers, nothing judges, or a row is wrong.
    """
    found = read_stores(plan.data)
    rows: list[tuple[IntentRow, int]] = []
    for number, store in enumerate(found):
        path = store.folder / "intents.jsonl"
        rows += [(row, number) for row in read_rows(path, IntentRow)] if path.is_file() else []
    judged = list(read_rows(plan.data / HQ_DATA / "intents.jsonl", IntentRow))
    labels = tuple(sorted({row.intent for row, _ in rows}))
    judged = [row for row in judged if row.intent in set(labels)]
    if not judged or not any(row.customer_id for row, _ in rows):
        raise BadInput(
            "no labelled sentences of customers, or none to judge by",
            where=str(plan.data),
            remedy="see 'The data folder' in README.md",
        )
    kept = _at_most(rows, k)
    texts = [row.text for row, _ in kept]
    features = read([*texts, *(row.text for row in judged), *map(_words, labels)])
    of = {label: number for number, label in enumerate(labels)}
    ids = {
        name: number
        for number, name in enumerate(
            dict.fromkeys((store, row.customer_id) for row, store in kept if row.customer_id)
        )
    }
    mine = Rows(
        features=features[: len(kept)],
        labels=np.array([of[row.intent] for row, _ in kept]),
        customers=np.array(
            [ids[store, row.customer_id] if row.customer_id else -1 for row, store in kept]
        ),
        langs=tuple(row.lang for row, _ in kept),
    )
    private = np.flatnonzero(mine.customers >= 0)
    open_rows = np.flatnonzero(mine.customers < 0)
    last = len(kept) + len(judged)
    stores = np.array([store for _, store in kept])
    private = private[np.argsort(mine.customers[private], kind="stable")]
    public = read(_public_texts(plan.public)) if plan.public else features[:0]
    return World(
        labels=labels,
        names=features[last:],
        public=np.concatenate([public, mine.features[open_rows], features[last:]]),
        examples=mine.take(open_rows),
        private=mine.take(private),
        stores=stores[private],
        judged=Rows(
            features=features[len(kept) : last],
            labels=np.array([of[row.intent] for row in judged]),
            customers=np.arange(len(judged)),
            langs=tuple(row.lang for row in judged),
        ),
    )


def divide(world: World, split: Split, seed: int) -> list[Rows]:
    """Return each store's rows; a customer's rows stay together."""
    rows = world.private
    rng = np.random.default_rng(seed)
    if split.kind == "store":
        owner = world.stores
    else:
        people = int(rows.customers.max()) + 1
        first = np.searchsorted(rows.customers, np.arange(people))
        if split.kind == "even":
            home = world.stores[first]
            part = rng.permuted(np.arange(people)) % split.stores
            of_customer = home * split.stores + part
        else:
            mixes = rng.dirichlet([split.alpha] * split.stores, size=len(world.labels))
            sums = mixes[rows.labels[first]].cumsum(axis=1)
            of_customer = (rng.random((people, 1)) > sums).sum(axis=1).clip(max=split.stores - 1)
        owner = of_customer[rows.customers]
    return [rows.take(np.flatnonzero(owner == number)) for number in np.unique(owner)]


def cached(read: Read, folder: Path, identity: str) -> Read:
    """Return ``read`` that keeps its answers in ``folder``; ``identity`` names model and prompt."""

    def reading(texts: Sequence[str]) -> Features:
        path = folder / f"{digest_json([identity, list(texts)])[:32]}.npy"
        if path.is_file():
            kept: Features = np.load(path, allow_pickle=False)
            return kept
        found = read(texts)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new.npy")
        np.save(fresh, found)
        fresh.replace(path)
        return found

    return reading


def _at_most(rows: Sequence[tuple[IntentRow, int]], k: int) -> list[tuple[IntentRow, int]]:
    """Return public rows, and the first ``k`` of each customer's; which depends on them alone."""
    seen: dict[tuple[int, str], int] = {}
    kept = []
    for row, store in rows:
        if row.customer_id is not None:
            name = (store, row.customer_id)
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > k:
                continue
        kept.append((row, store))
    return kept


def _public_texts(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
        return [str(json.loads(line)["text"]) for line in lines if line.strip()]
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(
            "not JSON lines with text", where=str(path), remedy="mend the file"
        ) from None


def _words(label: str) -> str:
    return label.replace("_", " ").replace("/", " ")
