"""The database: schema, transactions, settings."""

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

from shared.errors import BadConfig, Unavailable
from store_node.adapters.database import Database, sqlite_url
from store_node.adapters.tables import meta, metadata
from store_node.wiring import opened
from tests.shop import shop_settings


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "store.db"))
    assert database.version() is None
    database.upgrade()
    database.upgrade()
    assert database.version() == "0001"
    with database.reading() as db:
        assert compare_metadata(MigrationContext.configure(db), metadata) == []
    database.close()


def test_the_schema_can_be_written_for_mysql() -> None:
    for table in metadata.sorted_tables:
        sql = str(CreateTable(table).compile(dialect=mysql.dialect()))
        assert "utf8mb4" in sql


def test_two_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def upgrade() -> None:
        database = Database(sqlite_url(tmp_path / "store.db"))
        try:
            database.upgrade()
        except BaseException as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "store.db"))
    database.upgrade()

    def fail() -> None:
        with database.writing() as db:
            db.execute(sa.insert(meta).values(name="a", value="b"))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    with database.reading() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(meta)) == 0
    database.close()


@pytest.mark.parametrize(
    "url", ["postgresql://u:hidden@h/d", "nonsense hidden", "mysql+no://hidden"]
)
def test_a_wrong_url_is_named_without_its_password(url: str) -> None:
    with pytest.raises(BadConfig) as refused:
        Database(url)
    assert "hidden" not in str(refused.value)


def test_a_newer_or_foreign_file_is_refused(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "store.db"))
    database.upgrade()
    with database.writing() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="does not know"):
        database.upgrade()
    database.close()
    (tmp_path / "other.db").write_bytes(b"not a database" * 100)
    other = Database(sqlite_url(tmp_path / "other.db"))
    with pytest.raises(Unavailable, match="cannot be used"):
        other.upgrade()
    other.close()


def test_only_the_owner_can_read_a_stores_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened(shop_settings(home), home):
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
        assert {mode for name, mode in found.items() if ".db" in name} == {0o600}
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "keys" / "customers.key").stat().st_mode) == 0o600
