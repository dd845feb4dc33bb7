"""A plan survives JSON to the last bit, and rounds move by the table."""

import json
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import IllegalMove
from shared.rounds import ROUND_MOVES, Mechanism, RoundState, RunPlan, StoreShare, check_round_move

finite = st.floats(min_value=1e-9, max_value=1e6)
mechanisms = st.builds(
    Mechanism,
    sampling=st.sampled_from(["whole", "poisson_truncated"]),
    sample_rate=st.floats(min_value=1e-6, max_value=1.0),
    batch_cap=st.integers(0, 10_000),
    steps=st.integers(1, 1000),
    sigma=finite,
    clip=finite,
    texts_per_customer=st.integers(1, 10),
    batch_constant=st.integers(1, 100_000),
    learning_rate=finite,
)
MECHANISM = Mechanism(
    sampling="whole",
    sample_rate=1.0,
    batch_cap=0,
    steps=8,
    sigma=9.8,
    clip=1.0,
    texts_per_customer=1,
    batch_constant=2000,
    learning_rate=0.05,
)


def plan(mechanism: Mechanism = MECHANISM) -> RunPlan:
    shares = tuple(
        StoreShare(
            store_id=name,
            cohort=f"{name}-2026",
            public_customers=2000,
            delta=1e-6,
            mechanism=mechanism,
            epsilon=1.8,
        )
        for name in ("leeds", "hangzhou")
    )
    return RunPlan(
        run_id="run-1",
        federation="storeweave",
        created="2026-11-23T12:00:00.000Z",
        rounds=2,
        shares=shares,
        unit="customer",
        adjacency="add-or-remove-one",
        noise="store",
        spec={"rank": 4},
        privacy_digest="0" * 64,
        quorum=1,
        deadline_s=900.0,
        server_momentum=0.0,
        estimated_minutes=1.5,
        bytes_up=100,
        bytes_down=100,
    )


@given(mechanisms)
def test_a_plan_comes_back_from_json_with_the_same_digest(mechanism: Mechanism) -> None:
    sent = plan(mechanism)
    again = RunPlan.from_dict(json.loads(json.dumps(sent.as_dict())))
    assert again == sent
    assert again.digest == sent.digest


@pytest.mark.parametrize("name", ["sigma", "clip", "sample_rate", "steps", "batch_constant"])
def test_the_digest_sees_what_decides_the_privacy(name: str) -> None:
    other = replace(MECHANISM, **{name: getattr(MECHANISM, name) * 2})
    assert plan(other).digest != plan().digest


def test_unknown_and_missing_fields_are_errors() -> None:
    with pytest.raises(TypeError):
        Mechanism.from_dict({**MECHANISM.as_dict(), "extra": 1})
    with pytest.raises(TypeError):
        Mechanism.from_dict({"sigma": 1.0})


def test_names_of_rounds_and_shares() -> None:
    made = plan()
    assert made.round_id(2) == "run-1.r2"
    share = made.share("hangzhou")
    assert share is not None
    assert share.cohort == "hangzhou-2026"
    assert made.share("nowhere") is None


@pytest.mark.parametrize(("now", "then"), list(product(RoundState, RoundState)))
def test_rounds_move_by_the_table_alone(now: RoundState, then: RoundState) -> None:
    if then in ROUND_MOVES[now]:
        check_round_move(now, then)
    else:
        with pytest.raises(IllegalMove, match=f"from {now} to {then}"):
            check_round_move(now, then)


def test_nothing_is_dispatched_unreserved_and_nothing_given_back_after() -> None:
    for state in RoundState:
        if state is not RoundState.RESERVED:
            assert RoundState.DISPATCHED not in ROUND_MOVES[state]
    assert RoundState.CANCELLED not in ROUND_MOVES[RoundState.DISPATCHED]
