"""The rules that an exported ledger's entries must keep, done again from the events themselves.

Part of :mod:`shared.privacy.verify`; shares no logic with the ledger, the budget or the planner.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import dp_accounting
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from shared.hashing import canonical_json, digest_json
from shared.keys import verify as signature_is_good

_AGREE = 0.01
"""Relative: a figure in the ledger may differ this much from ours."""
_OVER = 1e-3
"""Relative: room for rounding above a cap."""
_SMALL = 1e-4
_HUGE = 1e4

_MOVES: Mapping[tuple[str, str], str] = {
    ("reserved", "cancel"): "cancelled",
    ("reserved", "dispatch"): "dispatched",
    ("reserved", "abort"): "aborted",
    ("dispatched", "commit"): "committed",
    ("dispatched", "abort"): "aborted",
}
_KIND_OF = {
    "whole": "gaussian",
    "poisson_truncated": "poisson_truncated_gaussian",
}

Step = tuple[str, float, float, int]
"""Kind, sigma, sample rate, steps (times stores per customer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Which entry (0: the file) breaks which rule, and what shows it."""

    entry: int
    rule: str
    evidence: str

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"entry": self.entry, "rule": self.rule, "evidence": self.evidence}


def _quiet(record: logging.LogRecord) -> bool:
    return "failed to converge" not in record.getMessage()


@lru_cache(maxsize=4096)
def both_epsilons(steps: tuple[Step, ...], delta: float) -> tuple[float, float]:
    """Return epsilon by the PLD and by the RDP accountant of all steps composed.

    ``gaussian`` steps join to one by adding 1 / sigma^2; a truncated Poisson step is charged with
    half its sigma (a cut may move the sum by twice the clip).
    """
    if not steps:
        return 0.0, 0.0
    events: list[tuple[Any, int]] = []
    inverse = math.fsum(count / sigma**2 for kind, sigma, _, count in steps if kind == "gaussian")
    if inverse:
        events.append((dp_accounting.GaussianDpEvent(inverse**-0.5), 1))
    for kind, sigma, rate, count in steps:
        if kind != "gaussian":
            noise = sigma / 2 if kind == "poisson_truncated_gaussian" else sigma
            inner = dp_accounting.GaussianDpEvent(noise)
            events.append((dp_accounting.PoissonSampledDpEvent(rate, inner), count))
    rdp = RdpAccountant()
    log = logging.getLogger("absl")
    log.addFilter(_quiet)
    try:
        for event, count in events:
            rdp.compose(event, count)
        renyi = float(rdp.get_epsilon(delta))
    finally:
        log.removeFilter(_quiet)
    if not renyi < _HUGE:
        return renyi, renyi
    pld = PLDAccountant(value_discretization_interval=_SMALL * max(1.0, renyi / 16))
    for event, count in events:
        pld.compose(event, count)
    return float(pld.get_epsilon(delta)), renyi


@dataclass(slots=True)
class _Held:
    cohort: str
    store: str
    run: str
    quarter: str
    step: Step
    planned: int
    delta: float
    state: str = "reserved"


def _tidy(held: Iterator[_Held]) -> tuple[Step, ...]:
    """Return the steps in a normal form, equal ones added up."""
    sums: dict[tuple[str, float, float], int] = {}
    for one in held:
        kind, sigma, rate, count = one.step
        sums[kind, sigma, rate] = sums.get((kind, sigma, rate), 0) + count
    return tuple((*key, count) for key, count in sorted(sums.items()))


@dataclass(slots=True)
class Books:
    """What the entries add up to so far, and every rule that they broke."""

    violations: list[Violation] = field(default_factory=list)
    policies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    held: dict[str, _Held] = field(default_factory=dict)
    by_cohort: dict[str, list[_Held]] = field(default_factory=dict)
    reserved: set[tuple[str, str]] = field(default_factory=set)
    """Run and store."""
    plans: dict[str, str] = field(default_factory=dict)
    heads: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    def flag(self, entry: int, rule: str, evidence: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(entry=entry, rule=rule, evidence=evidence))

    def counterparts(self) -> dict[str, str]:
        """Return the public key of every owner whose head was noted."""
        return {owner: key for owner, (_, _, key) in self.heads.items()}

    def policy_list(self) -> Iterator[Mapping[str, Any]]:
        """Yield the policies that were in force, with their digests."""
        for digest, policy in self.policies.items():
            yield {"digest": digest, "privacy": dict(policy)}

    def take(self, seq: int, kind: str, body: Mapping[str, Any], moment: datetime) -> None:
        """Check the next entry and add it."""
        try:
            if kind == "policy":
                self._policy(seq, body)
            elif kind == "reserve":
                self._reserve(seq, body, moment)
            elif kind in {"cancel", "dispatch", "commit", "abort"}:
                self._move(seq, kind, body)
            elif kind == "head":
                self._head(seq, body)
            elif kind != "genesis" or seq != 1:
                self.flag(seq, "kind", f"an entry of kind {kind!r} has no meaning here")
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            self.flag(seq, "malformed", f"{kind}: {type(error).__name__} at {error}")

    def _policy(self, seq: int, body: Mapping[str, Any]) -> None:
        if digest_json(body["privacy"]) != body["digest"]:
            self.flag(seq, "policy", "the policy's digest is not that of its text")
        self.policies[body["digest"]] = body["privacy"]

    def _reserve(self, seq: int, body: Mapping[str, Any], moment: datetime) -> None:
        policy = self.policies.get(body["digests"]["privacy"])
        if policy is None:
            self.flag(seq, "policy", "it names a policy that no entry before it holds")
            policy = {}
        self._parameters(seq, body, policy)
        mechanism, run, cohort = body["mechanism"], body["run_id"], body["cohort"]
        if self.plans.setdefault(run, body["plan_digest"]) != body["plan_digest"]:
            self.flag(seq, "parameter", f"run {run} was reserved before with another plan")
        quarter = f"{moment.year}Q{(moment.month + 2) // 3}"
        steps = int(mechanism["steps"]) * int(body["stores_per_customer"])
        step = (
            _KIND_OF[mechanism["sampling"]],
            float(mechanism["sigma"]),
            float(mechanism["sample_rate"]),
            steps,
        )
        if (run, body["store_id"]) in self.reserved:
            self.flag(seq, "double", f"run {run} is already reserved for {body['store_id']}")
        self.reserved.add((run, body["store_id"]))
        numbers = [row["number"] for row in body["rounds"]]
        if numbers != list(range(1, len(numbers) + 1)) or not numbers:
            self.flag(seq, "parameter", f"rounds are numbered {numbers}")
        for row in body["rounds"]:
            if row["reservation_id"] in self.held:
                self.flag(seq, "double", f"reservation {row['reservation_id']} exists already")
            held = _Held(
                cohort=cohort,
                store=body["store_id"],
                run=run,
                quarter=quarter,
                step=step,
                planned=mechanism["steps"],
                delta=float(body["delta"]),
            )
            self.held[row["reservation_id"]] = held
            self.by_cohort.setdefault(cohort, []).append(held)
        self._figures(seq, body, quarter, (*step[:3], steps * len(numbers)), policy)

    def _parameters(self, seq: int, body: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
        mechanism, event = body["mechanism"], body["event"]
        customers, delta = body["public_customers"], body["delta"]
        same = {
            "event kind": (event["kind"], _KIND_OF.get(mechanism["sampling"])),
            "event sigma": (event["noise_multiplier"], mechanism["sigma"]),
            "event sample rate": (event["sample_rate"], mechanism["sample_rate"]),
            "event cap": (
                event["cap"],
                mechanism["batch_cap"] if mechanism["sampling"] == "poisson_truncated" else 0,
            ),
            "event steps": (event["steps"], mechanism["steps"]),
            "event cohort": (event["cohort"], body["cohort"]),
            "event unit": (event["unit"], body["unit"]),
            "event adjacency": (event["adjacency"], body["adjacency"]),
        }
        for name in ("unit", "adjacency", "noise", "stores_per_customer"):
            same[name] = (body[name], policy.get(name, body[name]))
        for name in ("clip", "texts_per_customer"):
            same[name] = (mechanism[name], policy.get(name, mechanism[name]))
        for name, (found, wanted) in same.items():
            if found != wanted:
                self.flag(seq, "parameter", f"{name} is {found!r}, should be {wanted!r}")
        least = policy.get("min_sigma", 0)
        most = min(policy.get("max_delta", 1), 1 / (10 * customers))
        wrong = {
            f"sigma {mechanism['sigma']} is below {least}": mechanism["sigma"] < least,
            f"{customers} public customers": customers < policy.get("min_customers", 1),
            f"delta {delta} is not in (0, {most:.3g}]": not 0 < delta <= most,
            f"steps {mechanism['steps']}": mechanism["steps"] < 1,
            f"sample rate {mechanism['sample_rate']}": not 0 < mechanism["sample_rate"] <= 1,
            "a whole batch has sample rate 1": mechanism["sampling"] == "whole"
            and mechanism["sample_rate"] != 1,
        }
        for what, is_wrong in wrong.items():
            if is_wrong:
                self.flag(seq, "parameter", what)

    def _spent(self, cohort: str, span: str, delta: float) -> tuple[float, float]:
        return both_epsilons(_tidy(self._counted(cohort, span)), delta)

    def _counted(self, cohort: str, span: str) -> Iterator[_Held]:
        """Yield what counts of a cohort in a quarter (``2026Q4``) or year (``2026``)."""
        for held in self.by_cohort.get(cohort, ()):
            if held.state != "cancelled" and held.quarter.startswith(span):
                yield held

    def _figures(
        self,
        seq: int,
        body: Mapping[str, Any],
        quarter: str,
        run: Step,
        policy: Mapping[str, Any],
    ) -> None:
        cohort, year = body["cohort"], quarter[:4]
        delta = min(held.delta for held in self._counted(cohort, year))
        named = body["epsilon"]
        if named["delta"] != delta:
            self.flag(seq, "epsilon", f"told at delta {named['delta']}, should be {delta}")
        ours = {
            "run": both_epsilons((run,), body["delta"]),
            "quarter": self._spent(cohort, quarter, delta),
            "year": self._spent(cohort, year, delta),
        }
        for span, pair in ours.items():
            for accountant, figure in zip(("pld", "rdp"), pair, strict=True):
                told = named[span][accountant]
                if not abs(told - figure) <= _AGREE * max(figure, 1e-6):
                    self.flag(
                        seq,
                        "epsilon",
                        f"{span} by {accountant} is {told:.4f}, recomputed {figure:.4f}",
                    )
        for span, name in (("quarter", quarter), ("year", year)):
            cap = policy.get(f"{span}_epsilon")
            if cap is not None and not ours[span][0] <= cap * (1 + _OVER):
                self.flag(
                    seq,
                    "cap",
                    f"cohort {cohort!r} spent epsilon {ours[span][0]:.4f} in {name}, cap {cap}",
                )

    def _move(self, seq: int, kind: str, body: Mapping[str, Any]) -> None:
        name = body["reservation_id"]
        held = self.held.get(name)
        if held is None:
            self.flag(seq, "unreserved", f"{kind} of {name}, which was never reserved")
            return
        after = _MOVES.get((held.state, kind))
        if after is None:
            self.flag(seq, "move", f"{kind} of {name}, which is {held.state}")
            return
        held.state = after
        named = (body["cohort"], body["store_id"], body["run_id"], body["steps_planned"])
        if named != (held.cohort, held.store, held.run, held.planned):
            self.flag(seq, "parameter", f"{name} was reserved for something else")
        if kind == "commit":
            if not 0 <= body["steps_executed"] <= held.planned:
                self.flag(seq, "parameter", f"{body['steps_executed']} of {held.planned} steps")
            if not (body["adapter_in"] and body["adapter_out"]):
                self.flag(seq, "parameter", "the commit names no adapter digests")

    def _head(self, seq: int, body: Mapping[str, Any]) -> None:
        owner, length, digest, key = (body[n] for n in ("owner", "length", "hash", "key"))
        signed = canonical_json({"hash": digest, "length": length, "owner": owner})
        if not signature_is_good(key, signed, bytes.fromhex(body["signature"])):
            self.flag(seq, "counterpart", f"the head of {owner!r} is not signed by its key")
        before = self.heads.get(owner)
        if before and (length <= before[0] or key != before[2]):
            self.flag(seq, "counterpart", f"the head of {owner!r} goes back or changes its key")
        self.heads[owner] = (length, digest, key)

    def cohorts(self) -> Iterator[dict[str, Any]]:
        """Yield, per cohort, what was spent by quarter and year, by both accountants."""
        for cohort, mine in sorted(self.by_cohort.items()):
            years = sorted({held.quarter[:4] for held in mine})
            rows: list[dict[str, Any]] = []
            for year in years:
                deltas = [held.delta for held in self._counted(cohort, year)]
                if not deltas:
                    continue
                delta = min(deltas)
                quarters = sorted({held.quarter for held in self._counted(cohort, year)})
                for span in (*quarters, year):
                    pld, rdp = self._spent(cohort, span, delta)
                    rows.append({"span": span, "pld": pld, "rdp": rdp, "delta": delta})
            states: dict[str, int] = {}
            for held in mine:
                states[held.state] = states.get(held.state, 0) + 1
            yield {
                "cohort": cohort,
                "stores": sorted({held.store for held in mine}),
                "unit": "customer",
                "adjacency": "add-or-remove-one",
                "spent": rows,
                "reservations": states,
            }
