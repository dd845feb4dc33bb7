"""The adapters that the store's contract suites run on, each over a fresh place."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.clock import FixedClock
from store_node.adapters.conversations import SqlConversations
from store_node.adapters.customer_keys import CustomerKeys
from store_node.adapters.database import Database, sqlite_url
from store_node.adapters.dialogues import SqlDialogues
from store_node.adapters.fts import FtsIndex
from store_node.adapters.imports import Importer
from store_node.adapters.samples import SqlSamples
from store_node.adapters.shop import SqlShop
from store_node.wiring import StoreData

DATABASES: Mapping[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: sqlite_url(folder / "store.db"),
}
"""SQLAlchemy URL of an empty database, by name."""


@contextmanager
def store_on(database: str, folder: Path, clock: FixedClock) -> Iterator[StoreData]:
    """Open a store's adapters on a database."""
    opened = Database(DATABASES[database](folder))
    opened.upgrade()
    keys = CustomerKeys.load_or_create(folder / "keys" / "customers.key")
    index = FtsIndex(folder / "knowledge.db")
    data = StoreData(
        database=opened,
        keys=keys,
        index=index,
        shop=SqlShop(opened),
        conversations=SqlConversations(opened, clock),
        dialogues=SqlDialogues(opened, keys, clock),
        samples=SqlSamples(opened),
        importer=Importer(opened, index, keys, clock),
    )
    try:
        yield data
    finally:
        data.close()
