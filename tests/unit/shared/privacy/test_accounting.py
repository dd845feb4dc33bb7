"""Accounting: the reference figures, the closed formula, and what must hold for any numbers."""

import math
from typing import Any

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, norm

from shared.errors import BudgetRefused, Refused
from shared.privacy.accounting import cheapest_sigma, epsilon
from shared.privacy.events import Event
from shared.privacy.verify_rules import both_epsilons

QUICK = settings(max_examples=10, deadline=None)


def gaussian(sigma: float, steps: int = 1) -> Event:
    return Event(kind="gaussian", noise_multiplier=sigma, sample_rate=1.0, cap=0, steps=steps)


def poisson(sigma: float, rate: float, steps: int, cap: int = 0) -> Event:
    kind = "poisson_truncated_gaussian" if cap else "poisson_gaussian"
    return Event(kind=kind, noise_multiplier=sigma, sample_rate=rate, cap=cap, steps=steps)


def delta_of(sigma: float, eps: float) -> float:
    """Return delta of one Gaussian at ``eps`` (Balle, Wang 2018, theorem 8)."""
    upper = norm.cdf(1 / (2 * sigma) - eps * sigma)
    lower = math.exp(eps) * norm.cdf(-1 / (2 * sigma) - eps * sigma)
    return float(upper - lower)


@pytest.mark.parametrize(("steps", "rdp", "pld"), [(200, 1.993, 1.806), (800, 4.119, 3.782)])
def test_reference_figures(steps: int, rdp: float, pld: float) -> None:
    event = poisson(1.831, 0.0512, steps)
    assert epsilon([event], 1e-5) == pytest.approx(pld, rel=0.01)
    assert epsilon([event], 1e-5, accountant="rdp") == pytest.approx(rdp, rel=0.01)


@QUICK
@given(sigma=st.floats(0.9, 30.0), delta=st.sampled_from([1e-5, 1e-6, 1e-7]))
def test_gaussian_agrees_with_the_closed_formula(sigma: float, delta: float) -> None:
    exact = brentq(lambda eps: delta_of(sigma, eps) - delta, 0, 60)
    ours = epsilon([gaussian(sigma)], delta)
    assert exact - 1e-6 <= ours <= exact * 1.001 + 1e-4


@QUICK
@given(sigma=st.floats(3.0, 40.0), steps=st.integers(1, 30), more=st.floats(1.01, 2.0))
def test_more_noise_costs_less_and_more_steps_cost_more(
    sigma: float, steps: int, more: float
) -> None:
    for accountant in ("pld", "rdp"):
        kind: Any = accountant
        base = epsilon([gaussian(sigma, steps)], 1e-6, accountant=kind)
        assert epsilon([gaussian(sigma * more, steps)], 1e-6, accountant=kind) <= base
        assert epsilon([gaussian(sigma, steps + 1)], 1e-6, accountant=kind) >= base


@settings(max_examples=5, deadline=None)
@given(rate=st.floats(0.01, 0.2), more=st.floats(1.1, 3.0))
def test_a_higher_sample_rate_costs_more(rate: float, more: float) -> None:
    low = epsilon([poisson(2.0, rate, 20)], 1e-6, cell=1e-3)
    assert epsilon([poisson(2.0, rate * more, 20)], 1e-6, cell=1e-3) >= low
    assert epsilon([gaussian(2.0, 20)], 1e-6, cell=1e-3) >= low


