"""``flower-supernode`` for a store: ``python -m store_node.federation.supernode …``, same options.

Four things differ from Flower 1.41's own start-up, which has no option for any of them:

- an app that arrives with a run is refused unless it carries no code and names our installed apps
  (``--trusted-entities`` knows only apps published on Flower's platform);
- while a run is under way, a node asks for messages every ``STOREWEAVE_POLL_S`` seconds (0.25)
  instead of every 3, and for a tensor that is still on its way after 0.1 s instead of 1, so that
  a round does not wait on it;
- it says that it is alive every 10 s instead of every 30: a node that was killed is let in again
  after 20 s instead of a minute, and HQ does not wait for it as long;
- ClientApps are forked from a warm process (:mod:`store_node.federation.executor`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from flwr.supercore import heartbeat
from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.fab import Fab
from flwr.supernode import fleet_http_connection
from flwr.supernode import start_client_internal as node_loop
from flwr.supernode.cli import flower_supernode

from shared.errors import NotVerified
from shared.wire.bundle import check_bundle
from shared.wire.names import PARENT_ENV, QUICK_PULLS

_DEFAULT_POLL_S = 0.25
_IDLE_SLEEP_S = 3
_HEARTBEAT_S = 10
_LICENSE = "valid_license"
_EXECUTOR = "store_node.federation.executor"


class ShortSleeps:
    """Stands in for :mod:`time` in the node's loop: sleeps at most ``poll_s`` while busy.

    The loop sleeps 3 s after it found no message, and less while it waits for a ClientApp. Busy is
    the time until ``busy_s`` seconds after the start or the last message; then Flower's own pace
    holds, so that idle stores do not knock at the SuperLink four times a second.
    """

    def __init__(
        self, poll_s: float, busy_s: float = 120.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Bound sleeps to ``poll_s`` seconds while busy."""
        self._poll_s = poll_s
        self._busy_s = busy_s
        self._clock = clock
        self._last = clock()

    def bounded(self, seconds: float) -> float:
        """Return how long to sleep where Flower would sleep ``seconds``."""
        now = self._clock()
        if seconds < _IDLE_SLEEP_S:
            self._last = now
        return min(seconds, self._poll_s) if now - self._last < self._busy_s else seconds

    def sleep(self, seconds: float) -> None:
        """Sleep ``seconds``, or less while busy."""
        time.sleep(self.bounded(seconds))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever time has
        return getattr(time, name)


class WarmStart:
    """Stands in for :mod:`subprocess` in the node's loop: starts our SuperExec for Flower's."""

    def Popen(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start the SuperExec with the options that the node gives it."""
        return subprocess.Popen([sys.executable, "-m", _EXECUTOR, *command[1:]])  # noqa: S603


def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    """Return Flower's connection with a ``get_fab`` that marks only our own bundle as verified."""

    @contextmanager
    def connection(*args: Any, **kwargs: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
        with connect(*args, **kwargs) as parts:
            node_id, receive, send, get_run, get_fab, *rest = parts

            def checked_fab(fab_hash: str, run_id: int) -> Fab:
                fab = get_fab(fab_hash, run_id)
                return Fab(fab.hash_str, fab.content, verdict(fab.content))

            yield (node_id, receive, send, get_run, checked_fab, *rest)

    return connection


def verdict(content: bytes) -> dict[str, str]:
    """Return the verification record that makes the node run a bundle; empty where it must not."""
    try:
        check_bundle(content)
    except NotVerified:
        return {}
    return {_LICENSE: "no code"}


def main() -> None:
    """Put the changes in place, then run the node with the options of the command line."""
    poll_s = float(os.environ.get("STOREWEAVE_POLL_S", _DEFAULT_POLL_S))
    node_loop.time = ShortSleeps(poll_s)
    node_loop.subprocess = WarmStart()
    node_loop.pull_objects = partial(node_loop.pull_objects, **QUICK_PULLS)
    fleet_http_connection.HEARTBEAT_DEFAULT_INTERVAL = _HEARTBEAT_S
    heartbeat.HEARTBEAT_DEFAULT_INTERVAL = _HEARTBEAT_S
    node_loop._init_connection = guarded(node_loop._init_connection)
    node_loop._verify_fab = lambda fab, _trusted: fab.verifications == verdict(fab.content) != {}
    start = node_loop.start_client_internal
    if parent := os.environ.get(PARENT_ENV):
        start_parent_process_monitor(int(parent))

    def start_guarded(**options: Any) -> None:  # noqa: ANN401 - Flower's own options
        start(**{**options, "trusted_entities": {"storeweave": "installed code only"}})

    module = sys.modules[flower_supernode.__module__]
    vars(module)["start_client_internal"] = start_guarded
    sys.argv[0] = "flower-supernode"
    flower_supernode()


if __name__ == "__main__":
    main()
