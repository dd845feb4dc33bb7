"""A federation with nothing faked: two stores' own words, DP-SGD, Flower, ledgers that agree.

Only the base model is tiny and random, and the floor on customers lowered to fit a small world.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tomli_w

from coordinator.rounds.plan import make_plan
from coordinator.wiring_rounds import open_rounds
from deploy.base_model import resolve_base
from deploy.children import Child
from deploy.cli import run
from deploy.federation import start_superlink, start_supernode, wait_for_node
from deploy.launch import launch_run
from deploy.world.generate import World, generate
from shared.base_models import adapter_spec
from shared.clock import SystemClock
from shared.config import load_settings
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger, Reservation
from shared.privacy.verify import noted_heads, verify_file
from shared.rounds import RoundState, RunPlan
from tests.tiny_model import make_tiny_model

# About a minute on two idle cores; the rest is for busy ones.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
STORES = ("leeds", "hangzhou")
CUSTOMERS = 20
ROUNDS, STEPS = 2, 2
KINDS = ("catalog", "knowledge", "customers", "orders", "conversations", "intents")


class Chain:
    """HQ and two stores, running, each with its own data worked off into samples."""

    def __init__(self, root: Path) -> None:
        self.root, self.hq = root, root / "hq"
        self.world: World = generate(root / "world", seed=5, customers=CUSTOMERS, stores=STORES)
        base = make_tiny_model(root / "base", "gemma3")
        self.common = {
            "model": {"base": str(base), "rank": 4, "upper_layers": 2},
            "privacy": {"min_customers": 12},
            "performance": {"threads": 1, "device": "cpu"},
        }
        self.hq.mkdir()
        self.nodes: list[Child] = []
        self.superlink, address = start_superlink(self.hq)
        rounds = {"rounds": ROUNDS, "steps": STEPS, "epsilon": 1.5, "learning_rate": 0.5}
        self.configure("hq", hq={"superlink": address.text}, rounds=rounds)
        self.call("hq", "hq", "invite", str(root / "invitation.json"))
        for name in STORES:
            self.prepare(name)
            self.nodes.append(start_supernode(root / name, address, name=name, wait=False))
        for node in self.nodes:
            wait_for_node(node)

    def prepare(self, name: str) -> None:
        home, reply = self.root / name, str(self.root / f"{name}.json")
        home.mkdir()
        self.configure(name, store={"id": name})
        self.call(name, "store", "init", "--id", name)
        for kind in KINDS:
            self.call(name, "store", "import", kind, str(self.world.root / name / f"{kind}.jsonl"))
        self.call(name, "store", "worker", "--once")
        letter = str(self.root / "invitation.json")
        self.call(name, "store", "join", letter, "--customers", str(CUSTOMERS), "--out", reply)
        self.call("hq", "hq", "enrol", reply)

    def configure(self, owner: str, **sections: object) -> None:
        text = tomli_w.dumps({**self.common, **sections})
        (self.root / owner / "storeweave.toml").write_text(text, "utf-8")

    def call(self, owner: str, *words: str) -> None:
        assert run([*words, "--home", str(self.root / owner)]) == 0, words

    def plan(self) -> RunPlan:
        settings = load_settings(home=self.hq)
        base = resolve_base(settings.model)
        with open_rounds(self.hq) as rounds:
            plan = make_plan(
                settings=settings,
                stores=rounds.stores.all(),
                spec=adapter_spec(settings.model, base.folder, base.digest),
                ledger=rounds.ledger,
                now=SystemClock().now(),
            )
            rounds.runs.add(plan)
        return plan

    def key(self, owner: str) -> SigningKey:
        return SigningKey.load_or_create(self.root / owner / "keys" / "ledger.key")

    def read_ledger(self, owner: str, run_id: str) -> tuple[Path, tuple[Reservation, ...]]:
        """Export a ledger; return the file and the run's reservations."""
        out = self.root / f"{owner}.ledger.jsonl"
        path = self.root / owner / "ledger.db"
        with Ledger.open(path, owner=owner, key=self.key(owner), clock=SystemClock()) as ledger:
            ledger.export(out)
            return out, ledger.reservations(run_id)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        self.superlink.stop()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    root = tmp_path_factory.mktemp("private")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STOREWEAVE_HOME", str(root / "hq"))
        patch.setenv("STOREWEAVE_CACHE", str(root / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        before = {child.pid for child in psutil.Process().children()}
        federation = None
        try:
            federation = Chain(root)
            yield federation
        finally:
            family = [p for p in psutil.Process().children() if p.pid not in before]
            if federation is not None:
                federation.stop()
            for process in family:
                if process.is_running():
                    process.terminate()
            psutil.wait_procs(family, timeout=5)


def test_two_private_rounds_from_import_to_ledgers_that_agree(chain: Chain) -> None:
    plan = chain.plan()
    outcomes = launch_run(chain.hq, plan.run_id, timeout_s=400)
    assert [outcome.refused for outcome in outcomes] == [()] * ROUNDS
    assert [outcome.state for outcome in outcomes] == [RoundState.CLOSED] * ROUNDS
    for outcome in outcomes:
        assert set(outcome.contributed) == set(STORES)
        payload = 4 * sum(np.prod(shape) for shape in plan.spec["shapes"].values())
        for name in STORES:
            assert payload < outcome.bytes_up[name] < 2 * plan.bytes_up
            assert payload < outcome.bytes_down[name] < 2 * plan.bytes_down
    changed_by_each_round(chain, plan)
    ledgers_verify_and_agree(chain, plan)
    nothing_of_customers_left_the_stores(chain)


def changed_by_each_round(chain: Chain, plan: RunPlan) -> None:
    with open_rounds(chain.hq) as rounds:
        first, second, third = (
            rounds.service.adapter_before(plan.run_id, number) for number in (1, 2, 3)
        )
    for name in plan.spec["shapes"]:
        assert np.isfinite(third[name]).all()
        assert not first[name].any()
        assert not np.array_equal(first[name], second[name])
        assert not np.array_equal(second[name], third[name])


def ledgers_verify_and_agree(chain: Chain, plan: RunPlan) -> None:
    trusted = {owner: chain.key(owner).public_hex for owner in ("hq", *STORES)}
    exported = {owner: chain.read_ledger(owner, plan.run_id) for owner in trusted}
    for owner, (path, _) in exported.items():
        noted = [
            head for other, _ in exported.values() if other != path for head in noted_heads(other)
        ]
        report = verify_file(path, trusted=trusted, noted=noted)
        assert report.ok, (owner, report.violations)
        assert report.key_trusted
    _, ours = exported["hq"]
    assert len(ours) == len(STORES) * ROUNDS
    for name in STORES:
        share = plan.share(name)
        assert share is not None
        _, theirs = exported[name]
        mine = [held for held in ours if held.store_id == name]
        facts = [
            [(r.number, r.cohort, r.mechanism, r.delta, r.state) for r in held]
            for held in (sorted(some, key=lambda r: r.number) for some in (mine, theirs))
        ]
        assert facts[0] == facts[1]
        assert {held.state for held in mine} == {"committed"}
        assert share.epsilon <= 1.5


def nothing_of_customers_left_the_stores(chain: Chain) -> None:
    """No customer's name, phone or mail is in any file at HQ."""
    secrets = set()
    for name in STORES:
        text = (chain.world.root / name / "customers.jsonl").read_text("utf-8")
        for row in map(json.loads, text.splitlines()):
            secrets |= {row.get(key, "").encode() for key in ("name", "phone", "email")}
    long = {secret for secret in secrets if len(secret) >= 9}
    assert len(long) > CUSTOMERS
    for path in (p for p in chain.hq.rglob("*") if p.is_file()):
        data = path.read_bytes()
        assert not any(secret in data for secret in long), path
