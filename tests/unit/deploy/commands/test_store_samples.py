"""`store desensitize` and `store samples stats` as a shell sees them."""

import io
import json
from pathlib import Path

import pytest

from deploy.cli import run


class Stdin(io.TextIOWrapper):
    """Standard input that holds given bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


def test_lines_are_masked_and_a_bad_one_is_named_without_stopping_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps({"text": "Hi, I'm Maria Lopez, call +44 7911 123456"}),
        "not json",
        json.dumps({"text": "我叫张伟", "lang": "zh"}),
        json.dumps({"text": 3}),
        "",
        json.dumps({"text": "hello", "language": "en"}),
    ]
    monkeypatch.setattr("sys.stdin", Stdin("\n".join(lines).encode()))
    code = run(["store", "desensitize", "--home", str(tmp_path)])
    out, err = capsys.readouterr()
    first, second = (json.loads(line) for line in out.splitlines())
    assert code == 3
    assert [s["label"] for s in first["spans"]] == ["PERSON", "PHONE"]
    assert first["spans"][0]["start"] == 8
    assert "Maria" not in first["text"]
    assert second["spans"] == [{"start": 2, "end": 4, "label": "PERSON"}]
    assert [line.split(":")[0] for line in err.splitlines()] == ["line 2", "line 4", "line 6"]
    assert "Maria" not in err
    assert (tmp_path / "keys" / "customers.key").stat().st_mode & 0o077 == 0


def test_good_lines_end_well_and_the_same_home_gives_the_same_surrogates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = []
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", Stdin(b'{"text": "order #W4923227", "lang": "en"}\n'))
        assert run(["store", "desensitize", "--home", str(tmp_path)]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]
    assert "W4923227" not in outs[0]


def test_stats_counts_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "storeweave.toml").write_text('[store]\nid = "leeds"\n', encoding="utf-8")
    assert run(["store", "samples", "stats", "--json", "--home", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 0
