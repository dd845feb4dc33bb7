"""The policy: every rule refuses by name, with what was asked and what is allowed."""

import math
from dataclasses import replace
from typing import Any

import pytest

from shared.config import PrivacySettings
from shared.errors import BudgetRefused, Refused
from shared.privacy.budget import Use, budget_state, check_room, check_share, delta_for
from shared.privacy.events import event_of
from tests.unit.shared.privacy.made import DELTA, POLICY, WHOLE, noisier, plan


def refusal(**share: Any) -> Refused:  # noqa: ANN401 - fields of a StoreShare
    asked = plan(**share)
    with pytest.raises(Refused) as caught:
        check_share(asked, asked.shares[0], POLICY)
    return caught.value


def test_a_plan_within_the_policy_passes() -> None:
    asked = plan()
    check_share(asked, asked.shares[0], POLICY)


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        ("sigma", {"mechanism": noisier(WHOLE, sigma=0.69)}),
        ("sigma", {"mechanism": noisier(WHOLE, sigma=math.nan), "epsilon": 1.0}),
        ("sigma", {"mechanism": noisier(WHOLE, sigma=math.inf), "epsilon": 1.0}),
        ("clip", {"mechanism": noisier(WHOLE, clip=2.0)}),
        ("clip", {"mechanism": noisier(WHOLE, clip=math.nan)}),
        ("texts_per_customer", {"mechanism": noisier(WHOLE, texts_per_customer=3)}),
        ("batch_constant", {"mechanism": noisier(WHOLE, batch_constant=0)}),
        ("steps", {"mechanism": noisier(WHOLE, steps=-1), "epsilon": 1.0}),
        ("public_customers", {"public_customers": 299}),
        ("delta", {"delta": 2e-6}),
        ("delta", {"public_customers": 500_000, "delta": 1e-6}),
        ("delta", {"delta": math.nan, "epsilon": 1.0}),
        ("epsilon", {"epsilon": 0.5}),
        ("epsilon", {"epsilon": math.nan}),
    ],
)
def test_each_rule_refuses_by_name(rule: str, share: dict[str, Any]) -> None:
    error = refusal(**share)
    assert error.facts["rule"] == rule
    assert error.facts["store"] == "s1"
    assert error.remedy


def test_unknown_sampling_and_half_a_whole_batch_are_refused() -> None:
    refusal(mechanism=noisier(WHOLE, sampling="shuffled"), epsilon=1.0)
    refusal(mechanism=noisier(WHOLE, sample_rate=0.5), epsilon=1.0)


def test_another_privacy_table_is_refused() -> None:
    asked = plan()
    other = PrivacySettings(quarter_epsilon=3.0)
    with pytest.raises(Refused, match="privacy digest"):
        check_share(asked, asked.shares[0], other)


@pytest.mark.parametrize("field", ["unit", "adjacency", "noise"])
def test_another_promise_is_refused(field: str) -> None:
    changes: dict[str, Any] = {field: "record"}
    asked = replace(plan(), **changes)
    with pytest.raises(Refused, match=field):
        check_share(asked, asked.shares[0], POLICY)


def test_delta_follows_the_public_count() -> None:
    assert delta_for(POLICY, 1000) == 1e-6
    assert delta_for(POLICY, 1_000_000) == 1e-7


def use(quarter: str, steps: int = 8, delta: float = DELTA) -> Use:
    return Use(quarter=quarter, event=event_of(WHOLE, steps=steps), delta=delta)


def test_the_quarter_caps_and_says_what_is_left() -> None:
    share = plan().shares[0]
    first = check_room(share, [], quarter="2026Q4", rounds=2, policy=POLICY)
    assert first.run == first.quarter == first.year
    with pytest.raises(BudgetRefused) as caught:
        check_room(share, [use("2026Q4")], quarter="2026Q4", rounds=2, policy=POLICY)
    facts = caught.value.facts
    assert facts["rule"] == "quarter_cap"
    assert facts["spent"] == pytest.approx(first.run[0])
    assert 0 < float(str(facts["left"])) < float(str(facts["asked"]))
    check_room(share, [use("2026Q3")], quarter="2026Q4", rounds=2, policy=POLICY)


def test_the_year_caps_over_all_quarters_and_ends() -> None:
    tight = PrivacySettings(year_epsilon=2.5)
    share = plan(policy=tight).shares[0]
    spent = [use("2026Q1"), use("2026Q2")]
    with pytest.raises(BudgetRefused, match="in 2026 "):
        check_room(share, spent, quarter="2026Q4", rounds=2, policy=tight)
    check_room(share, spent, quarter="2027Q1", rounds=2, policy=tight)


def test_the_smallest_delta_counts() -> None:
    state = budget_state(
        "c", [use("2026Q4", delta=1e-7)], quarter="2026Q4", policy=POLICY, delta=1e-6
    )
    assert state.delta == 1e-7


def test_what_is_left_is_what_one_more_run_may_cost() -> None:
    state = budget_state("c", [use("2026Q4")], quarter="2026Q4", policy=POLICY, delta=DELTA)
    assert state.quarter_left < POLICY.quarter_epsilon
    assert state.quarter_left > POLICY.quarter_epsilon - state.quarter_spent
    assert state.left == state.quarter_left
    full = [use("2026Q4", steps=80)]
    spent = budget_state("c", full, quarter="2026Q4", policy=POLICY, delta=DELTA)
    assert spent.left == 0.0
