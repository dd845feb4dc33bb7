"""``storeweave audit``: export what this home holds, verify with nothing but the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import run
from shared.exit_codes import ExitCode
from shared.keys import SigningKey
from tests.unit.shared.privacy.made import POLICY, open_ledger, plan


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    key = SigningKey.load_or_create(tmp_path / "keys" / "ledger.key")
    with open_ledger(tmp_path / "ledger.db", owner="hq", key=key) as ledger:
        ledger.reserve(plan(), store_ids=("s1",), policy=POLICY)
    return tmp_path


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_export_then_verify(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = home / "out.jsonl"
    assert run(["audit", "export", "--of", "hq", str(out), "--json"]) == ExitCode.OK
    facts = last_json(capsys)
    assert run(["audit", "verify", str(out), "--key", f"hq={facts['key']}", "--json"]) == 0
    report = last_json(capsys)
    assert report["ok"]
    assert report["key_trusted"]
    assert report["head"] == facts["head"]
    assert run(["audit", "verify", str(out)]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "nothing is wrong" in text
    assert "add-or-remove-one" in text


def test_a_changed_file_ends_with_the_documented_code(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = home / "out.jsonl"
    run(["audit", "export", str(out)])
    out.write_bytes(out.read_bytes().replace(b'"sigma":7', b'"sigma":9'))
    capsys.readouterr()
    assert run(["audit", "verify", str(out), "--json"]) == ExitCode.NOT_VERIFIED
    report = last_json(capsys)
    assert not report["ok"]
    assert {v["rule"] for v in report["violations"]} >= {"hash"}
    assert run(["audit", "verify", str(out)]) == ExitCode.NOT_VERIFIED
    assert "violations" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["export", "--of", "elsewhere", "OUT"],
        ["verify", "MISSING"],
        ["verify", "OUT", "--key", "nonsense"],
    ],
)
def test_a_wrong_word_is_named(home: Path, words: list[str]) -> None:
    paths = {"OUT": str(home / "out.jsonl"), "MISSING": str(home / "missing")}
    command = ["audit", *(paths.get(word, word) for word in words)]
    assert run(command) == ExitCode.BAD_INPUT


def test_a_home_without_a_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    assert run(["audit", "export", str(tmp_path / "out")]) == ExitCode.BAD_INPUT
    assert "no ledger" in capsys.readouterr().err
