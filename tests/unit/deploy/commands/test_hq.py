"""``storeweave hq`` on a home of its own, with a tiny model and no server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.wiring_rounds import open_rounds
from deploy import cli, launch, release
from deploy.cli_context import Context
from deploy.hq_home import opened_hq
from shared.config import load_settings
from shared.errors import BadInput, NotVerified, Unavailable
from shared.exit_codes import ExitCode
from shared.rounds import RoundOutcome, RoundState
from tests.tiny_model import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def home(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    monkeypatch.setenv("STOREWEAVE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "storeweave.toml").write_text(
        f'[model]\nbase = "{model}"\nrank = 2\nupper_layers = 2\n'
        "[rounds]\nrounds = 1\nsteps = 4\n[hq]\nport = 0\n"
    )
    return tmp_path


def enrolment(folder: Path, **changes: object) -> str:
    path = folder / "enrolment.json"
    facts = {
        "store_id": "leeds",
        "name": "Leeds",
        "lang": "en",
        "cohort": "leeds-2026",
        "ledger_key": "ab" * 32,
        "node_key": "ecdsa-sha2-nistp256 AAAA",
        "public_customers": 2000,
        **changes,
    }
    path.write_text(json.dumps(facts))
    return str(path)


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run a command that must succeed and return its JSON."""
    capsys.readouterr()
    assert cli.run(["hq", *words, "--json"]) == ExitCode.OK, capsys.readouterr()
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def planned(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert answered(capsys, "enrol", enrolment(home))["admitted"] is False
    return str(answered(capsys, "round", "plan", "--epsilon", "1")["run_id"])


def test_a_plan_is_priced_kept_and_costs_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = planned(home, capsys)
    shown = answered(capsys, "round", "show", run_id)
    assert shown["state"] == "planned"
    assert 0.9 < shown["stores"]["leeds"] <= 1.0
    assert [run["run_id"] for run in answered(capsys, "round", "list")["runs"]] == [run_id]
    assert answered(capsys, "budget", "show")["budget"][0]["quarter_spent"] == 0.0
    assert cli.run(["hq", "round", "plan"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "add or remove one" in told
    assert "nothing is spent yet" in told


def test_wrong_input_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["hq", "enrol", str(home / "none.json")]) == ExitCode.BAD_INPUT
    assert cli.run(["hq", "enrol", enrolment(home, extra="x")]) == ExitCode.BAD_INPUT
    assert "'extra'" in capsys.readouterr().err
    assert cli.run(["hq", "round", "plan"]) == ExitCode.REFUSED
    assert cli.run(["hq", "round", "show", "run-none"]) == ExitCode.BAD_INPUT
    assert cli.run(["hq", "release", "show", "rel-none"]) == ExitCode.BAD_INPUT
    assert cli.run(["hq", "release", "rollback"]) == ExitCode.REFUSED
    assert answered(capsys, "release", "list") == {"releases": []}


def test_the_home_of_a_store_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "storeweave.toml").write_text('[store]\nid = "leeds"\n')
    assert cli.run(["hq", "round", "list"]) == ExitCode.BAD_CONFIG
    assert "home of store 'leeds'" in capsys.readouterr().err
    assert not (home / "hq.db").exists()


def test_serving_the_network_needs_a_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOREWEAVE_HQ__HOST", "0.0.0.0")  # noqa: S104 - refused
    assert cli.run(["hq", "serve", "--no-superlink"]) == ExitCode.BAD_CONFIG


def test_an_inference_service_elsewhere_needs_tls(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOREWEAVE_HQ__INFERENCE", '["192.0.2.7:8070"]')
    assert cli.run(["hq", "release", "list"]) == ExitCode.BAD_CONFIG
    assert "needs TLS" in capsys.readouterr().err


def close_round(home: Path, run_id: str, *, adapter: bytes | None = None) -> None:
    with open_rounds(home) as rounds:
        path = home / "runs" / run_id / "round-1.safetensors"
        for state in (RoundState.RESERVED, RoundState.DISPATCHED):
            rounds.runs.move(run_id, 1, state)
        outcome = RoundOutcome(
            round_id=f"{run_id}.r1",
            state=RoundState.CLOSED,
            contributed=("leeds",),
            refused=(),
            adapter_digest="0" * 64,
            bytes_up={"leeds": 100},
            bytes_down={"leeds": 100},
            seconds={"total": 1.0},
        )
        rounds.runs.close(run_id, 1, outcome, path)


def test_a_run_is_followed_to_its_end(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = planned(home, capsys)

    def run(hq_home: Path, wanted: str, *, on_event: Callable[[Mapping[str, Any]], None]) -> None:
        on_event({"seq": 1, "time": "now", "event": "round.started", "stores": ["leeds"]})
        close_round(hq_home, wanted)

    monkeypatch.setattr(launch, "launch_run", run)
    done = answered(capsys, "round", "run", run_id)
    assert done["state"] == "closed"
    assert done["outcomes"][0]["contributed"] == ["leeds"]
    assert cli.run(["hq", "round", "run", run_id]) == ExitCode.REFUSED
    assert "no round is left" in capsys.readouterr().err


def test_a_run_without_a_federation_says_what_is_missing(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = planned(home, capsys)

    def down(*_: object, **__: object) -> None:
        raise Unavailable("no SuperLink", remedy="start `storeweave hq serve`")

    monkeypatch.setattr(launch, "launch_run", down)
    assert cli.run(["hq", "round", "run", run_id]) == ExitCode.UNAVAILABLE
    assert answered(capsys, "round", "show", run_id)["state"] == "planned"


def test_a_release_needs_a_closed_round_gate_sets_and_the_adapter(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = planned(home, capsys)
    assert cli.run(["hq", "release", "build", run_id]) == ExitCode.REFUSED
    close_round(home, run_id)
    assert cli.run(["hq", "release", "build", run_id]) == ExitCode.BAD_INPUT
    assert "gate set conversations.jsonl is missing" in capsys.readouterr().err
    context = Context(settings=load_settings(home=home), home=home)
    with opened_hq(context) as hq:
        with pytest.raises(BadInput, match="gate set"):
            release.build_for_run(context, hq, run_id, lambda _event, _facts: None)
        with pytest.raises(NotVerified, match="adapter is missing"):
            release.candidate_of(hq.operations.run(run_id), release.RunFiles(home / "runs"))


@pytest.mark.integration
def test_serve_answers_and_stops_when_told(home: Path) -> None:
    command = [sys.executable, "-m", "deploy.cli", "hq", "serve", "--no-superlink"]
    log = home / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=os.environ.copy(), stdout=stream, stderr=stream)
    try:
        end = time.monotonic() + 60
        while not (home / "hq.port").is_file():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        import httpx

        url = f"http://127.0.0.1:{(home / 'hq.port').read_text().strip()}"
        assert httpx.get(f"{url}/health/ready").json() == {"status": "ready"}
        assert httpx.get(f"{url}/v1/runs").json() == {"runs": []}
        second = subprocess.run(command, env=os.environ.copy(), capture_output=True, check=False)
        assert second.returncode == ExitCode.UNAVAILABLE
        assert b"another process serves this home" in second.stderr
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert not (home / "hq.port").exists()
    finally:
        process.kill()
        process.wait()
