"""The way with the real base model on real, public conversations: import to aggregated adapter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.exit_codes import ExitCode
from tests.benchmarks.converters import convert_all
from tests.benchmarks.converters.layout import Limits

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(900)]
ROWS = 24
"""Rows of each store: enough to go the way, far too few to learn from."""


def data_folder() -> Path:
    named = os.environ.get("STOREWEAVE_DATA")
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(named) if named else beside
    if not (folder / "crosswoz_zh").is_dir():
        pytest.skip(
            f"public data not found at {folder}: set STOREWEAVE_DATA to a folder with "
            "eshop_support, crosswoz_zh, xsid07 (see tests/benchmarks/converters)"
        )
    return folder


def test_public_conversations_go_the_whole_way_with_the_real_model(tmp_path: Path) -> None:
    out = tmp_path / "data"
    limits = Limits(store_rows=ROWS, gate_rows=ROWS)
    convert_all(out, sets=("eshop", "crosswoz", "xsid-ja"), source=data_folder(), limits=limits)
    home = tmp_path / "home"
    env = {**os.environ, "STOREWEAVE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "deploy.cli", "demo", "--fast", "--json", "--data", str(out)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode in {ExitCode.OK, ExitCode.GATE_CLOSED}, done.stderr[-3000:]
    report = json.loads((home / "demo/report/report.json").read_text("utf-8"))
    assert report["verified"]
    assert {store["lang"] for store in report["stores"]} == {"en", "zh", "ja"}
    assert all(store["rounds_contributed"] == 2 for store in report["stores"])
    assert all(question["before"].strip() for question in report["questions"])
