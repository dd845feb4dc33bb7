"""``storeweave bench``: every measurement runs and names machine, size, figure and yardstick."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy.cli import run
from shared.exit_codes import ExitCode
from tests.tiny_model import make_tiny_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STOREWEAVE_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(before)


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run a measurement; check what all have in common."""
    assert run(["bench", *words, "--json"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    found: dict[str, Any] = json.loads(lines[0])
    assert set(found) == {"bench", "machine", "size", "figure", "yardstick"}
    assert found["bench"] == words[0]
    assert {"cpu", "cores", "memory_gb", "system", "python"} <= set(found["machine"])
    assert found["machine"]["cores"] >= 1
    assert set(found["figure"]) & set(found["yardstick"])
    for part in ("figure", "yardstick"):
        assert all(value > 0 for value in found[part].values())
    return found


def test_ledger(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "ledger", "--rounds", "2")
    assert set(found["figure"]) == {"appends_per_s", "verified_entries_per_s"}
    assert set(found["yardstick"]) == set(found["figure"])
    # Genesis, policy, reserve, and the four that were timed.
    assert (found["size"]["appends"], found["size"]["entries"]) == (4, 7)
    assert list((home / "home").glob("bench-*")) == []


def test_aggregate(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "aggregate", "--updates", "2", "--floats", "10", "--repeats", "1")
    assert set(found["figure"]) == {"seconds", "gb_per_s"}
    assert set(found["yardstick"]) == {"seconds", "gb_per_s", "copy_seconds", "copy_gb_per_s"}
    assert found["size"]["bytes"] == 80
    assert "numpy" in found["machine"]


def test_desensitize_on_the_synthetic_world(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(capsys, "desensitize", "--texts", "12", "--repeats", "1")
    assert set(found["figure"]) == {"texts_per_s", "mb_per_s", "first_pass_s"}
    assert set(found["yardstick"]) == {"texts_per_s", "mb_per_s"}
    assert found["size"]["texts"] == 12
    assert found["size"]["source"] == "synthetic"
    assert len(found["size"]["languages"]) > 1


def test_desensitize_on_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "conversations.jsonl"
    row = {
        "conversation_id": "c1",
        "customer_id": "p1",
        "lang": "en",
        "messages": [{"role": "user", "content": "My mail is ann.lee@example.org, please."}],
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    found = measured(capsys, "desensitize", "--data", str(path), "--repeats", "1")
    assert (found["size"]["texts"], found["size"]["source"]) == (1, "file")
    assert found["size"]["masked_spans"] == 1


def test_training(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREWEAVE_MODEL__BASE", str(make_tiny_model(home / "base")))
    monkeypatch.setenv("STOREWEAVE_MODEL__UPPER_LAYERS", "2")
    monkeypatch.setenv("STOREWEAVE_PERFORMANCE__THREADS", "1")
    monkeypatch.setenv("STOREWEAVE_PERFORMANCE__DEVICE", "cpu")
    found = measured(capsys, "training", "--customers", "3", "--steps", "1")
    assert set(found["figure"]) == {"seconds_per_step", "seconds_per_step_per_customer"}
    assert set(found["yardstick"]) == set(found["figure"])
    assert (found["size"]["customers"], found["size"]["upper_layers"]) == (3, 2)
    assert found["size"]["texts"] == 3
    assert {"torch", "device", "threads"} <= set(found["machine"])


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "aggregate", "--floats", "10"]) == ExitCode.OK
    assert "yardstick" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["ledger", "--rounds", "0"],
        ["aggregate", "--floats", "0"],
        ["desensitize", "--texts", "0"],
        ["desensitize", "--data", "MISSING"],
    ],
)
def test_a_wrong_size_or_file_is_named(
    home: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(home / "missing") if word == "MISSING" else word for word in words]
    assert run(["bench", *command]) == ExitCode.BAD_INPUT
    assert (words[1] if "MISSING" not in words else "missing") in capsys.readouterr().err
