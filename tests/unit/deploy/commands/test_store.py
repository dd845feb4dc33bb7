"""``storeweave store …`` as a user types it, in this process."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import run
from shared.exit_codes import ExitCode
from tests.shop import CATALOG, INTENTS, KNOWLEDGE, write_rows

Command = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.setitem(os.environ, "STOREWEAVE_HOME", str(tmp_path / "home"))

    def call(*words: str, given: str = "") -> tuple[int, list[Any], str]:
        stdin = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stdin)
        code = run(["store", *words, "--json"])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return call


@pytest.fixture
def filled(command: Command, tmp_path: Path) -> Command:
    assert command("init", "--id", "shop-1")[0] == 0
    for kind, rows in (("catalog", CATALOG), ("knowledge", KNOWLEDGE), ("intents", INTENTS)):
        code, out, _ = command("import", kind, str(write_rows(tmp_path / kind, rows)))
        assert (code, out[-1]["rows"]) == (0, len(rows))
    return command


def test_init_is_repeatable_and_keeps_the_first_id(command: Command, tmp_path: Path) -> None:
    assert command("init", "--id", "shop-1", "--lang", "zh")[1][-1]["new"] is True
    keys = (tmp_path / "home" / "keys" / "customers.key").read_bytes()
    assert command("init", "--id", "shop-1")[1][-1]["new"] is False
    assert (tmp_path / "home" / "keys" / "customers.key").read_bytes() == keys
    assert command("init", "--id", "other")[0] == ExitCode.BAD_CONFIG
    assert command("init", "--id", "No Good")[0] == ExitCode.BAD_INPUT


def test_without_a_store_the_commands_say_what_to_do(command: Command) -> None:
    code, (answer,), _ = command("ask", "hello", "--no-model")
    assert code == ExitCode.BAD_CONFIG
    assert "store init" in answer["error"]["remedy"]


def test_ask(filled: Command) -> None:
    code, (reply,), _ = filled("ask", "极光机械键盘多少钱", "--no-model")
    assert code == 0
    assert reply["response"]["answer"] == "极光机械键盘的价格是599.00 CNY。"
    assert reply["release"] == "rules"


def test_understand(filled: Command) -> None:
    lines = '{"text": "How much is the Aurora?"}\n\n{"text": "退货 3 件", "lang": "zh"}\n'
    code, out, _ = filled("understand", "--no-model", given=lines)
    assert code == 0
    assert out[0] == {
        "lang": "en",
        "intent": "price",
        "confidence": 0.0,
        "entities": [{"start": 16, "end": 22, "label": "product", "value": "Aurora"}],
    }
    assert out[1]["entities"] == [{"start": 3, "end": 4, "label": "number", "value": "3"}]


def test_search(filled: Command) -> None:
    lines = '{"text": "退货", "lang": "zh", "k": 1}\n{"text": "delivery"}\n'
    code, out, _ = filled("search", given=lines)
    assert code == 0
    assert [[hit["id"] for hit in line["hits"]] for line in out] == [["returns-zh"], ["ship-en"]]
    assert out[0]["hits"][0]["lang"] == "zh"


def test_wrong_lines_are_named_and_the_others_answered(filled: Command) -> None:
    lines = '{"text": "退货"}\n{"secret-word": 1}\nnonsense\n{"text": "x", "k": 0}\n'
    code, out, error = filled("search", given=lines)
    assert code == ExitCode.BAD_INPUT
    assert len(out) == 1
    assert [line.split(":")[0] for line in error.splitlines()] == ["line 2", "line 3", "line 4"]


def test_a_bad_file_is_named(filled: Command, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "bad.jsonl", [{"nope": 1}])
    code, (answer,), _ = filled("import", "catalog", str(path))
    assert code == ExitCode.BAD_INPUT
    assert answer["error"]["where"].endswith("bad.jsonl:1")
    assert filled("import", "catalog", str(tmp_path / "absent"))[0] == ExitCode.BAD_INPUT


def test_doctor(filled: Command, command: Command, tmp_path: Path) -> None:
    code, (found,), _ = filled("doctor")
    assert (code, found["healthy"]) == (0, True)
    (tmp_path / "home" / "knowledge.db").unlink()
    code, (found,), _ = filled("doctor")
    assert code == ExitCode.BAD_CONFIG
    assert [check["check"] for check in found["checks"] if not check["ok"]] == ["knowledge"]


def test_serving_beyond_this_machine_needs_a_key(
    filled: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "STOREWEAVE_STORE__HOST", "0.0.0.0")  # noqa: S104
    code, (answer,), _ = filled("serve", "--no-model")
    assert code == ExitCode.BAD_CONFIG
    assert "api_key" in answer["error"]["remedy"]
