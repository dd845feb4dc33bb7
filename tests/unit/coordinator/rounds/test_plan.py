"""Planning: the least noise that keeps what is wanted and what is left; refusals by name."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.ports import EnrolledStore
from coordinator.rounds.plan import FRAMING_PER_TENSOR, make_plan
from shared.adapters import AdapterSpec
from shared.clock import FixedClock
from shared.config import PrivacySettings, RoundSettings, Settings
from shared.errors import BudgetRefused, Refused
from shared.keys import SigningKey
from shared.privacy.accounting import epsilon
from shared.privacy.budget import check_share
from shared.privacy.events import event_of
from shared.privacy.ledger import Ledger
from shared.rounds import RunPlan

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = SigningKey.generate()
SPEC = AdapterSpec(
    kind="rxr",
    rank=8,
    scale=1.0,
    upper_layers=1,
    targets=("q_proj", "v_proj"),
    factor_seed=1,
    base_digest="0" * 64,
    shapes={"model.layers.0.self_attn.q_proj": (8, 8), "model.layers.0.self_attn.v_proj": (8, 8)},
)


def store(store_id: str, customers: int = 1000) -> EnrolledStore:
    return EnrolledStore(
        store_id=store_id,
        name=store_id,
        lang="en",
        cohort=f"{store_id}-customers",
        ledger_key="",
        node_key="",
        public_customers=customers,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    clock = FixedClock(NOW)
    with Ledger.open(tmp_path / "ledger.db", owner="hq", key=KEY, clock=clock) as opened:
        yield opened


def planned(
    ledger: Ledger,
    *stores: EnrolledStore,
    settings: Settings | None = None,
    seconds_per_step: float | None = None,
) -> RunPlan:
    return make_plan(
        settings=settings or Settings(),
        stores=stores or (store("a"), store("b", 20_000)),
        spec=SPEC,
        ledger=ledger,
        now=NOW,
        seconds_per_step=seconds_per_step,
    )


def test_a_fresh_plan_spends_what_is_wanted_and_no_more(ledger: Ledger) -> None:
    settings = Settings()
    plan = planned(ledger, seconds_per_step=3.0)
    assert [share.store_id for share in plan.shares] == ["a", "b"]
    for share in plan.shares:
        assert 0.99 * settings.rounds.epsilon < share.epsilon <= settings.rounds.epsilon
        assert share.mechanism.sampling == "whole"
        assert share.mechanism.batch_constant == share.public_customers
        check_share(plan, share, settings.privacy)
    assert (plan.shares[0].delta, plan.shares[1].delta) == (1e-6, 1e-6)
    assert plan.bytes_up > SPEC.payload_bytes + 2 * FRAMING_PER_TENSOR
    assert plan.estimated_minutes == pytest.approx(
        settings.rounds.rounds * (settings.rounds.steps * 3 + 7) / 60, abs=0.01
    )
    assert RunPlan.from_dict(plan.as_dict()) == plan


def test_two_default_runs_fit_in_a_quarter_and_a_third_is_refused(ledger: Ledger) -> None:
    policy, wanted = PrivacySettings(), Settings().rounds.epsilon
    for _ in range(2):
        plan = planned(ledger)
        assert all(0.99 * wanted < share.epsilon <= wanted for share in plan.shares)
        ledger.reserve(plan, store_ids=("a", "b"), policy=policy)
    spent = ledger.budget("a-customers", policy).quarter_spent
    assert 1.9 < spent <= policy.quarter_epsilon
    with pytest.raises(BudgetRefused, match=r"what is left of cohort 'a-customers'") as caught:
        planned(ledger)
    assert caught.value.facts["store"] == "a"
    assert float(str(caught.value.facts["allowed"])) < 0.5 * wanted
    assert planned(ledger, store("c")).shares[0].epsilon > 0.99 * wanted


def test_a_run_takes_what_is_left_unless_that_is_less_than_half_of_what_is_asked(
    ledger: Ledger,
) -> None:
    def asked(epsilon: float) -> Settings:
        return Settings(rounds=RoundSettings(epsilon=epsilon))

    first = planned(ledger, settings=asked(1.8))
    ledger.reserve(first, store_ids=("a", "b"), policy=PrivacySettings())
    assert 0.6 < planned(ledger, settings=asked(1.2)).shares[0].epsilon < 1.2
    with pytest.raises(BudgetRefused, match=r"asked, and what is left .* allows 0\.7"):
        planned(ledger, settings=asked(1.8))


def test_nothing_left_is_refused_with_the_store_named(ledger: Ledger) -> None:
    policy = PrivacySettings()
    for _ in range(2):
        plan = planned(ledger)
        ledger.reserve(plan, store_ids=("a", "b"), policy=policy)
    tight = Settings(privacy=PrivacySettings(quarter_epsilon=1.5))
    with pytest.raises(BudgetRefused, match=r"allows 0\.000") as caught:
        planned(ledger, settings=tight)
    assert caught.value.facts["store"] == "a"


def test_the_year_counts_too(ledger: Ledger) -> None:
    settings = Settings(privacy=PrivacySettings(year_epsilon=1.0))
    assert planned(ledger, settings=settings).shares[0].epsilon <= 1.0


def test_sampling_less_than_the_whole_batch(ledger: Ledger) -> None:
    settings = Settings(rounds=RoundSettings(sample_rate=0.05, steps=4))
    plan = planned(ledger, store("a", 2000), settings=settings)
    mechanism = plan.shares[0].mechanism
    assert mechanism.sampling == "poisson_truncated"
    assert mechanism.batch_constant == 100
    assert mechanism.batch_cap == 180
    run = event_of(mechanism, steps=8)
    assert plan.shares[0].epsilon == epsilon([run], plan.shares[0].delta)
    check_share(plan, plan.shares[0], settings.privacy)


def test_customers_in_several_stores_need_more_noise(ledger: Ledger) -> None:
    settings = Settings(privacy=PrivacySettings(stores_per_customer=2))
    one = planned(ledger).shares[0].mechanism.sigma
    two = planned(ledger, settings=settings).shares[0].mechanism.sigma
    assert two == pytest.approx(one * 2**0.5, rel=1e-3)


def test_a_small_store_is_refused_by_name(ledger: Ledger) -> None:
    with pytest.raises(Refused, match="299 customers") as caught:
        planned(ledger, store("a"), store("tiny", 299))
    assert "tiny" in str(caught.value)
    assert caught.value.facts["min_customers"] == 300


@pytest.mark.parametrize(
    "stores",
    [
        (store("a"), store("a")),
        (store("a"), replace(store("b"), cohort="a-customers")),
    ],
)
def test_a_store_or_cohort_twice_is_refused(
    ledger: Ledger, stores: tuple[EnrolledStore, ...]
) -> None:
    with pytest.raises(Refused):
        planned(ledger, *stores)


def test_no_stores_and_too_high_a_quorum_are_refused(ledger: Ledger) -> None:
    with pytest.raises(Refused, match="no store"):
        make_plan(settings=Settings(), stores=(), spec=SPEC, ledger=ledger, now=NOW)
    with pytest.raises(Refused, match="quorum"):
        planned(ledger, settings=Settings(rounds=RoundSettings(quorum=3)))
