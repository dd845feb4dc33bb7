"""Child processes with logs in files, stopped with everything that they started."""

import atexit
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from shared.errors import Unavailable

_STEP_S = 0.1


class Child:
    """A running process; :meth:`stop` ends it and all its descendants, also at interpreter exit."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str]
    ) -> None:
        """Start ``command`` in a process group of its own, with output appended to ``log``."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def text(self) -> str:
        """Return what it wrote to its log since this start."""
        with self.log.open("rb") as stream:
            stream.seek(self._start)
            return stream.read().decode(errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Wait until ``ready()``.

        Raises:
            Unavailable: the process ended or the time is over; it is stopped then.
        """
        end = time.monotonic() + timeout_s
        while not ready():
            if not self.running or time.monotonic() > end:
                ended = "took too long" if self.running else "ended"
                self.stop()
                raise Unavailable(
                    f"{what}: the process {ended}", where=self.name, remedy=f"see {self.log}"
                )
            time.sleep(_STEP_S)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """End the process and its descendants: ask first, then kill; safe to call twice."""
        atexit.unregister(self.stop)
        family = _family(self.pid) if self.running else []
        _signal(family, kill=False)
        _gone, alive = psutil.wait_procs(family, timeout=timeout_s)
        _signal(alive, kill=True)
        psutil.wait_procs(alive, timeout=timeout_s)
        self._process.wait()

    def kill(self) -> None:
        """End the process and its descendants at once, as a power cut would."""
        atexit.unregister(self.stop)
        family = _family(self.pid) if self.running else []
        _signal(family, kill=True)
        self._process.wait()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(host: str, port: int) -> bool:
    """Return whether somebody listens on ``host:port``."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def base_environment() -> dict[str, str]:
    """Return this process's environment with our own programs first on ``PATH``."""
    here = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []


def _signal(processes: Sequence[psutil.Process], *, kill: bool) -> None:
    for process in reversed(processes):
        try:
            process.kill() if kill else process.terminate()
        except psutil.NoSuchProcess:
            continue
