"""Builds HQ's round service from its home folder."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coordinator.adapters.state import SqlRuns, SqlStores, open_database
from coordinator.rounds.desk import Desk
from coordinator.rounds.files import RunFiles
from coordinator.rounds.service import RoundService
from shared.clock import SystemClock
from shared.config import load_settings
from shared.errors import Unavailable
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger

HQ_OWNER = "hq"
_WAIT_FOR_OTHER_RUN_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What a run needs at HQ."""

    home: Path
    service: RoundService
    ledger: Ledger
    runs: SqlRuns
    stores: SqlStores

    def node_keys(self) -> dict[str, str]:
        """Return each store's enrolled Flower key."""
        return {store.store_id: store.node_key for store in self.stores.all()}

    @contextlib.contextmanager
    def alone(self, wait_s: float = _WAIT_FOR_OTHER_RUN_S) -> Iterator[None]:
        """Hold the home's only place for a run under way; the system frees it if we die.

        Runs go one after the other, so that every signed ledger head reaches a store in order: one
        that comes late would look like a ledger that was rolled back.

        Raises:
            Unavailable: another run is still under way after ``wait_s`` seconds.
        """
        path = self.home / "run.lock"
        lock = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            lock.close()
            raise Unavailable(
                "another run is under way", where=str(path), remedy="wait for it, then resume"
            ) from None
        try:
            yield
        finally:
            lock.close()


@contextlib.contextmanager
def open_rounds(home: Path) -> Iterator[Rounds]:
    """Open HQ's ledger and registers for runs; everything is closed at the end."""
    settings = load_settings(home=home)
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    engine = open_database(home / "hq.db")
    runs, stores = SqlRuns(engine), SqlStores(engine)
    try:
        with Ledger.open(
            home / "ledger.db", owner=HQ_OWNER, key=key, clock=SystemClock()
        ) as ledger:
            desk = Desk(key=key, ledger=ledger, runs=runs, stores=stores, policy=settings.privacy)
            service = RoundService(desk, RunFiles(home / "runs"))
            yield Rounds(home=home, service=service, ledger=ledger, runs=runs, stores=stores)
    finally:
        engine.dispose()
