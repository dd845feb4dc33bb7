"""Sets that are sentences with an intent: xSID 0.7 and banking77 in English and Arabic.

Customer: each row is a customer of its own, since the sets name nobody. ``*.train`` is the
store's; ``*.dev`` is the gate's, but for sentences that also stand in train. The first
``Limits.public_per_intent`` training rows of each intent are declared public and lose their
customer. xSID's train rows are few (240, ja 120), so such a store is below 300 customers.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from shared.formats import IntentRow
from tests.benchmarks.converters.layout import Limits, Store, clean, take_public, write
from tests.benchmarks.converters.source import need, rows


def convert(
    source: Path, out: Path, *, folder: str, lang: str, limits: Limits | None = None
) -> Store:
    """Write one language of ``folder`` as a store, and its gate, to ``out``."""
    store = read(source, folder=folder, lang=lang, limits=limits or Limits())
    write(out, [store])
    return store


def read(source: Path, *, folder: str, lang: str, limits: Limits) -> Store:
    """Return one language of ``xsid07`` or ``banking77_en_ar`` as a store.

    Raises:
        Unavailable: a file of the set is missing.
    """
    prefix = "banking" if folder.startswith("banking") else "xsid"
    name = f"{prefix}-{lang}"
    train = _rows(need(source, folder, f"{lang}.train.jsonl"), lang, customer=f"{name}-c")
    dev = _rows(need(source, folder, f"{lang}.dev.jsonl"), lang, customer="")
    kept = take_public(train, limits.public_per_intent)
    known = {row.text for row in kept}
    if limits.store_rows:
        public = tuple(row for row in kept if row.customer_id is None)
        private = tuple(row for row in kept if row.customer_id is not None)
        # Files are in order of intent, so the first rows would be of the first intents alone.
        kept = public + tuple(sorted(private, key=_chance)[: limits.store_rows])
    return Store(
        id=name,
        name=f"{folder} ({lang})",
        lang=lang,
        unit="one row; public rows have none",
        intents=kept,
        gate_intents=tuple(row for row in dev if row.text not in known)[: limits.gate_rows or None],
    )


def _rows(path: Path, lang: str, *, customer: str) -> Iterator[IntentRow]:
    for number, row in enumerate(rows(path), start=1):
        text = clean(row["text"])
        if text:
            yield IntentRow(
                text=text,
                lang=lang,
                intent=row["intent"],
                customer_id=f"{customer}{number}" if customer else None,
            )


def _chance(row: IntentRow) -> bytes:
    return hashlib.sha256(str(row.customer_id).encode()).digest()
