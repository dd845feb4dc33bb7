"""The ledger's entries at rest: an append-only SQLite file that survives a kill at any moment.

Write-ahead log with ``synchronous=FULL``: a transaction that returned is on the disk. ``BEGIN
IMMEDIATE`` lets one writer at a time, over all processes, read and append as one act.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from shared.errors import Unavailable
from shared.privacy.entries import Entry

_WAIT_S = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
  seq INTEGER PRIMARY KEY CHECK (seq >= 1),
  hash TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  time TEXT NOT NULL,
  line BLOB NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries never change'); END;
CREATE TRIGGER IF NOT EXISTS entries_never_go BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;
"""


class EntryStore:
    """Append-only lines in SQLite; safe for several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            Unavailable: the file cannot be opened, is no database, or stays locked.
        """
        self.path = path
        self._lock = threading.RLock()
        with self._named():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except sqlite3.Error:
                self._db.close()
                raise

    def _prepare(self) -> None:
        # SQLite does not wait for its lock while the journal mode changes.
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(f"PRAGMA busy_timeout={int(_WAIT_S * 1000)}")
        with self.transaction():
            present = self._db.execute("SELECT 1 FROM sqlite_master WHERE name='entries'")
            if present.fetchone() is None:
                for statement in _statements(_TABLES):
                    self._db.execute(statement)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(
                f"the ledger cannot be used: {error}",
                where=str(self.path),
                remedy="check that the disk is not full and that no other program holds the file",
            ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
        """Hold the only right to write, in all processes; commit at the end, undo on any error."""
        with self._lock, self._named():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already, or failed the commit.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def append(self, entry: Entry) -> None:
        """Write an entry; only inside :meth:`transaction`."""
        self._db.execute(
            "INSERT INTO entries (seq, hash, kind, time, line) VALUES (?, ?, ?, ?, ?)",
            (entry.seq, entry.hash, str(entry.kind), entry.time, entry.line()),
        )

    def lines(self, after: int = 0, upto: int | None = None) -> Iterator[bytes]:
        """Yield the lines with ``after < seq <= upto``, in order, some at a time."""
        while True:
            with self._lock, self._named():
                rows = self._db.execute(
                    "SELECT seq, line FROM entries WHERE seq > ? AND seq <= ?"
                    " ORDER BY seq LIMIT 500",
                    (after, upto if upto is not None else 2**62),
                ).fetchall()
            if not rows:
                return
            for seq, line in rows:
                after = seq
                yield line

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script one by one (``executescript`` would end the transaction)."""
    part = ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            yield part
            part = ""
