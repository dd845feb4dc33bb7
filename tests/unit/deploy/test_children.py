"""Children end with all that they started."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.children import Child, accepts, base_environment, free_port
from shared.errors import Unavailable

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
time.sleep(60)
"""


def start(tmp_path: Path, code: str) -> Child:
    log = tmp_path / "child.log"
    return Child("test", [sys.executable, "-c", code], log=log, env=base_environment())


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_descendants_end_too(tmp_path: Path, way: str) -> None:
    child = start(tmp_path, PARENT)
    child.wait_until(lambda: "child " in child.text(), timeout_s=20, what="not up")
    grandchild = psutil.Process(int(child.text().split()[1]))
    getattr(child, way)()
    assert not child.running
    end = time.monotonic() + 5
    while grandchild.is_running() and grandchild.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)
    child.stop()


def test_a_child_that_ends_early_is_reported(tmp_path: Path) -> None:
    child = start(tmp_path, "raise SystemExit(3)")
    with pytest.raises(Unavailable, match="ended"):
        child.wait_until(lambda: False, timeout_s=20, what="not up")


def test_a_child_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    child = start(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(Unavailable, match="took too long"):
        child.wait_until(lambda: False, timeout_s=0.3, what="not up")
    assert not child.running


def test_a_free_port_is_free() -> None:
    assert not accepts("127.0.0.1", free_port())
