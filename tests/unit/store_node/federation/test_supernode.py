"""What the store changes in Flower's node loop."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.supercore import heartbeat
from flwr.supercore.fab import Fab
from flwr.supercore.superexec import run_superexec
from flwr.superlink.grid import http_grid
from flwr.superlink.servicer.control import control_handlers
from flwr.supernode import fleet_http_connection
from flwr.supernode import start_client_internal as node_loop
from flwr.supernode.runtime import run_clientapp as runtime

from shared.wire.bundle import CONFIG_FILE, bundle_config
from store_node.federation.supernode import ShortSleeps, guarded, verdict


def bundle(extra: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(CONFIG_FILE, bundle_config())
        archive.writestr(".info/CONTENT", "")
        if extra:
            archive.writestr(extra, "")
    return out.getvalue()


def test_node_is_quick_while_busy_and_calm_when_idle() -> None:
    now = [0.0]
    sleeps = ShortSleeps(0.25, busy_s=10.0, clock=lambda: now[0])
    assert sleeps.bounded(3) == 0.25
    now[0] = 11.0
    assert sleeps.bounded(3) == 3
    assert sleeps.bounded(0.5) == 0.25
    now[0] = 12.0
    assert sleeps.bounded(3) == 0.25


def test_only_a_bundle_without_code_is_verified() -> None:
    assert verdict(bundle())
    assert not verdict(bundle("evil.py"))

    @contextmanager
    def connect() -> Iterator[tuple[object, ...]]:
        yield 1, None, None, None, lambda digest, run: Fab(digest, bundle("x.py"), {}), "rest"

    with guarded(connect)() as (_node, _receive, _send, _run, get_fab, rest):
        assert not get_fab("h", 1).verifications
        assert rest == "rest"


def test_flower_still_has_what_we_replace() -> None:
    for name in ("time", "subprocess", "pull_objects", "_init_connection", "_verify_fab"):
        assert hasattr(node_loop, name)
    assert hasattr(runtime, "pull_and_inflate_object_from_tree")
    assert hasattr(http_grid, "pull_objects")
    assert hasattr(run_superexec, "get_executor")
    assert hasattr(control_handlers, "start_run")
    assert heartbeat.HEARTBEAT_DEFAULT_INTERVAL == 30
    assert fleet_http_connection.HEARTBEAT_DEFAULT_INTERVAL == 30
