"""``python -m tests.benchmarks.converters OUT [--sets ...]``: write a public federation."""

import argparse
import sys
from pathlib import Path

from shared.errors import StoreWeaveError
from tests.benchmarks.converters.federation import DEFAULT_SETS, SETS, convert_all
from tests.benchmarks.converters.layout import Limits


def main(arguments: list[str] | None = None) -> int:
    """Convert, print one line per store, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.converters")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--sets", nargs="+", default=list(DEFAULT_SETS), choices=list(SETS))
    parser.add_argument("--max-chars", type=int, default=400, help="cut messages; 0 keeps all")
    parser.add_argument("--store-rows", type=int, default=0, help="rows per store; 0 keeps all")
    parser.add_argument("--gate-rows", type=int, default=0, help="gate rows per store and kind")
    parser.add_argument("--public-per-intent", type=int, default=4)
    given = parser.parse_args(arguments)
    limits = Limits(
        max_chars=given.max_chars,
        store_rows=given.store_rows,
        gate_rows=given.gate_rows,
        public_per_intent=given.public_per_intent,
    )
    try:
        stores = convert_all(given.out, sets=given.sets, limits=limits)
    except StoreWeaveError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    for store in stores:
        sys.stdout.write(
            f"{store.id}: {store.lang}, {len(store.people())} customers, "
            f"{len(store.conversations)} conversations, {len(store.intents)} intents, gate "
            f"{len(store.gate_conversations)} + {len(store.gate_intents)}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