@QUICK
@given(sigma=st.floats(4.0, 40.0), parts=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_composition_depends_on_the_steps_not_on_how_they_are_cut(
    sigma: float, parts: list[int]
) -> None:
    whole = epsilon([gaussian(sigma, sum(parts))], 1e-6)
    assert epsilon([gaussian(sigma, n) for n in parts], 1e-6) == pytest.approx(whole, rel=1e-6)
    assert epsilon([gaussian(sigma / math.sqrt(sum(parts)))], 1e-6) == pytest.approx(whole)
    assert whole <= sum(epsilon([gaussian(sigma, n)], 1e-6) for n in parts) + 1e-9


def test_a_customer_in_two_stores_pays_twice() -> None:
    twice = epsilon([gaussian(9.0, 4)], 1e-6, stores_per_customer=2)
    assert twice == pytest.approx(epsilon([gaussian(9.0, 8)], 1e-6))


def truncated_outputs(
    customers: int, rate: float, cap: int, sigma: float
) -> tuple[Any, Any, float]:
    """Return densities of one truncated step on a grid, without and with a customer, and its cell.

    The worst case in one dimension: everybody's clipped gradient is -1, the customer's is +1.
    """
    sizes = np.arange(customers + 1)
    weight = binom.pmf(sizes, customers, rate)
    kept = np.minimum(sizes, cap)
    grid, cell = np.linspace(-cap - 12 * sigma, 2 + 12 * sigma, 20_001, retstep=True)

    absent = norm.pdf(grid[:, None], loc=-kept[None, :], scale=sigma) @ weight
    joins = np.where(sizes < cap, 1.0, cap / (sizes + 1))
    pushed_out = np.where(sizes < cap, -sizes + 1, -cap + 2)
    stays = norm.pdf(grid[:, None], loc=-kept[None, :], scale=sigma) @ (weight * (1 - joins))
    comes = norm.pdf(grid[:, None], loc=pushed_out[None, :], scale=sigma) @ (weight * joins)
    return absent, (1 - rate) * absent + rate * (stays + comes), float(cell)


@pytest.mark.parametrize("customers", [20, 60, 100, 300])
def test_truncation_is_charged_for_at_any_number_of_customers(customers: int) -> None:
    rate, cap, sigma = 0.1, 6, 2.0
    absent, present, cell = truncated_outputs(customers, rate, cap, sigma)
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma / 2))
    charged = PLDAccountant().compose(event)
    for eps in (0.05, 0.2, 0.5, 1.0):
        for p, q in ((absent, present), (present, absent)):
            delta = np.maximum(p - math.exp(eps) * q, 0).sum() * cell
            assert delta <= charged.get_delta(eps) + 1e-9


def test_a_cap_is_charged_with_half_the_noise() -> None:
    capped = epsilon([poisson(4.0, 0.1, 10, cap=100)], 1e-6)
    assert capped == pytest.approx(epsilon([poisson(2.0, 0.1, 10)], 1e-6))


def test_the_verifiers_own_arithmetic_agrees() -> None:
    events = [gaussian(9.0, 8), poisson(4.0, 0.05, 50, cap=90), poisson(3.0, 0.02, 20)]
    steps = tuple((e.kind, e.noise_multiplier, e.sample_rate, e.steps) for e in events)
    pld, rdp = both_epsilons(steps, 1e-6)
    assert epsilon(events, 1e-6) == pytest.approx(pld, rel=0.01)
    assert epsilon(events, 1e-6, accountant="rdp") == pytest.approx(rdp, rel=0.01)


def test_nothing_costs_nothing() -> None:
    assert epsilon([], 1e-6) == 0.0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, math.nan, math.inf])
def test_a_delta_out_of_range_is_refused(delta: float) -> None:
    with pytest.raises(Refused):
        epsilon([gaussian(2.0)], delta)


def test_a_hostile_number_of_steps_is_priced_at_once() -> None:
    assert epsilon([gaussian(0.7, 10**12)], 1e-6) > 1e4


@QUICK
@given(
    steps=st.integers(1, 60),
    target=st.floats(0.3, 4.0),
    spent=st.one_of(st.none(), st.floats(15.0, 40.0)),
)
def test_cheapest_sigma_keeps_the_target_and_wastes_nothing(
    steps: int, target: float, spent: float | None
) -> None:
    already = [] if spent is None else [gaussian(spent * 2)]
    sigma = cheapest_sigma(
        steps_total=steps,
        sample_rate=1.0,
        already=already,
        target_epsilon=target,
        delta=1e-6,
        min_sigma=0.7,
    )
    assert round(sigma * 1000) == pytest.approx(sigma * 1000)
    assert epsilon([*already, gaussian(sigma, steps)], 1e-6) <= target
    if sigma > 0.7:
        less = gaussian(sigma * 0.999 - 0.002, steps)
        assert epsilon([*already, less], 1e-6) > target


def test_cheapest_sigma_for_sampling_after_whole_batches() -> None:
    already = [gaussian(12.0, 8)]
    asked: dict[str, Any] = {"steps_total": 20, "sample_rate": 0.05, "cap": 120}
    sigma = cheapest_sigma(**asked, already=already, target_epsilon=1.9, delta=1e-6, min_sigma=0.7)
    assert epsilon([*already, poisson(sigma, 0.05, 20, cap=120)], 1e-6) <= 1.9
    assert epsilon([*already, poisson(sigma * 0.99, 0.05, 20, cap=120)], 1e-6) > 1.9


def test_cheapest_sigma_never_falls_below_the_policy() -> None:
    sigma = cheapest_sigma(
        steps_total=1, sample_rate=1.0, target_epsilon=50.0, delta=1e-6, min_sigma=0.7
    )
    assert sigma == 0.7


def test_nothing_left_is_refused() -> None:
    with pytest.raises(BudgetRefused, match="nothing is left"):
        cheapest_sigma(
            steps_total=1,
            sample_rate=1.0,
            already=[gaussian(2.0)],
            target_epsilon=1.0,
            delta=1e-6,
            min_sigma=0.7,
        )
