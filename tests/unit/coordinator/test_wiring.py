"""Tests of where a run starts: from what serves, where that is an adapter of the same form."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from coordinator.operations import Operations
from coordinator.rounds.files import RunFiles
from coordinator.wiring import start_from
from shared.errors import NotVerified
from shared.releases import Release
from shared.rounds import RunPlan
from tests.federation_world import SPEC, make_plan

STORES = {"leeds": "leeds-customers"}


def release_of(run_id: str, weight: float) -> Release:
    return cast(
        "Release",
        SimpleNamespace(release_id="rel-1", run_id=run_id, metrics={"merge_weight": weight}),
    )


def operations_with(plan: RunPlan) -> Operations:
    outcomes = (SimpleNamespace(round_id=plan.round_id(plan.rounds)),)
    view: Any = SimpleNamespace(plan=plan, outcomes=outcomes)
    return cast("Operations", SimpleNamespace(run=lambda _: view))


def full(value: float) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.full(shape, value, np.float32) for name, shape in SPEC.shapes.items()}


def test_a_run_starts_from_what_the_release_in_service_merged(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    before, plan = make_plan("run-1", STORES), make_plan("run-2", STORES)
    files.save(files.adapter("run-1", before.rounds), full(1.0))
    for start, wanted in ((None, 0.5), (0.5, 0.75)):
        if start is not None:
            files.save(files.adapter("run-1", 0), full(start))
        found = start_from(release_of("run-1", 0.5), plan, operations_with(before), files)
        assert found == "rel-1"
        laid = files.load(files.adapter("run-2", 0), SPEC)
        assert laid is not None
        for name, array in full(wanted).items():
            np.testing.assert_array_equal(laid[name], array)


def test_it_starts_from_the_base_model_where_nothing_fits(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    before, plan = make_plan("run-1", STORES), make_plan("run-2", STORES)
    files.save(files.adapter("run-1", before.rounds), full(1.0))
    other = replace(plan, spec={**plan.spec, "scale": 7.0})
    assert start_from(None, plan, operations_with(before), files) == ""
    assert start_from(release_of("run-1", 1.0), other, operations_with(before), files) == ""
    assert not files.adapter("run-2", 0).exists()


def test_a_release_whose_adapter_is_lost_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    before, plan = make_plan("run-1", STORES), make_plan("run-2", STORES)
    with pytest.raises(NotVerified, match="the adapter is missing"):
        start_from(release_of("run-1", 1.0), plan, operations_with(before), files)
