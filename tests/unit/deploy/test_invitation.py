"""A store and headquarters come to know each other by two files, and by nothing else."""

import json
from pathlib import Path

import pytest

from deploy import cli
from shared.config import load_settings
from shared.exit_codes import ExitCode
from store_node.wiring_federation import read_membership


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    hq, store = tmp_path / "hq", tmp_path / "store"
    for home, text in (
        (hq, '[hq]\nsuperlink = "hq.example:9092"\n'),
        (store, '[store]\nid = "leeds"\nname = "Leeds"\n'),
    ):
        home.mkdir()
        (home / "storeweave.toml").write_text(text)
    return hq, store


def run(home: Path, *words: str) -> int:
    return cli.run([*words, "--home", str(home)])


def test_a_store_joins_and_is_enrolled(
    homes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    hq, store = homes
    letter, reply = str(tmp_path / "invitation.json"), str(tmp_path / "enrolment.json")
    assert run(hq, "hq", "invite", letter) == ExitCode.OK
    assert run(store, "store", "join", letter, "--customers", "2000", "--out", reply) == 0
    assert run(hq, "hq", "enrol", reply) == ExitCode.OK
    member = read_membership(store, load_settings(home=store))
    told = json.loads(Path(letter).read_text())
    assert (member.store_id, member.hq_key) == ("leeds", told["hq_key"])
    assert (store / "ca.crt").read_text() == (hq / "pki" / "ca.crt").read_text()
    for name in ("ledger.key", "node.key"):
        assert (store / "keys" / name).stat().st_mode & 0o077 == 0
    carried = Path(letter).read_text() + Path(reply).read_text()
    assert "PRIVATE" not in carried
    first = json.loads(Path(reply).read_text())
    assert run(store, "store", "join", letter, "--customers", "3000", "--out", reply) == 0
    again = json.loads(Path(reply).read_text())
    assert again == {**first, "public_customers": 3000}


def test_another_hq_is_refused_and_nothing_changes(
    homes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    hq, store = homes
    letter = tmp_path / "invitation.json"
    join = ("store", "join", str(letter), "--customers", "500", "--out", str(tmp_path / "e.json"))
    assert run(hq, "hq", "invite", str(letter)) == ExitCode.OK
    assert run(store, *join) == ExitCode.OK
    before = (store / "hq.json").read_text()
    other = {**json.loads(letter.read_text()), "hq_key": "ab" * 32}
    letter.write_text(json.dumps(other))
    assert run(store, *join) == ExitCode.REFUSED
    assert (store / "hq.json").read_text() == before


def test_what_is_missing_or_wrong_is_said(
    homes: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    hq, store = homes
    letter = tmp_path / "invitation.json"
    join = ("store", "join", str(letter), "--customers", "500")
    assert run(store, *join) == ExitCode.BAD_INPUT
    letter.write_text('{"federation": "x"}')
    assert run(store, *join) == ExitCode.BAD_INPUT
    assert run(store, "hq", "invite", str(letter)) == ExitCode.BAD_CONFIG
    (hq / "storeweave.toml").write_text("")
    assert run(hq, "hq", "invite", str(letter)) == ExitCode.BAD_CONFIG
    assert "[hq] superlink" in capsys.readouterr().err
    assert run(hq, *join) == ExitCode.BAD_CONFIG
