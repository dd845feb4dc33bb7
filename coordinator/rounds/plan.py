"""Plans a run: who takes part, how much noise each store adds, what it costs, how long it takes.

Nothing is spent here. Each store gets the least noise that keeps the run's epsilon and what its
cohort has left of the quarter and the year.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from coordinator.ports import EnrolledStore
from shared.adapters import AdapterSpec
from shared.clock import iso
from shared.config import PrivacySettings, Settings, privacy_digest
from shared.errors import BudgetRefused, Refused
from shared.ids import new_id
from shared.privacy.accounting import cheapest_sigma, epsilon
from shared.privacy.budget import BudgetState, delta_for
from shared.privacy.events import Event, event_of
from shared.rounds import Mechanism, RunPlan, StoreShare

USEFUL_SHARE = 0.5
"""A plan for less than this share of the epsilon that was asked is refused: what was tuned for the
one would be mostly noise at the other, and the rest of the budget gone for it."""
FRAMING_PER_TENSOR = 210
"""Bytes beside a tensor's values in a Flower message (measured, flwr 1.41: 200 to 207)."""
FRAMING_PER_MESSAGE = 1_300
"""Bytes of the message itself: 44 of its records (measured, flwr 1.41), about 900 of a receipt or
order with a signed head, the rest for metadata."""
ROUND_OVERHEAD_S = 7.0
"""Process starts and polling of one Flower round (measured, flwr 1.41, two nodes: 6.9)."""
GUESSED_SECONDS_PER_CUSTOMER = 0.3
"""Of a step, for each customer in it, where no run has been measured yet (270 M base model, two
texts of 45 tokens a customer, three stores on two cores, the trunk's states made on the way)."""
_CAP_DEVIATIONS = 8.0


class Budgets(Protocol):
    """What planning asks of a ledger."""

    def budget(
        self, cohort: str, policy: PrivacySettings, delta: float | None = None
    ) -> BudgetState:
        """Return what a cohort has spent and has left."""
        ...


def make_plan(
    *,
    settings: Settings,
    stores: Sequence[EnrolledStore],
    spec: AdapterSpec,
    ledger: Budgets,
    now: datetime,
    seconds_per_step: float | None = None,
    run_id: str | None = None,
    federation: str = "storeweave",
) -> RunPlan:
    """Return the plan of a run over all ``stores``.

    Args:
        settings: ``[rounds]`` says what is wanted, ``[privacy]`` what is allowed.
        stores: who takes part; all of them, or the plan is refused.
        spec: what is trained.
        ledger: HQ's; tells what each cohort has spent.
        now: the moment of planning.
        seconds_per_step: of the slowest store, as measured; ``None``: a guess.
        run_id: of the run; ``None``: a new one.
        federation: name of the federation.

    Raises:
        BudgetRefused: a cohort has too little left for :data:`USEFUL_SHARE` of the run; names
            the store.
        Refused: no stores, a store twice, or a store with too few customers; names the store.
    """
    if not stores:
        raise Refused("no store takes part", where="plan", remedy="enrol a store first")
    names = [store.store_id for store in stores]
    if len(set(names)) != len(names):
        raise Refused("a store is named twice", where="plan", remedy="name each store once")
    cohorts = {store.cohort for store in stores}
    if len(cohorts) != len(stores):
        raise Refused(
            "two stores name the same cohort, whose budget one run would charge twice",
            where="plan",
            remedy="enrol stores with different customers under different cohorts",
            cohorts=sorted(cohorts),
        )
    wanted = settings.rounds
    if wanted.quorum > len(stores):
        raise Refused(
            f"the quorum is {wanted.quorum}, but {len(stores)} stores take part",
            where="[rounds] quorum",
            remedy="lower it, or enrol more stores",
        )
    largest = max(store.public_customers for store in stores) * wanted.sample_rate
    guess_s = GUESSED_SECONDS_PER_CUSTOMER * largest
    step_s = guess_s if seconds_per_step is None else seconds_per_step
    payload = spec.payload_bytes + FRAMING_PER_TENSOR * len(spec.shapes) + FRAMING_PER_MESSAGE
    return RunPlan(
        run_id=run_id or new_id("run"),
        federation=federation,
        created=iso(now),
        rounds=wanted.rounds,
        shares=tuple(plan_share(settings, store, ledger) for store in stores),
        unit=settings.privacy.unit,
        adjacency=settings.privacy.adjacency,
        noise=settings.privacy.noise,
        spec=spec.as_dict(),
        privacy_digest=privacy_digest(settings.privacy),
        quorum=wanted.quorum,
        deadline_s=wanted.deadline_s,
        server_momentum=wanted.server_momentum,
        estimated_minutes=round(wanted.rounds * (wanted.steps * step_s + ROUND_OVERHEAD_S) / 60, 2),
        bytes_up=payload,
        bytes_down=payload,
    )


