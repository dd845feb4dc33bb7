"""``storeweave store node`` with a real SuperLink: let in, started again when killed, stopped."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.federation import register_node, start_superlink
from deploy.pki import load_or_make_node_keys

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def until(ready: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_node_is_let_in_started_again_and_stopped(tmp_path: Path) -> None:
    hq, home = tmp_path / "hq", tmp_path / "leeds"
    superlink, address = start_superlink(hq)
    home.mkdir()
    log = tmp_path / "node.out"
    node = None
    try:
        (home / "storeweave.toml").write_text('[store]\nid = "leeds"\n')
        (home / "hq.json").write_text(json.dumps({"superlink": address.text}))
        shutil.copyfile(address.authority, home / "ca.crt")
        load_or_make_node_keys(home / "keys")
        register_node(hq, home / "keys" / "node.pub", name="leeds")
        command = [sys.executable, "-m", "deploy.cli", "--home", str(home), "store", "node"]
        with log.open("wb") as stream:
            node = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        until(lambda: "leeds takes part in rounds" in log.read_text())
        (inner, *_) = psutil.Process(node.pid).children()
        inner.kill()
        until(lambda: log.read_text().count("takes part in rounds") > 1)
        below = psutil.Process(node.pid).children(recursive=True)
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=60) == 0
        assert log.read_text().splitlines()[-1] == "stopped"
        assert not [process for process in below if process.is_running()]
    finally:
        if node is not None and node.poll() is None:
            node.kill()
        superlink.stop()
