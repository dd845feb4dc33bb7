"""Tests of slots and their moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput, IllegalMove
from shared.releases import RolloutStage
from store_node.serving.slots import Slot, SlotTable, percentile, takes_canary


def slot(name: str) -> Slot[str]:
    return Slot(release_id=name, digest=f"digest of {name}", payload=name, load_s=0.1)


def with_canary(percent: int = 10) -> SlotTable[str]:
    table = SlotTable(slot("a"))
    table.stage(slot("b"))
    table.warmed("b")
    table.set_weight("b", percent)
    return table


def served(table: SlotTable[str], release: str = "", key: str = "k") -> str:
    taken = table.take(release, key)
    table.done(taken, failed=False, latency_s=0.01)
    return taken.release_id


def test_a_staged_release_gets_no_traffic_until_it_is_warm_and_has_weight() -> None:
    table = SlotTable(slot("a"))
    table.stage(slot("b"))
    with pytest.raises(IllegalMove, match="staged"):
        table.set_weight("b", 10)
    with pytest.raises(IllegalMove):
        table.promote("b")
    assert {served(table, key=str(n)) for n in range(100)} == {"a"}
    assert served(table, "b") == "b"


def test_the_canary_gets_its_share_and_a_key_keeps_its_side() -> None:
    table = with_canary(10)
    first = {n: served(table, key=f"session {n}") for n in range(2000)}
    assert 0.07 < sum(name == "b" for name in first.values()) / 2000 < 0.13
    assert all(served(table, key=f"session {n}") == first[n] for n in range(200))
    table.set_weight("b", 50)
    assert all(served(table, key=f"session {n}") == "b" for n in first if first[n] == "b")
    table.set_weight("b", 100)
    assert {served(table, key=str(n)) for n in range(100)} == {"b"}


@given(st.text(), st.text(min_size=1), st.integers(0, 100))
def test_more_weight_never_takes_a_key_away(key: str, release: str, percent: int) -> None:
    if takes_canary(key, release, percent):
        assert all(takes_canary(key, release, more) for more in range(percent, 101))
    assert not takes_canary(key, release, 0)
    assert takes_canary(key, release, 100)


def test_promote_keeps_the_former_for_rollback_and_rollback_returns_to_it() -> None:
    table = with_canary()
    table.promote("b")
    view = table.view()
    assert (view.stable, view.canary) == ("b", "")
    assert {one.release_id: one.stage for one in view.slots} == {
        "b": RolloutStage.STABLE,
        "a": RolloutStage.RETIRED,
    }
    table.rollback()
    assert table.view().stable == "a"
    assert served(table) == "a"
    assert [left.release_id for left in table.drained()] == ["b"]
    with pytest.raises(IllegalMove, match="go back"):
        table.rollback()


def test_rollback_with_a_canary_drops_the_canary_only() -> None:
    table = with_canary()
    table.rollback()
    assert (table.view().stable, table.view().canary) == ("a", "")
    assert {served(table, key=str(n)) for n in range(50)} == {"a"}
    with pytest.raises(BadInput, match="not loaded"):
        served(table, "b")


def test_a_slot_is_freed_once_and_only_after_its_last_request() -> None:
    table = with_canary(100)
    held = table.take("", "k")
    table.rollback()
    assert table.drained() == []
    assert "b" in table.payloads()
    table.done(held, failed=False, latency_s=0.2)
    assert [left.release_id for left in table.drained()] == ["b"]
    assert table.drained() == []


def test_the_third_release_pushes_the_first_out() -> None:
    table = with_canary()
    table.promote("b")
    table.stage(slot("c"))
    with pytest.raises(IllegalMove, match="on its way"):
        table.stage(slot("d"))
    table.warmed("c")
    table.promote("c")
    assert [left.release_id for left in table.drained()] == ["a"]
    assert {one.release_id for one in table.view().slots} == {"b", "c"}


def test_the_former_release_can_be_staged_again() -> None:
    table = with_canary()
    table.promote("b")
    assert table.restage_former("a")
    assert table.view().canary == "a"
    assert not table.restage_former("x")


def test_counts_and_percentiles_of_the_canary_begin_anew_with_its_weight() -> None:
    table = with_canary(100)
    for latency, failed in ((0.1, False), (0.2, True), (0.3, False)):
        table.done(table.take("", "k"), failed=failed, latency_s=latency)
    view = next(one for one in table.view().slots if one.release_id == "b")
    assert (view.requests, view.errors, view.p50_s, view.p99_s) == (3, 1, 0.2, 0.3)
    table.set_weight("b", 50)
    view = next(one for one in table.view().slots if one.release_id == "b")
    assert (view.requests, view.p99_s) == (3, 0.0)
    with pytest.raises(BadInput):
        table.set_weight("b", 101)


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.99) == 99
    assert percentile(values, 0.5) == 50
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([], 0.5) == 0.0
