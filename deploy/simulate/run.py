"""Runs a simulation's cells: the product's accountant, noise at each store, the plan's weights."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.simulate.data import Rows, World, divide
from deploy.simulate.plan import Cell, Simulation, Training
from shared.errors import BadInput
from shared.privacy.accounting import cheapest_sigma
from strategies.head import Weights, accuracy, clipped_sum
from strategies.whitening import Features, Whitening

RESULTS = "results.jsonl"
_BIAS = 0.1
"""Of the constant beside features of unit length: small, so that it takes little of the clip."""
_PUBLIC_STEPS = 200
_PUBLIC_RATE = 5.0
_NAME_LENGTH = 4.0
OnCell = Callable[[int, int, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A world's features made ready: whitened, unit length, with a constant beside them."""

    world: World
    start: Weights
    private: Rows
    judged: Rows


def prepare(world: World, training: Training) -> Prepared:
    """Whiten with public texts, and make the public start.

    Raises:
        BadInput: too few public texts; see :meth:`strategies.whitening.Whitening.fit`.
    """
    whitening = Whitening.fit(
        world.public, directions=training.directions, shrinkage=training.shrinkage
    )

    def ready(features: Features) -> Features:
        unit = whitening.apply(features)
        return np.concatenate([unit, np.full((len(unit), 1), _BIAS, np.float32)], axis=1)

    def rows(of: Rows) -> Rows:
        return Rows(
            features=ready(of.features), labels=of.labels, customers=of.customers, langs=of.langs
        )

    examples, private = rows(world.examples), rows(world.private)
    start = np.zeros((len(world.labels), private.features.shape[1]), np.float32)
    if training.public_start:
        start = _public_start(ready(world.names), examples)
    return Prepared(world=world, start=start, private=private, judged=rows(world.judged))


def run(
    plan: Simulation, prepared: Prepared, folder: Path, on_cell: OnCell
) -> list[dict[str, Any]]:
    """Run the cells that ``folder`` does not hold yet, and return all results in order.

    Each result is on disk before the next cell begins; a plan that changed starts over.

    Raises:
        BadInput: the results in the folder are damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS
    known = _known(path, plan.digest)
    cells = list(plan.cells())
    for number, cell in enumerate(cells, start=1):
        if cell.key not in known:
            begun = time.perf_counter()
            found = _cell(plan, prepared, cell)
            result = {
                "plan": plan.digest,
                "cell": cell.key,
                "way": cell.way,
                "epsilon": cell.epsilon,
                "seed": cell.seed,
                **found,
                "seconds": round(time.perf_counter() - begun, 3),
            }
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(result, ensure_ascii=False) + "\n")
            known[cell.key] = result
        on_cell(number, len(cells), known[cell.key])
    return [known[cell.key] for cell in cells]


def learn(
    stores: Sequence[Rows],
    start: Weights,
    plan: Simulation,
    *,
    sigma: float,
    rng: np.random.Generator,
) -> Weights:
    """Return the mean of the later half of the steps, which noise moves less than the last one.

    Each store clips, sums and adds noise of its own; the mean is over all customers, whose number
    stands here for the public figure that a real plan divides by.
    """
    training, clip = plan.training, plan.privacy.clip
    k = plan.privacy.texts_per_customer
    people = sum(len(np.unique(store.customers)) for store in stores)
    momentum, rate = np.float32(training.momentum), np.float32(training.learning_rate)
    weights, velocity = start.copy(), np.zeros_like(start)
    later = np.zeros(start.shape, dtype=np.float64)
    first_kept = training.steps // 2
    for step in range(training.steps):
        total = np.zeros_like(start)
        for store in stores:
            customers = store.customers if k > 1 else None
            total += clipped_sum(weights, store.features, store.labels, clip, customers)
            if sigma:
                total += rng.normal(0.0, sigma * clip, start.shape).astype(np.float32)
        velocity = momentum * velocity + total / np.float32(people)
        weights = weights - rate * velocity
        if step >= first_kept:
            later += weights
    mean: Weights = (later / (training.steps - first_kept)).astype(np.float32)
    return mean


def _cell(plan: Simulation, prepared: Prepared, cell: Cell) -> dict[str, Any]:
    sigma = 0.0
    if cell.epsilon:
        sigma = cheapest_sigma(
            steps_total=plan.training.steps,
            sample_rate=1.0,
            target_epsilon=cell.epsilon,
            delta=plan.privacy.delta,
            min_sigma=_LEAST_SIGMA,
        )
    world = prepared.world
    whole = World(
        labels=world.labels,
        names=world.names,
        public=world.public,
        examples=world.examples,
        private=prepared.private,
        stores=world.stores,
        judged=prepared.judged,
    )
    stores = divide(whole, plan.split, cell.seed)
    rng = np.random.default_rng([cell.seed, 7])
    judged = prepared.judged
    if cell.way == "pooled":
        stores = [prepared.private]
    if cell.way != "local":
        weights = learn(stores, prepared.start, plan, sigma=sigma, rng=rng)
        return {"sigma": sigma, "accuracy": _by_language(weights, judged)}
    # A customer of a store is served in its language, so that is where its own head is judged.
    found: dict[str, list[float]] = {}
    for store in stores:
        weights = learn([store], prepared.start, plan, sigma=sigma, rng=rng)
        for lang, share in _by_language(weights, judged).items():
            if lang in set(store.langs):
                found.setdefault(lang, []).append(share)
    means = {lang: round(float(np.mean(shares)), 4) for lang, shares in sorted(found.items())}
    return {"sigma": sigma, "accuracy": means}


_LEAST_SIGMA = 0.01


def _by_language(weights: Weights, judged: Rows) -> dict[str, float]:
    langs = np.array(judged.langs)
    out = {}
    for lang in sorted(set(judged.langs)):
        here = langs == lang
        out[lang] = round(accuracy(weights, judged.features[here], judged.labels[here]), 4)
    return out


def _public_start(names: Features, examples: Rows) -> Weights:
    """Return a head made of the intents' own words, then fitted to the public examples."""
    weights: Weights = np.float32(_NAME_LENGTH) * names
    velocity = np.zeros_like(weights)
    for _ in range(_PUBLIC_STEPS if len(examples.labels) else 0):
        total = clipped_sum(weights, examples.features, examples.labels, np.inf)
        velocity = np.float32(0.9) * velocity + total / np.float32(len(examples.labels))
        weights = weights - np.float32(_PUBLIC_RATE) * velocity
    return weights


def _known(path: Path, digest: str) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
        return {str(row["cell"]): row for row in rows if row["plan"] == digest}
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            "not results of a simulation", where=str(path), remedy="name another folder"
        ) from None
