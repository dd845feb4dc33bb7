"""The demo's processes: started on loopback, waited for, stopped with all that they started."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from deploy.children import Child, accepts, base_environment
from deploy.demo.layout import LOOPBACK, Layout, Ports, StoreData
from deploy.federation import SuperLinkAddress, start_supernode

START_S = 180.0


def program(home: Path, *arguments: str) -> list[str]:
    """Return the command line of our own program for a home."""
    return [sys.executable, "-m", "deploy.cli", "--home", str(home), *arguments]


class Site:
    """The running processes of a demo."""

    def __init__(self, layout: Layout, stores: Sequence[StoreData], ports: Ports) -> None:
        self._layout = layout
        self._stores = stores
        self._ports = ports
        self._children: list[Child] = []

    @property
    def hq_url(self) -> str:
        """HQ's operator API."""
        return f"http://{LOOPBACK}:{self._ports.hq}"

    def store_url(self, store_id: str) -> str:
        """Return a store's WebSocket address."""
        port = (self._layout.store(store_id) / "store.port").read_text("utf-8").strip()
        return f"ws://{LOOPBACK}:{port}/v1/ws"

    def start(self, name: str, home: Path, *arguments: str) -> Child:
        """Start one of our own servers in a home."""
        child = Child(
            name,
            program(home, *arguments),
            log=home / "logs" / f"{name}.log",
            env=environment(home),
        )
        self._children.append(child)
        return child

    def start_servers(self) -> None:
        """Start inference, HQ with its SuperLink, and the stores' APIs; wait until all serve.

        Raises:
            Unavailable: one did not come up; its log is named.
        """
        inference = self.start("inference", self._layout.inference, "store", "inference")
        hq = self.start("hq", self._layout.hq, "hq", "serve")
        apis = []
        for store in self._stores:
            home = self._layout.store(store.store_id)
            (home / "store.port").unlink(missing_ok=True)
            apis.append((self.start("store", home, "store", "serve"), home / "store.port"))
        hq.wait_until(
            lambda: accepts(LOOPBACK, self._ports.hq) and accepts(LOOPBACK, self._ports.superlink),
            timeout_s=START_S,
            what="HQ does not serve",
        )
        for child, port in apis:
            child.wait_until(port.is_file, timeout_s=START_S, what="the store does not serve")
        inference.wait_until(
            (self._layout.inference / "inference.port").is_file,
            timeout_s=START_S,
            what="the inference service does not serve",
        )

    def start_nodes(self) -> None:
        """Start a SuperNode for each store and wait until HQ let each in.

        Raises:
            Unavailable: one was not let in.
        """
        address = SuperLinkAddress(
            host=LOOPBACK,
            port=self._ports.superlink,
            authority=self._layout.hq / "pki" / "ca.crt",
        )
        for store in self._stores:
            home = self._layout.store(store.store_id)
            self._children.append(start_supernode(home, address, name=store.store_id))

    def stop(self) -> None:
        """Stop everything, last started first; safe to call twice."""
        while self._children:
            self._children.pop().stop()


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a server of ours."""
    return {**base_environment(), "STOREWEAVE_HOME": str(home), "PYTHONUNBUFFERED": "1"}


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Measure, in a thread, the most memory that this process and its children use together.

    Yields a function that returns bytes: proportional set size where the system tells it (shared
    pages counted once), else resident size.
    """
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        me = psutil.Process()
        while not done.wait(1.0):
            peak = max(peak, sum(map(_memory, [me, *me.children(recursive=True)])))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        thread.join(timeout=2.0)


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def wait_for(ready: Callable[[], bool], timeout_s: float, step_s: float = 0.3) -> bool:
    """Return whether ``ready()`` came true in time."""
    end = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True
