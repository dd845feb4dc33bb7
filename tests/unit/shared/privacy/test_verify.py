"""The verifier finds what a thief, a vandal or a dishonest owner did, and names the entry."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.keys import SigningKey
from shared.privacy.entries import Entry, Kind
from shared.privacy.verify import Report, noted_heads, verify_file
from tests.unit.shared.privacy.made import (
    POLICY,
    only,
    open_ledger,
    plan,
    rewrite,
    signed_head,
    used_ledger,
)

KEY = SigningKey.generate()


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return used_ledger(tmp_path_factory.mktemp("used"), KEY)


@pytest.fixture(scope="module")
def export(entries: Sequence[Entry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewrite(entries, KEY, tmp_path_factory.mktemp("export") / "ledger.jsonl")


def rules(report: Report) -> set[str]:
    return {violation.rule for violation in report.violations}


def test_an_honest_ledger_verifies(export: Path) -> None:
    report = verify_file(export, trusted={"hq": KEY.public_hex})
    assert report.ok, report.violations
    assert report.key_trusted
    assert report.entries == 8
    first = report.as_dict()["cohorts"][0]
    assert (first["unit"], first["adjacency"]) == ("customer", "add-or-remove-one")
    assert [row["span"] for row in first["spent"]] == ["2026Q4", "2026"]
    assert 0 < first["spent"][0]["pld"] < first["spent"][0]["rdp"]


def test_the_ledgers_own_export_is_the_same_file(tmp_path: Path) -> None:
    found = used_ledger(tmp_path, KEY)
    with open_ledger(tmp_path / "used.db", owner="hq", key=KEY) as ledger:
        ledger.export(tmp_path / "out.jsonl")
    again = rewrite(found, KEY, tmp_path / "again.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == again.read_bytes()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipping_any_byte_is_found(export: Path, tmp_path: Path, data: st.DataObject) -> None:
    honest = bytearray(export.read_bytes())
    place = data.draw(st.integers(0, len(honest) - 1))
    honest[place] ^= data.draw(st.integers(1, 255))
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(honest)
    assert not verify_file(bad).ok


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_cutting_the_file_anywhere_is_found(
    export: Path, tmp_path: Path, data: st.DataObject
) -> None:
    honest = export.read_bytes()
    bad = tmp_path / "cut.jsonl"
    bad.write_bytes(honest[: data.draw(st.integers(0, len(honest) - 1))])
    assert not verify_file(bad).ok


@pytest.mark.parametrize("line", range(1, 9))
def test_a_line_taken_out_is_a_gap(export: Path, tmp_path: Path, line: int) -> None:
    lines = export.read_bytes().splitlines(keepends=True)
    bad = tmp_path / "gap.jsonl"
    bad.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    assert rules(verify_file(bad)) & {"gap", "genesis", "head"}


def test_a_strangers_key_is_found(entries: Sequence[Entry], tmp_path: Path) -> None:
    stranger = rewrite(entries, SigningKey.generate(), tmp_path / "s.jsonl")
    assert verify_file(stranger).ok
    assert not verify_file(stranger).key_trusted
    assert rules(verify_file(stranger, trusted={"hq": KEY.public_hex})) == {"stranger"}
    assert rules(verify_file(stranger, trusted={"other": KEY.public_hex})) == {"stranger"}


def test_an_entry_signed_with_another_key_is_found(
    entries: Sequence[Entry], export: Path, tmp_path: Path
) -> None:
    other = rewrite(entries, SigningKey.generate(), tmp_path / "o.jsonl")
    ours, theirs = (p.read_bytes().splitlines(keepends=True) for p in (export, other))
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(b"".join([*ours[:4], theirs[4], *ours[5:]]))
    report = verify_file(mixed)
    assert {"key", "chain"} <= rules(report)
    assert 4 in {violation.entry for violation in report.violations}


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for name in path[:-1]:
            body = body[name]
        body[path[-1]] = value

    return change


def _both_sigma(value: float) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        body["mechanism"]["sigma"] = body["event"]["noise_multiplier"] = value

    return change


@pytest.mark.parametrize(
    ("rule", "kind", "change"),
    [
        ("parameter", Kind.RESERVE, _set("mechanism", "sigma", value=9.0)),
        ("epsilon", Kind.RESERVE, _both_sigma(9.0)),
        ("cap", Kind.RESERVE, _both_sigma(4.0)),
        ("parameter", Kind.RESERVE, _both_sigma(0.5)),
        ("parameter", Kind.RESERVE, _set("mechanism", "clip", value=2)),
        ("parameter", Kind.RESERVE, _set("event", "steps", value=1)),
        ("parameter", Kind.RESERVE, _set("public_customers", value=200)),
        ("parameter", Kind.RESERVE, _set("delta", value=1e-3)),
        ("parameter", Kind.RESERVE, _set("unit", value="record")),
        ("parameter", Kind.RESERVE, _set("stores_per_customer", value=2)),
        ("epsilon", Kind.RESERVE, _set("epsilon", "quarter", "pld", value=1.0)),
        ("epsilon", Kind.RESERVE, _set("epsilon", "year", "rdp", value=1.0)),
        ("epsilon", Kind.RESERVE, _set("epsilon", "run", "rdp", value=9.0)),
        ("epsilon", Kind.RESERVE, _set("epsilon", "delta", value=1e-5)),
        ("policy", Kind.RESERVE, _set("digests", "privacy", value="0" * 64)),
        ("policy", Kind.POLICY, _set("privacy", "quarter_epsilon", value=9)),
        ("malformed", Kind.RESERVE, _set("rounds", value=7)),
        ("malformed", Kind.RESERVE, _set("mechanism", "sampling", value="shuffled")),
        ("parameter", Kind.COMMIT, _set("steps_executed", value=99)),
        ("parameter", Kind.COMMIT, _set("adapter_out", value="")),
        ("unreserved", Kind.COMMIT, _set("reservation_id", value="rsv-0")),
        ("counterpart", Kind.HEAD, _set("hash", value="d" * 64)),
    ],
)
def test_what_a_dishonest_owner_signs_is_found(
    entries: Sequence[Entry],
    tmp_path: Path,
    rule: str,
    kind: Kind,
    change: Callable[[dict[str, Any]], None],
) -> None:
    target = only(entries, kind).seq
    bad = rewrite(
        entries,
        KEY,
        tmp_path / "bad.jsonl",
        lambda seq, body: change(body) if seq == target else None,
    )
    report = verify_file(bad)
    assert (target, rule) in {(v.entry, v.rule) for v in report.violations}, report.violations


def test_illegal_moves_are_found(entries: Sequence[Entry], tmp_path: Path) -> None:
    genesis, policy, first, second, dispatch, commit, cancel, _ = entries
    held = [genesis, policy, first, second]
    orders = {
        "move": [
            [*held, commit],
            [*held, dispatch, commit, commit],
            [*held, cancel, cancel],
        ],
        "unreserved": [[genesis, policy, dispatch], [genesis, commit]],
        "double": [[*held, first]],
        "policy": [[genesis, first]],
    }
    for rule, cases in orders.items():
        for case in cases:
            report = verify_file(rewrite(case, KEY, tmp_path / "bad.jsonl"))
            assert (len(case), rule) in {(v.entry, v.rule) for v in report.violations}


def test_cancel_after_dispatch_is_found(entries: Sequence[Entry], tmp_path: Path) -> None:
    genesis, policy, first, _, dispatch, _, cancel, _ = entries
    spent = dispatch.body["reservation_id"]
    bad = rewrite(
        [genesis, policy, first, dispatch, cancel],
        KEY,
        tmp_path / "bad.jsonl",
        lambda seq, body: body.update(reservation_id=spent) if seq == 5 else None,
    )
    assert (5, "move") in {(v.entry, v.rule) for v in verify_file(bad).violations}


def test_spending_over_several_runs_is_composed(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l.db", owner="hq", key=KEY) as ledger:
        held = ledger.reserve(plan("run-1"), store_ids=("s1",), policy=POLICY)
        for one in held:
            ledger.cancel(one.reservation_id, reason="no")
        ledger.reserve(plan("run-2"), store_ids=("s1",), policy=POLICY)
        found = list(ledger.entries())
    kept = [entry for entry in found if entry.kind != Kind.CANCEL]
    report = verify_file(rewrite(kept, KEY, tmp_path / "bad.jsonl"))
    assert {"cap", "epsilon"} <= rules(report)
    assert {violation.entry for violation in report.violations} == {4}


def test_a_fork_shows_against_the_counterparts_ledger(
    entries: Sequence[Entry], tmp_path: Path
) -> None:
    store_key = SigningKey.generate()
    with open_ledger(tmp_path / "store.db", key=store_key) as store:
        store.note_head(signed_head(KEY, "hq", entries[4].seq, entries[4].hash))
        store.export(tmp_path / "store.jsonl")
    noted = noted_heads(tmp_path / "store.jsonl")
    honest = rewrite(entries, KEY, tmp_path / "honest.jsonl")
    assert verify_file(honest, noted=noted).ok
    rolled_back = rewrite(entries[:4], KEY, tmp_path / "back.jsonl")
    assert rules(verify_file(rolled_back, noted=noted)) == {"fork"}
    forked = rewrite(
        entries,
        KEY,
        tmp_path / "fork.jsonl",
        lambda seq, body: body.update(federation="x") if seq == 3 else None,
    )
    assert rules(verify_file(forked, noted=noted)) == {"fork"}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[" * 100_000, b"\xff\xfe\n", b'{"head":{}}\n' * 3]
)
def test_rubbish_is_not_verified_and_not_a_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(content)
    assert not verify_file(path).ok


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        verify_file(tmp_path / "none")
