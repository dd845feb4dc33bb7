"""The whole demo in its ``--fast`` form, as a user starts it, on a tiny random model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shared.exit_codes import ExitCode
from shared.privacy.verify import verify_file
from tests.tiny_model import make_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
RAN = {ExitCode.OK, ExitCode.GATE_CLOSED}
"""A random model may learn nothing that the gates let out; the way is the same until there."""


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "STOREWEAVE_HOME": str(tmp_path / "home"),
        "STOREWEAVE_CACHE": str(tmp_path / "cache"),
        "STOREWEAVE_MODEL__BASE": str(make_tiny_model(tmp_path / "base", "gemma3")),
        "STOREWEAVE_MODEL__UPPER_LAYERS": "2",
        "OMP_NUM_THREADS": "1",
    }


def start(env: dict[str, str], *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "deploy.cli", "demo", "--fast", "--json", *options]
    # Whoever started the tests in the background had SIGINT ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def ours(home: Path) -> list[str]:
    """Return the command lines of processes that still work for ``home``."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(home) in line and process.pid != os.getpid():
            found.append(line)
    return found


def test_the_way_from_conversations_to_a_gated_release(tmp_path: Path) -> None:
    env = environment(tmp_path)
    demo = start(env)
    out, progress = demo.communicate(timeout=500)
    assert demo.returncode in RAN, progress[-3000:]
    report = json.loads((tmp_path / "home/demo/report/report.json").read_text("utf-8"))
    assert report["verified"]
    assert len(report["ledgers"]) == 4
    assert {row["lang"] for row in report["quality"]} == {"ar", "en", "zh"}
    for store in report["stores"]:
        assert 0 < store["quarter_spent"] <= store["quarter_budget"]
        assert store["rounds_contributed"] == report["rounds"] == 2
        assert 0 < store["bytes_up"] < report["traffic"]["baseline_total_bytes"]
    assert len(report["questions"]) == 9
    assert all(question["before"] for question in report["questions"])
    assert (tmp_path / "home/demo/report/report.html").stat().st_size > 10_000
    answer = json.loads(out.strip().splitlines()[-1])
    if demo.returncode == ExitCode.OK:
        assert answer["release"]
        assert not answer["failures"]
        assert [step["percent"] for step in report["rollout"]][-1] == 100
    else:
        assert answer["failures"]
    assert ours(tmp_path / "home") == []


def test_ctrl_c_leaves_no_process_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    env = environment(tmp_path)
    demo = start(env)
    home = tmp_path / "home/demo"
    end = time.monotonic() + 300
    # Into the middle of the first round: the reservation is written, training has begun.
    while not list((home / "stores").glob("*/states/base.json")):
        assert demo.poll() is None, demo.communicate()[1][-3000:]
        assert time.monotonic() < end
        time.sleep(0.2)
    demo.send_signal(signal.SIGINT)
    _, progress = demo.communicate(timeout=120)
    assert demo.returncode == ExitCode.INTERRUPTED, progress[-3000:]
    assert "Traceback" not in progress
    assert ours(tmp_path / "home") == []
    for folder in [home / "hq", *sorted((home / "stores").iterdir())]:
        export = tmp_path / f"{folder.name}.jsonl"
        subprocess.run(
            [sys.executable, "-m", "deploy.cli", "--home", folder, "audit", "export", export],
            check=True,
            capture_output=True,
        )
        assert verify_file(export).ok
    again = start(env)
    _, progress = again.communicate(timeout=300)
    assert again.returncode in RAN, progress[-3000:]
    assert "which was cut short" in progress
    assert ours(tmp_path / "home") == []
