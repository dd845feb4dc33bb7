"""Training samples at rest; nothing but desensitized text goes in, and the same comes out."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from shared.ids import CustomerKey
from store_node.adapters.database import Database, batches, insert_missing
from store_node.adapters.tables import samples
from store_node.ports import Sample
from store_node.samples.desensitize import restore


class SqlSamples:
    """Implements :class:`store_node.ports.Samples`."""

    def __init__(self, database: Database) -> None:
        """Read from and write to an open database."""
        self._database = database

    def add(self, samples: Sequence[Sample]) -> int:
        """Write samples not yet there (by ``sample_id``); return how many were new."""
        new = 0
        with self._database.writing() as db:
            for some in batches(samples):
                new += len(insert_missing(db, _TABLE, "sample_id", map(_row, some)))
        return new

    def all(self) -> Iterator[Sample]:
        """Yield every sample in order of customer, then ``sample_id``."""
        query = sa.select(_TABLE).order_by(_TABLE.c.customer, _TABLE.c.sample_id)
        with self._database.reading() as db:
            for row in db.execution_options(yield_per=1000).execute(query).mappings():
                yield Sample(
                    sample_id=row["sample_id"],
                    customer=CustomerKey(row["customer"]),
                    lang=row["lang"],
                    kind=row["kind"],
                    prompt=restore(row["prompt"], row["policy_version"]),
                    target=restore(row["target"], row["policy_version"]),
                    detector_version=row["detector_version"],
                    masked_digest=row["masked_digest"],
                )

    def stats(self) -> Mapping[str, int]:
        """Return counts: ``samples``, ``customers``, and ``lang:<code>``, ``kind:<kind>``."""
        count = sa.func.count()
        with self._database.reading() as db:
            out = {
                "samples": int(db.scalar(sa.select(count).select_from(_TABLE)) or 0),
                "customers": int(
                    db.scalar(sa.select(sa.func.count(_TABLE.c.customer.distinct()))) or 0
                ),
            }
            for name in ("lang", "kind"):
                column = _TABLE.c[name]
                query = sa.select(column, count).group_by(column).order_by(column)
                out |= {f"{name}:{value}": int(n) for value, n in db.execute(query)}
        return out

    def forget(self, customer: CustomerKey) -> int:
        """Delete the customer's samples; return how many."""
        with self._database.writing() as db:
            return db.execute(sa.delete(_TABLE).where(_TABLE.c.customer == customer)).rowcount


_TABLE = samples


def _row(sample: Sample) -> dict[str, str]:
    return {
        "sample_id": sample.sample_id,
        "customer": sample.customer,
        "lang": sample.lang,
        "kind": sample.kind,
        "prompt": str(sample.prompt),
        "target": str(sample.target),
        "policy_version": sample.prompt.policy_version,
        "detector_version": sample.detector_version,
        "masked_digest": sample.masked_digest,
    }
