"""The knowledge index on SQLite FTS5: a table a language, bm25, rebuilt beside and swapped."""

import queue
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import BadInput, Unavailable
from shared.formats import KnowledgeRow
from store_node.knowledge.terms import terms
from store_node.ports import Hit

_LANG = re.compile(r"[a-z]{2,3}")
_TITLE_WEIGHT = 2.0
_MOST_TERMS = 64


class FtsIndex:
    """A :class:`store_node.ports.KnowledgeIndex` in one SQLite file; threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open (or make) the file.

        Raises:
            Unavailable: the file cannot be opened, or this SQLite has no FTS5.
        """
        self._path = path
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        with self._connection() as db:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.probe USING fts5(x)")
            except sqlite3.Error as error:
                raise Unavailable(
                    f"the knowledge index cannot be opened ({error})",
                    where=str(path),
                    remedy="check the file and that this Python's SQLite has FTS5",
                ) from None

    def replace(self, lang: str, rows: Iterable[KnowledgeRow]) -> int:
        """Rebuild the partition of ``lang`` from ``rows``, visible at once; return how many."""
        if not _LANG.fullmatch(lang):
            raise BadInput("not a language code", remedy="use two or three letters a-z")
        stemmer = "porter " if lang == "en" else ""
        columns = "document_id UNINDEXED, title UNINDEXED, body UNINDEXED, title_terms, terms"
        options = f"tokenize = \"{stemmer}unicode61 remove_diacritics 0 categories 'L* N* M* Co'\""
        made = 0
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.execute(f"DROP TABLE IF EXISTS next_{lang}")
                db.execute(f"CREATE VIRTUAL TABLE next_{lang} USING fts5({columns}, {options})")
                for row in rows:
                    if row.lang != lang:
                        continue
                    title = row.title or ""
                    db.execute(
                        f"INSERT INTO next_{lang} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - checked above
                        (
                            row.id,
                            title,
                            row.text,
                            " ".join(terms(title, lang)),
                            " ".join(terms(row.text, lang)),
                        ),
                    )
                    made += 1
                db.execute(f"DROP TABLE IF EXISTS passages_{lang}")
                db.execute(f"ALTER TABLE next_{lang} RENAME TO passages_{lang}")
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        return made

    def search(self, text: str, lang: str, k: int = 5) -> list[Hit]:
        """Return at most ``k`` hits of the partition of ``lang``, best first."""
        wanted = list(dict.fromkeys(terms(text, lang)))[:_MOST_TERMS]
        if k < 1 or not wanted or not _LANG.fullmatch(lang):
            return []
        match = " OR ".join(f'"{term}"' for term in wanted)
        rank = f"bm25(passages_{lang}, 0, 0, 0, {_TITLE_WEIGHT}, 1)"
        sql = (
            f"SELECT document_id, title, body, {rank} AS rank FROM passages_{lang} "  # noqa: S608
            f"WHERE passages_{lang} MATCH ? ORDER BY rank, document_id LIMIT ?"
        )
        with self._connection() as db:
            if not self._has(db, lang):
                return []
            found = db.execute(sql, (match, k)).fetchall()
        return [
            Hit(document_id=row[0], title=row[1], text=row[2], lang=lang, score=-float(row[3]))
            for row in found
        ]

    def counts(self) -> Mapping[str, int]:
        """Return passages by language."""
        with self._connection() as db:
            names = db.execute(
                "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%' "
                "AND name LIKE 'passages\\_%' ESCAPE '\\'"
            ).fetchall()
            return {
                name.removeprefix("passages_"): int(
                    db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
                )
                for (name,) in sorted(names)
            }

    def close(self) -> None:
        """Close every connection; the index must not be used afterwards."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @staticmethod
    def _has(db: sqlite3.Connection, lang: str) -> bool:
        sql = "SELECT 1 FROM sqlite_master WHERE name = ?"
        return db.execute(sql, (f"passages_{lang}",)).fetchone() is not None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._idle.get_nowait()
        except queue.Empty:
            try:
                db = sqlite3.connect(
                    self._path, isolation_level=None, check_same_thread=False, timeout=30
                )
            except sqlite3.Error as error:
                raise Unavailable(
                    f"the knowledge index cannot be opened ({error})",
                    where=str(self._path),
                    remedy="check that the folder exists and can be written",
                ) from None
        try:
            yield db
        finally:
            self._idle.put(db)
