"""The catalogue and the orders in the store's database."""

import threading
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from shared.formats import CatalogRow, OrderRow
from shared.ids import CustomerKey, new_id
from store_node.adapters.database import Database, batches, upsert
from store_node.adapters.tables import meta, orders, products
from store_node.knowledge.names import NameFinder
from store_node.ports import NamedProduct

CATALOG_VERSION = "catalog_version"


class SqlShop:
    """Implements :class:`store_node.ports.Shop` and :class:`store_node.ports.Orders`."""

    def __init__(self, database: Database) -> None:
        """Read from (and write to) an open database."""
        self._database = database
        self._lock = threading.Lock()
        self._version: str | None = None
        self._finders: dict[str, NameFinder] = {}

    def named_products(self, text: str, lang: str) -> list[NamedProduct]:
        """Return products named in ``text`` with their places; other languages' names come last."""
        finders = self._names()
        for code in sorted(finders, key=lambda code: (code != lang, code)):
            found = [
                NamedProduct(product=product, start=match.start, end=match.end)
                for match in finders[code].find(text)
                if (product := self.product(match.product_id, code)) is not None
            ]
            if found:
                return found
        return []

    def product_named_in(self, text: str, lang: str) -> list[CatalogRow]:
        """Return products named in ``text``, longest match first, each once."""
        found = self.named_products(text, lang)
        found.sort(key=lambda named: named.start - named.end)
        return list({named.product.product_id: named.product for named in found}.values())

    def product(self, product_id: str, lang: str | None = None) -> CatalogRow | None:
        """Return a product, named in ``lang`` where the catalogue has that."""
        query = sa.select(products).where(products.c.product_id == product_id)
        with self._database.reading() as db:
            rows = db.execute(query.order_by(products.c.lang)).mappings().all()
        row = next((row for row in rows if row["lang"] == lang), rows[0] if rows else None)
        return None if row is None else CatalogRow.model_validate(dict(row))

    def names(self) -> list[str]:
        """Return the names of all products in all languages, sorted, each once."""
        with self._database.reading() as db:
            return sorted(db.scalars(sa.select(products.c.name).distinct()))

    def replace_catalog(self, rows: Iterable[CatalogRow]) -> int:
        """Make ``rows`` the catalogue; return how many."""
        with self._database.writing() as db:
            db.execute(sa.delete(products))
            return write_catalog(db, rows)

    def order(self, order_id: str, customer: CustomerKey) -> OrderRow | None:
        """Return the order if it is the customer's own; with or without a leading ``#``."""
        bare = order_id.lstrip("#")
        query = sa.select(orders).where(
            orders.c.order_id.in_([order_id, bare, f"#{bare}"]), orders.c.customer == customer
        )
        with self._database.reading() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else _order(dict(row))

    def latest(self, customer: CustomerKey, limit: int = 1) -> list[OrderRow]:
        """Return the customer's last orders, newest first."""
        query = (
            sa.select(orders)
            .where(orders.c.customer == customer)
            .order_by(orders.c.placed.desc(), orders.c.order_id)
            .limit(limit)
        )
        with self._database.reading() as db:
            return [_order(dict(row)) for row in db.execute(query).mappings()]

    def _names(self) -> dict[str, NameFinder]:
        query = sa.select(meta.c.value).where(meta.c.name == CATALOG_VERSION)
        with self._lock, self._database.reading() as db:
            version = db.scalar(query)
            if version != self._version:
                rows: dict[str, list[CatalogRow]] = {}
                for row in db.execute(sa.select(products)).mappings():
                    product = CatalogRow.model_validate(dict(row))
                    rows.setdefault(product.lang, []).append(product)
                self._finders = {lang: NameFinder(some) for lang, some in rows.items()}
                self._version = version
            return self._finders


def write_catalog(db: sa.Connection, rows: Iterable[CatalogRow]) -> int:
    """Write products over those of the same id and language, in the caller's transaction."""
    written = 0
    for batch in batches(rows):
        upsert(db, products, ("product_id", "lang"), (row.model_dump() for row in batch))
        written += len(batch)
    upsert(db, meta, ("name",), [{"name": CATALOG_VERSION, "value": new_id("catalog")}])
    return written


def _order(row: dict[str, Any]) -> OrderRow:
    # The customer's own identifier stays in the private table: the pseudonym stands in its place.
    return OrderRow.model_validate({"customer_id": row.pop("customer"), **row})
