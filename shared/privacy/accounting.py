"""Epsilon of composed events, and the least noise that keeps a target; both through dp-accounting.

The figure that we claim and hold against the caps is that of the privacy-loss-distribution
accountant (``pld``), a pessimistic, near-tight bound; the Renyi accountant's (``rdp``) is printed
beside it. Events are composed; epsilons are never added.

A Gaussian of noise multiplier sigma that is composed T times is exactly one Gaussian of
sigma / sqrt(T) (Dong, Roth, Su 2019), so all ``gaussian`` events become one before dp-accounting
sees them.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Literal

import dp_accounting
from dp_accounting import gaussian_mechanism
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from shared.errors import BudgetRefused, Refused
from shared.privacy.events import (
    GAUSSIAN,
    POISSON_GAUSSIAN,
    POISSON_TRUNCATED_GAUSSIAN,
    Event,
)

Accountant = Literal["pld", "rdp"]
ACCOUNTANTS: tuple[Accountant, ...] = ("pld", "rdp")
CLAIMED: Accountant = "pld"

FINE = 1e-4
"""Cell of the privacy loss grid for a claimed figure; a wider one is more pessimistic."""
COARSE = 1e-3
"""The same while searching for sigma."""
_FINE_UP_TO = 16.0
_GIVE_UP_AT = 1e4
_GRID = 1000
"""Sigma is planned in steps of 1/1000."""
_START = 4 * _GRID
_MOST = 10**6 * _GRID

_Cost = Callable[[float, float, Accountant], float]
"""Epsilon at a sigma, a cell width and an accountant."""
_Part = tuple[str, float, float, int]
"""Kind, noise multiplier, sample rate, steps; one part for all gaussian events together."""


def accountant_name() -> str:
    """Return which accountant of which library version makes the claimed figure."""
    return f"{CLAIMED}, beside rdp; dp-accounting {version('dp-accounting')}"


def _merged(events: Iterable[Event], stores_per_customer: int) -> tuple[_Part, ...]:
    """Return the events in a normal form that does not depend on their order."""
    precision: list[float] = []
    steps: dict[tuple[str, float, float], int] = {}
    for event in events:
        times = event.steps * stores_per_customer
        if event.kind == GAUSSIAN:
            precision.append(times / event.noise_multiplier**2)
        else:
            key = (event.kind, float(event.noise_multiplier), float(event.sample_rate))
            steps[key] = steps.get(key, 0) + times
    parts: list[_Part] = [(*key, count) for key, count in sorted(steps.items())]
    if precision:
        parts.insert(0, (GAUSSIAN, 1 / math.sqrt(math.fsum(precision)), 1.0, 1))
    return tuple(parts)


def _dp_event(part: _Part) -> Any:  # noqa: ANN401 - dp-accounting has no types
    """Return dp-accounting's event of one step."""
    kind, sigma, rate, _ = part
    if kind == GAUSSIAN:
        return dp_accounting.GaussianDpEvent(sigma)
    if kind == POISSON_GAUSSIAN:
        return dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
    if kind == POISSON_TRUNCATED_GAUSSIAN:
        # See the charter in shared.privacy.events: a cut may move the sum by 2 C.
        return dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma / 2))
    raise Refused(f"no accounting for events of kind {kind!r}", remedy="plan another sampling")


def _composed(accountant: Any, parts: Sequence[_Part], delta: float) -> float:  # noqa: ANN401
    for part in parts:
        accountant.compose(_dp_event(part), part[3])
    return float(accountant.get_epsilon(delta))


def _not_about_orders(record: logging.LogRecord) -> bool:
    """Drop the library's word that it left out an order: leaving one out is pessimistic only."""
    return "failed to converge" not in record.getMessage()


@lru_cache(maxsize=4096)
def _rdp(parts: tuple[_Part, ...], delta: float) -> float:
    log = logging.getLogger("absl")
    log.addFilter(_not_about_orders)
    try:
        return _composed(RdpAccountant(), parts, delta)
    finally:
        log.removeFilter(_not_about_orders)


@lru_cache(maxsize=4096)
def _pld(parts: tuple[_Part, ...], delta: float, cell: float) -> float:
    rough = _rdp(parts, delta)
    if not rough < _GIVE_UP_AT:
        # The grid would not fit in memory; the Renyi figure is an upper bound too.
        return rough
    width = cell * max(1.0, rough / _FINE_UP_TO)
    return _composed(PLDAccountant(value_discretization_interval=width), parts, delta)


def check_delta(delta: float) -> float:
    """Return ``delta`` where it is a number above 0 and below 1; else raise ``Refused``."""
    if not isinstance(delta, float) or not 0 < delta < 1:
        raise Refused(f"delta is {delta!r}, must be above 0 and below 1", remedy="mend the plan")
    return delta


