"""`store worker` as a shell sees it: everything once, whatever stops it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.commands import store_worker
from deploy.store_home import make_home
from deploy.world.generate import generate
from shared.config import load_settings
from store_node.adapters.imports import ImportKind
from store_node.adapters.samples import SqlSamples
from store_node.ports import Sample
from store_node.wiring import open_samples, opened


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    generate(out, seed=3, customers=40, stores=("leeds",))
    return out / "leeds"


@pytest.fixture
def home(tmp_path: Path, world: Path) -> Path:
    make_home(tmp_path, store_id="leeds", name="Fell & Beck Outdoor", lang="en")
    with opened(load_settings(home=tmp_path), tmp_path) as data:
        for kind in ("catalog", "customers", "conversations", "intents"):
            data.importer.read(ImportKind(kind), world / f"{kind}.jsonl")
    return tmp_path


def counts(home: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert run(["store", "worker", "--once", "--json", "--home", str(home)]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def kept(home: Path) -> set[str]:
    with open_samples(load_settings(home=home), home) as samples:
        return {sample.sample_id for sample in samples.all()}


def test_imported_conversations_are_worked_off_at_once_and_only_once(
    home: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = counts(home, capsys)
    lines = (world / "conversations.jsonl").read_text("utf-8").splitlines()
    assert first["conversations"] == len(lines)
    assert first["intents"] == sum(
        "customer_id" in line for line in (world / "intents.jsonl").read_text("utf-8").splitlines()
    )
    assert set(first) == {"conversations", "intents", "samples", "dropped"}
    assert first["samples"] == len(kept(home)) > 0
    again = counts(home, capsys)
    assert again["conversations"] == again["samples"] == 0


def test_people_are_read_without_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "worker", "--once", "--home", str(home)]) == 0
    out = capsys.readouterr().out
    assert "new samples" in out
    assert "no_consent" in out


def test_ctrl_c_ends_after_a_batch_and_the_rest_comes_exactly_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    add = SqlSamples.add
    calls = 0

    def add_then_interrupt(self: SqlSamples, samples: Sequence[Sample]) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return add(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(store_worker, "_BATCH", 10)
        patch.setattr(SqlSamples, "add", add_then_interrupt)
        assert run(["store", "worker", "--once", "--json", "--home", str(home)]) == 130
    assert calls == 2
    assert signal.getsignal(signal.SIGINT) is before
    capsys.readouterr()
    some = kept(home)
    rest = counts(home, capsys)
    assert rest["conversations"] == 55 - 20
    assert some < kept(home)
    assert rest["samples"] == len(kept(home)) - len(some)


def test_it_waits_for_more_until_it_is_told_to_end(home: Path) -> None:
    command = [sys.executable, "-m", "deploy.cli", "store", "worker", "--json"]
    with subprocess.Popen(
        [*command, "--home", str(home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            end = time.monotonic() + 30
            seen = -1
            while not 0 < len(found := kept(home)) == seen:
                assert time.monotonic() < end, "the worker did nothing"
                assert process.poll() is None
                seen = len(found)
                time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert json.loads(out)["samples"] == len(kept(home))
