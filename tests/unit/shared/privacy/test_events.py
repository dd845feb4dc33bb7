"""Events: the charter of kinds is kept, and what cannot be accounted for is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Refused
from shared.privacy.events import Event, event_of
from tests.unit.shared.privacy.made import WHOLE, noisier


def test_each_sampling_has_its_kind() -> None:
    poisson = noisier(WHOLE, sampling="poisson_truncated", sample_rate=0.1, batch_cap=200)
    assert event_of(WHOLE).kind == "gaussian"
    assert event_of(poisson).kind == "poisson_truncated_gaussian"
    assert event_of(poisson).cap == 200
    assert event_of(WHOLE, cohort="c", steps=40).steps == 40


def test_the_persisted_form_never_changes() -> None:
    assert event_of(WHOLE, cohort="c").as_dict() == {
        "kind": "gaussian",
        "noise_multiplier": 7.0,
        "sample_rate": 1.0,
        "cap": 0,
        "steps": 4,
        "cohort": "c",
        "unit": "customer",
        "adjacency": "add-or-remove-one",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "laplace"},
        {"unit": "record"},
        {"adjacency": "replace-one"},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": math.inf},
        {"noise_multiplier": 0.0},
        {"sample_rate": 0.5},
        {"steps": 0},
        {"steps": True},
        {"steps": 1.5},
        {"cap": 3},
        {"kind": "poisson_truncated_gaussian"},
        {"colour": "red"},
    ],
)
def test_what_cannot_be_accounted_for_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refused):
        Event.from_dict({**event_of(WHOLE).as_dict(), **change})


@pytest.mark.parametrize("sampling", ["shuffled", "poisson", "Whole", ""])
def test_a_sampling_that_the_trainer_does_not_do_is_refused(sampling: str) -> None:
    with pytest.raises(Refused, match="unknown sampling"):
        event_of(noisier(WHOLE, sampling=sampling))


@given(
    sigma=st.floats(0.1, 1e3),
    rate=st.floats(0.001, 1.0),
    cap=st.integers(1, 10**6),
    steps=st.integers(1, 10**6),
)
def test_json_form_round_trips(sigma: float, rate: float, cap: int, steps: int) -> None:
    event = Event(
        kind="poisson_truncated_gaussian",
        noise_multiplier=sigma,
        sample_rate=rate,
        cap=cap,
        steps=steps,
    )
    assert Event.from_dict(event.as_dict()) == event
