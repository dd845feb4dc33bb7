"""Put on ``PYTHONPATH`` by the federation tests: Flower's own processes then use the fake store.

Only the module that builds the store's service is replaced; everything else is the product.
"""

import importlib
import sys
import types
from pathlib import Path


def build_federation(home: Path) -> object:
    fakes = importlib.import_module("tests.federation_fakes")
    return fakes.build(home)


_stand_in = types.ModuleType("store_node.wiring_federation")
_stand_in.build_federation = build_federation  # type: ignore[attr-defined]
sys.modules["store_node.wiring_federation"] = _stand_in
