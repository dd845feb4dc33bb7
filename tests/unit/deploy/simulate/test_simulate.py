"""Simulations: plans, splits, cells that are done once, and the laws that results must follow."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deploy.simulate.data import Rows, World, cached, divide, read_world
from deploy.simulate.page import points, write
from deploy.simulate.plan import Simulation, Split, read_plan
from deploy.simulate.run import Prepared, prepare, run
from shared.errors import BadInput
from strategies.whitening import Features

INTENTS = ("returns", "delivery", "payment", "stock")
HIDDEN = 24


def read(texts: Sequence[str]) -> Features:
    """Return features that lie near a point of their first word, with noise of the whole text."""
    rows = []
    for text in texts:
        word = text.split()[0]
        place = np.random.default_rng(INTENTS.index(word) if word in INTENTS else 99)
        own = np.random.default_rng(zlib.crc32(text.encode()))
        rows.append(place.normal(size=HIDDEN) + 0.6 * own.normal(size=HIDDEN))
    return np.array(rows, dtype=np.float32)


def write_data(folder: Path, customers: int = 300) -> Path:
    """Write two stores, of which one never hears of ``stock``."""
    for store, lang, intents in (("leeds", "en", INTENTS), ("amman", "ar", INTENTS[:3])):
        (folder / store).mkdir(parents=True)
        (folder / store / "store.toml").write_text(
            f'id = "{store}"\nlang = "{lang}"\npublic_customers = {customers}\n'
        )
        rows = [
            {
                "text": f"{intents[n % len(intents)]} {lang} {n}",
                "lang": lang,
                "intent": intents[n % len(intents)],
                "customer_id": f"u{n // 2}" if n % 30 else None,
            }
            for n in range(2 * customers)
        ]
        _write(folder / store / "intents.jsonl", rows)
    judged = [
        {"text": f"{intent} {lang} held {n}", "lang": lang, "intent": intent}
        for lang in ("en", "ar")
        for intent in INTENTS
        for n in range(25)
    ]
    (folder / "hq").mkdir()
    _write(folder / "hq" / "intents.jsonl", judged)
    _write(folder / "hq" / "conversations.jsonl", [])
    _write(folder / "public.jsonl", [{"text": f"other {n}"} for n in range(400)])
    return folder


def _write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def plan_of(folder: Path, **changes: object) -> Simulation:
    return Simulation.model_validate(
        {
            "data": folder,
            "public": folder / "public.jsonl",
            "seeds": (1,),
            "training": {"steps": 10, "learning_rate": 10.0, "directions": 16},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "d")


def ready(folder: Path, **changes: object) -> tuple[Simulation, Prepared]:
    plan = plan_of(folder, **changes)
    world = read_world(plan, read, plan.privacy.texts_per_customer)
    return plan, prepare(world, plan.training)


def test_less_noise_is_better_and_a_second_run_does_nothing_again(
    folder: Path, tmp_path: Path
) -> None:
    plan, prepared = ready(folder, privacy={"epsilons": (0.0, 0.05, 8.0)})
    told: list[tuple[int, int]] = []
    first = run(plan, prepared, tmp_path, lambda done, of, _: told.append((done, of)))
    assert told[-1] == (9, 9)
    found = {(r["way"], r["epsilon"]): r["accuracy"] for r in first}
    assert found["federated", 0.0]["en"] > 0.9
    assert found["federated", 0.05]["en"] < found["federated", 8.0]["en"] + 1e-9
    sigma = {r["epsilon"]: r["sigma"] for r in first}
    assert sigma[0.0] == 0.0
    assert sigma[0.05] > sigma[8.0] > 0
    # Nobody at the store in Amman asks about stock, so alone it cannot know the word in Arabic.
    assert found["local", 8.0]["ar"] <= found["federated", 8.0]["ar"]
    lines = (tmp_path / "results.jsonl").read_text("utf-8")
    assert run(plan, prepared, tmp_path, lambda *_: None) == first
    assert (tmp_path / "results.jsonl").read_text("utf-8") == lines
    page = write(plan, first, tmp_path)
    text = page.read_text("utf-8")
    assert "<svg" in text
    assert "{{" not in text
    assert len(points(first)) == 3 * 3 * 2


def test_a_changed_plan_starts_over_and_damaged_results_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    plan, prepared = ready(folder, ways=("federated",), privacy={"epsilons": (0.0,)})
    run(plan, prepared, tmp_path, lambda *_: None)
    other, _ = ready(
        folder, ways=("federated",), privacy={"epsilons": (0.0,)}, split={"kind": "even"}
    )
    run(other, prepared, tmp_path, lambda *_: None)
    assert len((tmp_path / "results.jsonl").read_text("utf-8").splitlines()) == 2
    (tmp_path / "results.jsonl").write_text("{broken\n")
    with pytest.raises(BadInput, match="not results"):
        run(plan, prepared, tmp_path, lambda *_: None)


@pytest.mark.parametrize(
    "split",
    [
        Split(),
        Split(kind="even", stores=4),
        Split(kind="dirichlet", stores=7, alpha=0.1),
        Split(kind="dirichlet", stores=3, alpha=100.0),
    ],
)
def test_every_split_keeps_customers_whole_and_loses_nobody(folder: Path, split: Split) -> None:
    _, prepared = ready(folder, privacy={"texts_per_customer": 2})
    world = prepared.world
    stores = divide(world, split, seed=3)
    people = [set(store.customers.tolist()) for store in stores]
    assert sum(map(len, people)) == len(set.union(*people)) == len(set(world.private.customers))
    assert sum(len(store.labels) for store in stores) == len(world.private.labels)
    for store in stores:
        assert (np.diff(store.customers) >= 0).all()
    if split.kind == "even":
        assert len(stores) == 8
        assert all(len(set(store.langs)) == 1 for store in stores)
    assert [r.labels.tolist() for r in divide(world, split, seed=3)] == [
        r.labels.tolist() for r in stores
    ]


def test_only_k_texts_of_a_customer_and_public_rows_belong_to_nobody(folder: Path) -> None:
    for k in (1, 2):
        world: World = read_world(plan_of(folder), read, k)
        private: Rows = world.private
        assert np.unique(private.customers, return_counts=True)[1].max() == k
        assert private.customers.min() >= 0
        assert len(world.examples.labels) == 40
        assert (world.examples.customers == -1).all()


def test_features_are_read_once(tmp_path: Path) -> None:
    asked = []

    def once(texts: Sequence[str]) -> Features:
        asked.append(len(texts))
        return read(texts)

    again = cached(once, tmp_path / "features", "model-1")
    first = again(["returns a", "stock b"])
    assert np.array_equal(again(["returns a", "stock b"]), first)
    assert asked == [2]
    cached(once, tmp_path / "features", "model-2")(["returns a", "stock b"])
    assert asked == [2, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = 'd'\nseeds = [", "not TOML"),
        ("data = 'd'\nspeed = 3", "speed"),
        ("data = 'd'\n[split]\nkind = 'odd'", "split.kind"),
        ("data = 'd'\n[privacy]\nepsilons = [-1]", "privacy.epsilons"),
    ],
)
def test_a_bad_plan_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(BadInput, match=message):
        read_plan(tmp_path / "plan.toml")


def test_folders_of_a_plan_are_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("data = 'd'\npublic = 'd/public.jsonl'")
    plan = read_plan(tmp_path / "plan.toml")
    assert plan.data == tmp_path / "d"
    assert plan.public == tmp_path / "d/public.jsonl"
    with pytest.raises(BadInput, match="cannot be read"):
        read_plan(tmp_path / "none.toml")
