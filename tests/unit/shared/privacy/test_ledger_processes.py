"""The ledger between processes: a kill at any moment, and two who want the same remainder."""

import multiprocessing
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from shared.errors import BudgetRefused
from shared.keys import SigningKey
from shared.privacy.verify import verify_file
from tests.unit.shared.privacy.made import POLICY, open_ledger, plan

SPAWN = multiprocessing.get_context("spawn")


def write_until_killed(path: Path, key_path: Path) -> None:
    """Reserve and give back, for ever."""
    with open_ledger(path, key=SigningKey.load_or_create(key_path)) as ledger:
        for number in range(10**6):
            held = ledger.reserve(plan(f"run-{number}"), store_ids=("s1",), policy=POLICY)
            for one in held:
                ledger.cancel(one.reservation_id, reason="again")


def try_to_reserve(path: Path, key_path: Path, run_id: str, barrier: Barrier) -> None:
    """Leave 0 where the reservation passed, 5 where the budget refused it."""
    with open_ledger(path, key=SigningKey.load_or_create(key_path)) as ledger:
        barrier.wait(timeout=60)
        try:
            ledger.reserve(plan(run_id), store_ids=("s1",), policy=POLICY)
        except BudgetRefused:
            raise SystemExit(5) from None


def test_a_killed_writer_leaves_a_ledger_that_verifies(tmp_path: Path) -> None:
    path, key_path = tmp_path / "ledger.db", tmp_path / "ledger.key"
    key = SigningKey.load_or_create(key_path)
    with open_ledger(path, key=key) as ledger:
        writer = SPAWN.Process(target=write_until_killed, args=(path, key_path))
        writer.start()
        deadline = time.monotonic() + 60
        while ledger.head().length < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        assert ledger.head().length >= 40
    with open_ledger(path, key=key) as again:
        before = again.head().length
        open_rounds = [r for r in again.reservations() if r.state == "reserved"]
        for held in open_rounds:
            again.cancel(held.reservation_id, reason="killed")
        again.reserve(plan("after"), store_ids=("s1",), policy=POLICY)
        assert again.head().length == before + len(open_rounds) + 1
        again.export(tmp_path / "out.jsonl")
    report = verify_file(tmp_path / "out.jsonl", trusted={"s1": key.public_hex})
    assert report.ok, report.violations


def test_two_processes_never_both_pass_on_the_same_remainder(tmp_path: Path) -> None:
    path, key_path = tmp_path / "ledger.db", tmp_path / "ledger.key"
    key = SigningKey.load_or_create(key_path)
    barrier = SPAWN.Barrier(2)
    pair = [
        SPAWN.Process(target=try_to_reserve, args=(path, key_path, run_id, barrier))
        for run_id in ("run-a", "run-b")
    ]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
    assert sorted(process.exitcode or 0 for process in pair) == [0, 5]
    with open_ledger(path, key=key) as ledger:
        assert len({held.run_id for held in ledger.reservations()}) == 1
        assert ledger.budget("s1-2026", POLICY).quarter_spent <= POLICY.quarter_epsilon