def plan_share(settings: Settings, store: EnrolledStore, ledger: Budgets) -> StoreShare:
    """Return one store's share: the least noise that what is wanted and what is left allow.

    Raises:
        BudgetRefused: too little is left.
        Refused: too few customers.
    """
    policy, wanted = settings.privacy, settings.rounds
    where = f"store {store.store_id}"
    if store.public_customers < policy.min_customers:
        raise Refused(
            f"it has {store.public_customers} customers, {policy.min_customers} are needed",
            where=where,
            remedy="leave it out of the run",
            store=store.store_id,
            public_customers=store.public_customers,
            min_customers=policy.min_customers,
        )
    delta = delta_for(policy, store.public_customers)
    budget = ledger.budget(store.cohort, policy, delta)
    if budget.left <= 0:
        raise _too_little(store, budget, wanted.epsilon, 0.0)
    whole = wanted.sample_rate == 1
    mean = store.public_customers * wanted.sample_rate
    cap = 0 if whole else math.ceil(mean + _CAP_DEVIATIONS * math.sqrt(mean))
    # Spans with the same past ask for the same noise: only the lowest target of each past counts.
    limits: dict[tuple[tuple[Event, ...], float], float] = {}
    for already, target, at in (
        ((), wanted.epsilon, delta),
        (budget.quarter_events, budget.quarter_cap, budget.delta),
        (budget.year_events, budget.year_cap, budget.delta),
    ):
        limits[already, at] = min(target, limits.get((already, at), target))
    sigma = max(
        cheapest_sigma(
            steps_total=wanted.rounds * wanted.steps,
            sample_rate=wanted.sample_rate,
            cap=cap,
            already=already,
            target_epsilon=target,
            delta=at,
            min_sigma=policy.min_sigma,
            stores_per_customer=policy.stores_per_customer,
        )
        for (already, at), target in limits.items()
    )
    mechanism = Mechanism(
        sampling="whole" if whole else "poisson_truncated",
        sample_rate=wanted.sample_rate,
        batch_cap=cap,
        steps=wanted.steps,
        sigma=sigma,
        clip=policy.clip,
        texts_per_customer=policy.texts_per_customer,
        batch_constant=max(1, round(mean)),
        learning_rate=wanted.learning_rate,
    )
    run = event_of(mechanism, cohort=store.cohort, steps=wanted.rounds * wanted.steps)
    allowed = epsilon([run], delta, stores_per_customer=policy.stores_per_customer)
    if allowed < USEFUL_SHARE * wanted.epsilon:
        raise _too_little(store, budget, wanted.epsilon, allowed)
    return StoreShare(
        store_id=store.store_id,
        cohort=store.cohort,
        public_customers=store.public_customers,
        delta=delta,
        mechanism=mechanism,
        epsilon=allowed,
    )


def _too_little(
    store: EnrolledStore, budget: BudgetState, asked: float, allowed: float
) -> BudgetRefused:
    return BudgetRefused(
        f"a run of epsilon {asked:g} is asked, and what is left of cohort {store.cohort!r} allows "
        f"{allowed:.3f} (spent {budget.quarter_spent:.3f} of {budget.quarter_cap:g} in "
        f"{budget.quarter}, {budget.year_spent:.3f} of {budget.year_cap:g} in {budget.year})",
        where=f"store {store.store_id}",
        remedy="leave it out of the run, wait for the next quarter, or ask for less",
        store=store.store_id,
        cohort=store.cohort,
        left=budget.left,
        allowed=allowed,
        asked=asked,
        quarter_spent=budget.quarter_spent,
        year_spent=budget.year_spent,
    )
