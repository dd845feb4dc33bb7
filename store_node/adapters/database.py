"""The store's database: opened, brought to the newest schema, and written in whole transactions."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from shared.errors import BadConfig, Unavailable

BATCH = 200
"""Rows written at once: few enough for the databases' limits on parameters."""
Row = TypeVar("Row")
_WRITES = "storeweave_writes"


class Database:
    """An engine with our transaction rules; ``reading()`` and ``writing()`` give connections."""

    def __init__(self, url: str) -> None:
        """Connect lazily to a SQLAlchemy URL.

        Raises:
            BadConfig: the URL is not one of SQLite or MySQL, or its driver is not installed.
        """
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() not in {"sqlite", "mysql", "mariadb"}:
                raise BadConfig(
                    f"store.database: {parsed.get_backend_name()} is not supported",
                    remedy="use sqlite:/// or mysql+mysqlconnector://",
                )
            self.engine = sa.create_engine(parsed, pool_pre_ping=not url.startswith("sqlite"))
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError):
            # The text of these errors may quote the URL, which holds a password.
            raise BadConfig(
                "store.database is not a SQLAlchemy URL whose driver is installed",
                remedy="use sqlite:/// or mysql+mysqlconnector://",
            ) from None
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        self._writer = self.engine.execution_options(**{_WRITES: True})

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Return a connection that sees one moment of the data."""
        return self.engine.connect()

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """Return a connection that commits when the block ends well, else rolls back."""
        return self._writer.begin()

    def upgrade(self) -> None:
        """Bring the schema to the newest version; does nothing where it is there already.

        Raises:
            Unavailable: the database cannot be reached, or is newer than this program.
        """
        try:
            with as_file(files("store_node.adapters") / "migrations") as folder:
                config = Config()
                config.set_main_option("script_location", str(folder).replace("%", "%%"))
                head = ScriptDirectory.from_config(config).get_current_head()
                if self.version() == head:
                    return
                with self.writing() as db:
                    config.attributes["connection"] = db
                    command.upgrade(config, "head")
        except (sa.exc.OperationalError, sa.exc.DatabaseError) as error:
            raise _unreachable(self.engine.url, error) from None
        except CommandError:
            raise Unavailable(
                "the database has a schema that this program does not know",
                where=self.engine.url.render_as_string(hide_password=True),
                remedy="use the program version that wrote it, or a newer one",
            ) from None

    def version(self) -> str | None:
        """Return the schema's version, ``None`` for an empty database."""
        with self.reading() as db:
            return MigrationContext.configure(db).get_current_revision()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in lists of at most ``BATCH``."""
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def upsert(
    db: sa.Connection, table: sa.Table, keys: tuple[str, ...], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows, each replacing the one with the same keys; for tables without children."""
    unique = {tuple(row[key] for key in keys): dict(row) for row in rows}
    if not unique:
        return
    columns = [table.c[key] for key in keys]
    same = (
        columns[0].in_([key[0] for key in unique])
        if len(keys) == 1
        else sa.tuple_(*columns).in_(list(unique))
    )
    db.execute(sa.delete(table).where(same))
    db.execute(sa.insert(table), list(unique.values()))


def insert_missing(
    db: sa.Connection, table: sa.Table, key: str, rows: Iterable[Mapping[str, Any]]
) -> set[Any]:
    """Write the rows whose key is not there yet; return the keys that were new."""
    unique = {row[key]: dict(row) for row in rows}
    if not unique:
        return set()
    there = set(db.scalars(sa.select(table.c[key]).where(table.c[key].in_(list(unique)))))
    new = [row for name, row in unique.items() if name not in there]
    if new:
        db.execute(sa.insert(table), new)
    return set(unique) - there


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    connection.isolation_level = None  # transactions are begun by _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 15000")
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL: what was confirmed to a customer survives a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    # Taking the write lock at once: a reader that becomes a writer could fail without waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _unreachable(url: sa.URL, error: sa.exc.DBAPIError) -> Unavailable:
    return Unavailable(
        f"the database cannot be used ({type(error.orig).__name__})",
        where=url.render_as_string(hide_password=True),
        remedy="check that it runs and that this store may write to it",
    )
