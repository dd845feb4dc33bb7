"""A filled store behind its API, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store_node.wiring import build_store
from tests.fakes import FakeEngine
from tests.shop import make_shop
from tests.testclient import TestClient


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(tmp_path: Path, engine: FakeEngine) -> Iterator[TestClient]:
    app = build_store(tmp_path, make_shop(tmp_path), engine)
    with TestClient(app) as client:
        yield client
