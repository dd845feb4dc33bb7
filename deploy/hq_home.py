"""Opens headquarters for a command: hands it Flower, the base model and TLS files."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from coordinator.jobs import OnEvent
from coordinator.operations import Outside
from coordinator.ports import EnrolledStore
from coordinator.wiring import Hq, open_hq
from deploy.cli_context import Context
from shared.adapters import AdapterSpec
from shared.errors import BadConfig, Unavailable
from shared.releases import Release
from shared.wire.tls import TlsFiles

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
Launch = Callable[[str], None]
Admit = Callable[[EnrolledStore], None]


def nothing(_store: EnrolledStore) -> None:
    """Admit no node now: ``hq serve`` admits every enrolled one when it starts."""


def check_hq(context: Context) -> None:
    """Raise ``BadConfig`` where the context's home is a store's."""
    store_id = context.settings.store.id
    if store_id:
        raise BadConfig(
            f"this is the home of store {store_id!r}, not of headquarters",
            where=str(context.home),
            remedy="name HQ's home with --home or STOREWEAVE_HOME",
        )


@contextlib.contextmanager
def opened_hq(
    context: Context, *, launch: Launch | None = None, admit: Admit = nothing
) -> Iterator[Hq]:
    """Open the HQ of the context's home.

    Args:
        context: names the home and the settings.
        launch: starts a run; ``None``: hands it to the SuperLink and returns.
        admit: makes a node known to the SuperLink.

    Raises:
        BadConfig: the home is a store's.
    """
    settings, home = context.settings, context.home
    check_hq(context)

    def submit(run_id: str) -> None:
        from deploy.federation import submit_run

        submit_run(home, run_id)

    def spec() -> AdapterSpec:
        from deploy.base_model import resolve_base
        from shared.base_models import adapter_spec

        base = resolve_base(settings.model, context.console.log)
        return adapter_spec(settings.model, base.folder, base.digest)

    def build(run_id: str, tell: OnEvent) -> Release:
        from deploy.release import build_for_run

        return build_for_run(context, hq, run_id, tell)

    outside = Outside(spec=spec, launch=launch or submit, admit=admit)
    with open_hq(settings, home, outside=outside, build=build, tls=_tls(context)) as hq:
        yield hq


def _tls(context: Context) -> TlsFiles | None:
    """Return HQ's certificate towards inference services; loopback may do without.

    Raises:
        BadConfig: a service on another machine, and no certificate.
    """
    folder = context.home / "pki"
    files = TlsFiles(ca=folder / "ca.crt", cert=folder / "hq.crt", key=folder / "hq.key")
    if files.cert.is_file() and files.key.is_file():
        return files
    for target in context.settings.hq.inference:
        if target.rpartition(":")[0].strip("[]") not in LOOPBACK:
            raise BadConfig(
                f"[hq] inference {target} needs TLS",
                where=str(folder),
                remedy="put ca.crt, hq.crt and hq.key there",
            )
    return None


@contextlib.contextmanager
def only_server(home: Path) -> Iterator[None]:
    """Hold the home's only place for a serving HQ; the system frees it if we die.

    Raises:
        Unavailable: another process serves this home.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(home / "serve.lock", timeout=0, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise Unavailable(
                "another process serves this home", where=str(home), remedy="stop it first"
            ) from None
        yield
    finally:
        lock.close()
