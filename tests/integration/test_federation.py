"""The federation with real Flower processes on loopback: TLS, node keys, a database on disk."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from coordinator.wiring_rounds import Rounds, open_rounds
from deploy.children import Child
from deploy.federation import (
    CONNECTION,
    flwr_json,
    register_node,
    start_superlink,
    start_supernode,
    submit_run,
    wait_for_node,
)
from deploy.launch import launch_run
from shared.clock import SystemClock
from shared.errors import Refused, Unavailable
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger
from shared.rounds import RoundState
from shared.wire.bundle import CONFIG_FILE, bundle_config
from tests.federation_world import POLICY, make_chain, make_plan, make_store_home

pytestmark = pytest.mark.integration
STORES = ("berlin", "kyoto", "riyadh")
ROOT = Path(__file__).resolve().parents[2]


class Chain:
    """HQ and three stores, running."""

    def __init__(self, root: Path) -> None:
        self.root, self.hq = root, root / "hq"
        self.hq_key = make_chain(root, STORES)
        self.superlink, self.address = start_superlink(self.hq)
        self.nodes: dict[str, Child] = {}
        for name in STORES:
            register_node(self.hq, root / name / "keys" / "node.pub", name=name)
            self.nodes[name] = start_supernode(root / name, self.address, name=name, wait=False)
        for node in self.nodes.values():
            wait_for_node(node)

    def fake(self, name: str, **wish: object) -> None:
        (self.root / name / "fake.json").write_text(json.dumps(wish), "utf-8")

    def add(self, run_id: str, **options: object) -> None:
        cohorts = {name: f"{name}-customers" for name in STORES}
        with open_rounds(self.hq) as rounds:
            rounds.runs.add(make_plan(run_id, cohorts, **options))

    def states(self, owner: str, run_id: str) -> dict[tuple[str, int], str]:
        home = self.root / owner
        key = SigningKey.load_or_create(home / "keys" / "ledger.key")
        with Ledger.open(home / "ledger.db", owner=owner, key=key, clock=SystemClock()) as ledger:
            return {(r.store_id, r.number): str(r.state) for r in ledger.reservations(run_id)}

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()
        self.superlink.stop()


def wait_for(ready: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    ours = {
        "PYTHONPATH": f"{ROOT / 'tests' / 'federation_site'}{os.pathsep}{ROOT}",
        "STOREWEAVE_PRELOAD": "tests.federation_fakes",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        federation = Chain(tmp_path_factory.mktemp("federation"))
        try:
            yield federation
        finally:
            family = psutil.Process().children(recursive=True)
            federation.stop()
            _gone, alive = psutil.wait_procs(family, timeout=5)
    assert not alive, "processes were left behind"


@pytest.fixture(autouse=True)
def honest(chain: Chain) -> None:
    for name in STORES:
        (chain.root / name / "fake.json").unlink(missing_ok=True)


def test_two_rounds_and_the_ledgers_agree(chain: Chain) -> None:
    chain.add("run-a", target=0.2)
    outcomes = launch_run(chain.hq, "run-a", timeout_s=100)
    assert [outcome.state for outcome in outcomes] == [RoundState.CLOSED] * 2
    for outcome in outcomes:
        assert outcome.contributed == STORES
        assert outcome.refused == ()
        assert all(outcome.bytes_up[name] > 128 for name in STORES)
        assert all(outcome.bytes_down[name] > 128 for name in STORES)
    with open_rounds(chain.hq) as rounds:
        after = rounds.service.adapter_before("run-a", 3)
    assert all(np.allclose(value, 2.0) for value in after.values())
    ours = chain.states("hq", "run-a")
    assert set(ours.values()) == {"committed"}
    for name in STORES:
        theirs = chain.states(name, "run-a")
        assert theirs == {key: state for key, state in ours.items() if key[0] == name}


def test_bad_updates_are_refused_and_the_round_closes_with_the_rest(chain: Chain) -> None:
    chain.fake("berlin", mode="nan")
    chain.fake("kyoto", mode="digest")
    chain.add("run-b", target=0.2, rounds=1)
    (outcome,) = launch_run(chain.hq, "run-b", timeout_s=100)
    assert outcome.state is RoundState.CLOSED
    assert outcome.contributed == ("riyadh",)
    refused = {refusal.sender: refusal.code for refusal in outcome.refused}
    assert refused == {"berlin": "not_finite", "kyoto": "wrong_digest"}
    with open_rounds(chain.hq) as rounds:
        after = rounds.service.adapter_before("run-b", 2)
    assert all(np.allclose(value, 1 / 3) for value in after.values())
    assert chain.states("hq", "run-b") == {
        ("berlin", 1): "aborted",
        ("kyoto", 1): "aborted",
        ("riyadh", 1): "committed",
    }
    assert chain.states("kyoto", "run-b") == {("kyoto", 1): "committed"}


def test_unregistered_node_is_refused(chain: Chain) -> None:
    home = make_store_home(chain.root / "stranger", "stranger", chain.hq_key)
    with pytest.raises(Unavailable, match="not let in"):
        start_supernode(home, chain.address, name="stranger", timeout_s=6)


def test_app_with_code_is_refused_by_the_superlink(chain: Chain) -> None:
    app = chain.hq / "flower" / "app" / "evil"
    (app / "store_node").mkdir(parents=True)
    (app / "store_node" / "__init__.py").write_text("", "utf-8")
    (app / CONFIG_FILE).write_text(bundle_config(), "utf-8")
    with pytest.raises(Unavailable):
        flwr_json(chain.hq, ["run", str(app), CONNECTION], what="refused")
    assert "carries files of its own" in chain.superlink.text()


def test_killed_node_does_not_hold_up_the_round(chain: Chain) -> None:
    chain.fake("kyoto", seconds=60.0)
    chain.add("run-f", target=0.2, rounds=1, deadline_s=15.0)

    def pull_the_plug(event: dict[str, object]) -> None:
        if event["event"] == "round.started":
            wait_for(lambda: ("kyoto", 1) in dispatched(chain, "kyoto", "run-f"), 12)
            chain.nodes["kyoto"].kill()

    (outcome,) = launch_run(chain.hq, "run-f", timeout_s=100, on_event=pull_the_plug)
    assert outcome.state is RoundState.CLOSED
    assert outcome.contributed == ("berlin", "riyadh")
    assert [(r.sender, r.code) for r in outcome.refused] == [("kyoto", "late_reply")]
    assert chain.states("hq", "run-f")["kyoto", 1] == "aborted"
    assert chain.states("kyoto", "run-f") == {("kyoto", 1): "dispatched"}
    chain.nodes["kyoto"] = start_supernode(chain.root / "kyoto", chain.address, name="kyoto")


def test_killed_serverapp_is_resumed_after_the_last_closed_round(chain: Chain) -> None:
    chain.add("run-g", target=0.2, rounds=3)
    submit_run(chain.hq, "run-g")
    with open_rounds(chain.hq) as rounds:
        wait_for(lambda: count(rounds, "run-g", "round.started") == 2, 60)
    server_app = next(p for p in descendants(chain.superlink) if "flwr-serverapp" in cmdline(p))
    server_app.kill()
    outcomes = launch_run(chain.hq, "run-g", timeout_s=100)
    states = [outcome.state for outcome in outcomes]
    assert states == [RoundState.CLOSED, RoundState.FAILED, RoundState.CLOSED]
    with open_rounds(chain.hq) as rounds:
        after = rounds.service.adapter_before("run-g", 4)
    assert all(np.allclose(value, 2.0) for value in after.values())
    assert {state for key, state in chain.states("hq", "run-g").items() if key[1] == 2} == {
        "aborted"
    }


def test_two_runs_on_the_same_remainder_exactly_one_passes(chain: Chain) -> None:
    chain.add("run-d1", target=1.5, rounds=1)
    chain.add("run-d2", target=1.5, rounds=1)
    submit_run(chain.hq, "run-d1")
    submit_run(chain.hq, "run-d2")
    with open_rounds(chain.hq) as rounds:
        for run_id in ("run-d1", "run-d2"):
            wait_for(lambda r=run_id: ended(rounds, r), 90)
        found = sorted(rounds.runs.states(r)[1].value for r in ("run-d1", "run-d2"))
    assert found == ["closed", "refused"]


def test_store_over_its_own_budget_stops_the_run_and_nothing_is_spent(chain: Chain) -> None:
    home = chain.root / "berlin"
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    with Ledger.open(home / "ledger.db", owner="berlin", key=key, clock=SystemClock()) as ledger:
        left = ledger.budget("berlin-customers", POLICY).left
        other = make_plan("elsewhere", {"berlin": "berlin-customers"}, target=0.98 * left)
        ledger.reserve(other, store_ids=["berlin"], policy=POLICY)
    chain.add("run-c", target=0.5)
    with pytest.raises(Refused, match="refused"):
        launch_run(chain.hq, "run-c", timeout_s=100)
    with open_rounds(chain.hq) as rounds:
        assert set(rounds.runs.states("run-c").values()) == {RoundState.REFUSED}
        events = rounds.runs.events("run-c")
    assert ("store.refused", "berlin", "budget_refused") in {
        (e["event"], e.get("store"), e.get("code")) for e in events
    }
    assert set(chain.states("hq", "run-c").values()) == {"cancelled"}
    assert set(chain.states("kyoto", "run-c").values()) == {"cancelled"}
    assert chain.states("berlin", "run-c") == {}


def dispatched(chain: Chain, owner: str, run_id: str) -> set[tuple[str, int]]:
    return {key for key, state in chain.states(owner, run_id).items() if state == "dispatched"}


def count(rounds: Rounds, run_id: str, event: str) -> int:
    return sum(found["event"] == event for found in rounds.runs.events(run_id))


def ended(rounds: Rounds, run_id: str) -> bool:
    return count(rounds, run_id, "run.finished") + count(rounds, run_id, "run.stopped") > 0


def descendants(child: Child) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def cmdline(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
