"""What a cohort may still spend, and which plans are refused before anything is spent.

A cohort names a set of people. Two stores that name the same cohort share its budget; stores with
different customers name different cohorts and compose in parallel. Quarters and years are those of
the calendar in UTC, by the time of the reservation.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.config import PrivacySettings, privacy_digest
from shared.errors import BudgetRefused, Refused
from shared.privacy.accounting import COARSE, cheapest_sigma, epsilon
from shared.privacy.events import Event, event_of
from shared.rounds import RunPlan, StoreShare

TOLERANCE = 1e-6
"""Relative; two machines may differ in the last digits of the same figure."""
CLAIM_TOLERANCE = 0.01
"""A plan's own figure may be this much (relative) below ours."""


def delta_for(policy: PrivacySettings, public_customers: int) -> float:
    """Return the largest delta allowed: min(max_delta, 1 / (10 x public customers))."""
    return min(policy.max_delta, 1.0 / (10 * public_customers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One round's use of a cohort's data as the budget sees it."""

    quarter: str
    event: Event
    delta: float

    @property
    def year(self) -> str:
        """The calendar year, four digits."""
        return self.quarter[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What a cohort has spent and what is left, per customer (add-or-remove-one), at ``delta``.

    ``delta`` is the smallest of all that count. ``…_spent`` are by the PLD accountant, ``…_rdp``
    by the Renyi accountant. ``…_left`` is the epsilon that one more whole-batch run may cost by
    itself; epsilons do not add, so it is more than cap minus spent.
    """

    cohort: str
    quarter: str
    year: str
    delta: float
    unit: str
    adjacency: str
    quarter_cap: float
    quarter_spent: float
    quarter_rdp: float
    quarter_left: float
    year_cap: float
    year_spent: float
    year_rdp: float
    year_left: float
    quarter_events: tuple[Event, ...]
    year_events: tuple[Event, ...]

    @property
    def left(self) -> float:
        """What quarter and year both leave."""
        return min(self.quarter_left, self.year_left)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        out["quarter_events"] = [event.as_dict() for event in self.quarter_events]
        out["year_events"] = [event.as_dict() for event in self.year_events]
        out["left"] = self.left
        return out


def left_of(
    events: Sequence[Event], cap: float, delta: float, stores_per_customer: int = 1
) -> float:
    """Return the epsilon that one more whole-batch release may cost by itself, or 0."""
    try:
        sigma = cheapest_sigma(
            steps_total=1,
            sample_rate=1.0,
            already=events,
            target_epsilon=cap,
            delta=delta,
            min_sigma=0.0,
            stores_per_customer=stores_per_customer,
        )
    except BudgetRefused:
        return 0.0
    event = Event(kind="gaussian", noise_multiplier=sigma, sample_rate=1.0, cap=0, steps=1)
    return epsilon([event], delta, stores_per_customer=stores_per_customer, cell=COARSE)


def budget_state(
    cohort: str, uses: Iterable[Use], *, quarter: str, policy: PrivacySettings, delta: float
) -> BudgetState:
    """Return the state of a cohort's budget in ``quarter`` from everything that counts as spent."""
    counted = [use for use in uses if use.year == quarter[:4]]
    delta = min([delta, *(use.delta for use in counted)])
    in_year = tuple(use.event for use in counted)
    in_quarter = tuple(use.event for use in counted if use.quarter == quarter)
    m = policy.stores_per_customer
    return BudgetState(
        cohort=cohort,
        quarter=quarter,
        year=quarter[:4],
        delta=delta,
        unit=policy.unit,
        adjacency=policy.adjacency,
        quarter_cap=policy.quarter_epsilon,
        quarter_spent=epsilon(in_quarter, delta, stores_per_customer=m),
        quarter_rdp=epsilon(in_quarter, delta, accountant="rdp", stores_per_customer=m),
        quarter_left=left_of(in_quarter, policy.quarter_epsilon, delta, m),
        year_cap=policy.year_epsilon,
        year_spent=epsilon(in_year, delta, stores_per_customer=m),
        year_rdp=epsilon(in_year, delta, accountant="rdp", stores_per_customer=m),
        year_left=left_of(in_year, policy.year_epsilon, delta, m),
        quarter_events=in_quarter,
        year_events=in_year,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a reservation costs by itself, and what the cohort has spent with it."""

    delta: float
    run: tuple[float, float]
    quarter: tuple[float, float]
    year: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: ``{"delta", "run": {"pld", "rdp"}, "quarter": …, "year": …}``."""
        out: dict[str, Any] = {"delta": self.delta}
        for name in ("run", "quarter", "year"):
            pld, rdp = getattr(self, name)
            out[name] = {"pld": pld, "rdp": rdp}
        return out


def check_room(
    share: StoreShare, uses: Iterable[Use], *, quarter: str, rounds: int, policy: PrivacySettings
) -> Figures:
    """Return the figures of a reservation for ``rounds`` rounds, or refuse it.

    Args:
        share: the store's part of the plan.
        uses: everything of the same cohort that counts as spent.
        quarter: in which the reservation falls.
        rounds: how many rounds of ``share.mechanism`` are asked for.
        policy: holds the caps.

    Raises:
        BudgetRefused: the quarter or the year would go over its cap; facts say what was asked,
            spent and left.
    """
    counted = [use for use in uses if use.year == quarter[:4]]
    delta = min([share.delta, *(use.delta for use in counted)])
    asked = event_of(share.mechanism, cohort=share.cohort, steps=share.mechanism.steps * rounds)
    m = policy.stores_per_customer

    def both(events: Sequence[Event], at: float) -> tuple[float, float]:
        return (
            epsilon(events, at, stores_per_customer=m),
            epsilon(events, at, accountant="rdp", stores_per_customer=m),
        )

    spans: dict[str, tuple[float, float]] = {}
    for span, cap, before in (
        ("quarter", policy.quarter_epsilon, [u.event for u in counted if u.quarter == quarter]),
        ("year", policy.year_epsilon, [u.event for u in counted]),
    ):
        after = both([*before, asked], delta)
        if not after[0] <= cap * (1 + TOLERANCE):
            name = quarter if span == "quarter" else quarter[:4]
            left = left_of(before, cap, delta, m)
            raise BudgetRefused(
                f"cohort {share.cohort!r} would have spent epsilon {after[0]:.3f} of {cap:g} "
                f"in {name} (per customer, add-or-remove-one, delta {delta:.2g})",
                where=f"store {share.store_id}",
                remedy=f"plan a run of at most epsilon {left:.2f}"
                if left > 0
                else f"nothing is left; wait for the next {span}",
                rule=f"{span}_cap",
                store=share.store_id,
                cohort=share.cohort,
                span=name,
                cap=cap,
                asked=both([asked], delta)[0],
                spent=both(before, delta)[0],
                left=left,
                delta=delta,
            )
        spans[span] = after
    return Figures(
        delta=delta, run=both([asked], share.delta), quarter=spans["quarter"], year=spans["year"]
    )


def check_share(plan: RunPlan, share: StoreShare, policy: PrivacySettings) -> None:
    """Refuse a share that the store's own policy does not allow, whatever is left of the budget.

    Raises:
        Refused: names the rule, what was asked and what is allowed.
    """
    where = f"store {share.store_id}"

    def need(ok: bool, rule: str, asked: object, allowed: object, remedy: str) -> None:
        if not ok:
            raise Refused(
                f"{rule.replace('_', ' ')} is {asked!r}, the policy allows {allowed}",
                where=where,
                remedy=remedy,
                rule=rule,
                asked=str(asked),
                allowed=str(allowed),
                store=share.store_id,
            )

    mechanism = share.mechanism
    numbers = {
        "delta": share.delta,
        "epsilon": share.epsilon,
        "sigma": mechanism.sigma,
        "clip": mechanism.clip,
        "sample_rate": mechanism.sample_rate,
        "learning_rate": mechanism.learning_rate,
    }
    for name, value in numbers.items():
        finite = isinstance(value, int | float) and math.isfinite(value) and value > 0
        need(finite, name, value, "finite numbers above 0", "mend the plan")
    counts = {
        "rounds": plan.rounds,
        "steps": mechanism.steps,
        "public_customers": share.public_customers,
        "batch_constant": mechanism.batch_constant,
        "texts_per_customer": mechanism.texts_per_customer,
    }
    for name, count in counts.items():
        whole = isinstance(count, int) and not isinstance(count, bool) and count >= 1
        need(whole, name, count, "whole numbers of at least 1", "mend the plan")
    ours = privacy_digest(policy)
    need(
        plan.privacy_digest == ours,
        "privacy_digest",
        plan.privacy_digest[:12],
        f"only {ours[:12]}",
        "HQ and the store need the same [privacy] table",
    )
    for name in ("unit", "adjacency", "noise"):
        wanted = getattr(policy, name)
        need(getattr(plan, name) == wanted, name, getattr(plan, name), repr(wanted), "plan anew")
    event_of(mechanism)
    need(
        mechanism.sigma >= policy.min_sigma,
        "sigma",
        mechanism.sigma,
        f"{policy.min_sigma:g} or more",
        "plan more noise",
    )
    for name in ("clip", "texts_per_customer"):
        wanted = getattr(policy, name)
        need(
            getattr(mechanism, name) == wanted, name, getattr(mechanism, name), wanted, "plan anew"
        )
    need(
        share.public_customers >= policy.min_customers,
        "public_customers",
        share.public_customers,
        f"{policy.min_customers} or more",
        "leave the store out of the run",
    )
    most = delta_for(policy, share.public_customers)
    need(share.delta <= most, "delta", share.delta, f"{most:.3g} or less", "plan a smaller delta")
    run = event_of(mechanism, steps=mechanism.steps * plan.rounds)
    cost = epsilon([run], share.delta, stores_per_customer=policy.stores_per_customer)
    need(
        cost <= share.epsilon * (1 + CLAIM_TOLERANCE),
        "epsilon",
        share.epsilon,
        f"{cost:.4f}, which is what the run costs",
        "plan anew: the plan claims less than it spends",
    )