def epsilon(
    events: Iterable[Event],
    delta: float,
    *,
    accountant: Accountant = CLAIMED,
    stores_per_customer: int = 1,
    cell: float = FINE,
) -> float:
    """Return the epsilon of all ``events`` composed, at ``delta``, per customer, add-or-remove-one.

    Args:
        events: what was done to the same customers; an empty sequence costs 0.
        delta: in (0, 1).
        accountant: ``pld`` (claimed) or ``rdp`` (printed beside).
        stores_per_customer: m; a customer in m stores is charged as if each of them had done this.
        cell: width of the privacy loss grid; only ``pld`` has one.

    Raises:
        Refused: delta out of range, unknown accountant, m below 1.
    """
    check_delta(delta)
    if stores_per_customer < 1:
        raise Refused(f"stores_per_customer is {stores_per_customer!r}, must be at least 1")
    parts = _merged(events, stores_per_customer)
    if not parts:
        return 0.0
    if accountant == "rdp":
        return _rdp(parts, delta)
    if accountant == "pld":
        return _pld(parts, delta, cell)
    raise Refused(f"unknown accountant {accountant!r}", remedy="use pld or rdp")


def _up(sigma: float) -> float:
    """Return ``sigma`` rounded up to a thousandth."""
    return math.ceil(sigma * _GRID - 1e-9) / _GRID


def cheapest_sigma(
    *,
    steps_total: int,
    sample_rate: float,
    cap: int = 0,
    already: Sequence[Event] = (),
    target_epsilon: float,
    delta: float,
    min_sigma: float,
    stores_per_customer: int = 1,
) -> float:
    """Return the least noise multiplier (rounded up to 0.001) that keeps the target.

    That is: ``already`` composed with ``steps_total`` steps costs at most ``target_epsilon`` at
    ``delta`` by the PLD accountant. ``sample_rate`` 1 plans whole batches; less plans Poisson
    sampling, cut at ``cap`` where that is above 0.

    Raises:
        BudgetRefused: ``already`` leaves nothing of the target.
        Refused: a number is out of range.
    """
    check_delta(delta)
    if not (math.isfinite(target_epsilon) and target_epsilon > 0):
        raise Refused(f"the target epsilon is {target_epsilon!r}, must be finite and above 0")
    spent = epsilon(already, delta, stores_per_customer=stores_per_customer)
    if spent >= target_epsilon:
        raise BudgetRefused(
            f"epsilon {spent:.4g} of {target_epsilon:.4g} is spent, nothing is left",
            remedy="wait for the next quarter or year",
            spent=spent,
            cap=target_epsilon,
        )
    sampled = POISSON_TRUNCATED_GAUSSIAN if cap else POISSON_GAUSSIAN
    kind = GAUSSIAN if sample_rate == 1 else sampled
    template = Event(
        kind=kind,
        noise_multiplier=1.0,
        sample_rate=sample_rate,
        cap=cap if kind == POISSON_TRUNCATED_GAUSSIAN else 0,
        steps=steps_total,
    )

    def cost(sigma: float, cell: float, accountant: Accountant) -> float:
        return epsilon(
            (*already, replace(template, noise_multiplier=sigma)),
            delta,
            accountant=accountant,
            stores_per_customer=stores_per_customer,
            cell=cell,
        )

    gaussian_only = kind == GAUSSIAN and all(event.kind == GAUSSIAN for event in already)
    if gaussian_only:
        sigma = _gaussian_start(
            already, steps_total * stores_per_customer, stores_per_customer, target_epsilon, delta
        )
        sigma = _up(max(sigma, min_sigma))
    else:
        sigma = _search(cost, target_epsilon, _up(max(min_sigma, 1 / _GRID)))
    while cost(sigma, FINE, CLAIMED) > target_epsilon:
        sigma = _up(sigma * (1 + 1e-5) + 1 / _GRID)
    return sigma


def _gaussian_start(
    already: Sequence[Event], times: int, stores_per_customer: int, target: float, delta: float
) -> float:
    """Return sigma by the closed formula (Balle, Wang 2018), exact but for rounding."""
    allowed = 1 / gaussian_mechanism.get_sigma_gaussian(target, delta) ** 2
    used = math.fsum(
        event.steps * stores_per_customer / event.noise_multiplier**2 for event in already
    )
    left = max(allowed - used, allowed * 1e-12)
    return float(math.sqrt(times / left))


def _search(cost: _Cost, target: float, lowest: float) -> float:
    """Return the least multiple of 0.001 from ``lowest`` up that keeps the target on a coarse grid.

    The Renyi accountant is quick and never below the PLD one, so it finds where to look.
    """
    low = round(lowest * _GRID)
    high = max(low, _START)
    while cost(high / _GRID, COARSE, "rdp") > target:
        high *= 2
        if high > _MOST:
            raise BudgetRefused(
                "no noise is enough for what is left", remedy="wait for the next quarter"
            )
    while high > low and cost(max(high // 2, low) / _GRID, COARSE, "pld") <= target:
        high = max(high // 2, low)
    low = max(high // 2, low)
    while high - low > 1:
        middle = (low + high) // 2
        if cost(middle / _GRID, COARSE, "pld") <= target:
            high = middle
        else:
            low = middle
    return high / _GRID
