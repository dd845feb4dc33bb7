"""Fixtures of the contract suites."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.clock import FixedClock
from store_node.wiring import StoreData
from tests.contracts.stores import DATABASES, store_on


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 23, 12, tzinfo=UTC))


@pytest.fixture(params=sorted(DATABASES))
def data(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> Iterator[StoreData]:
    with store_on(request.param, tmp_path, clock) as data:
        yield data
