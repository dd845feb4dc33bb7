"""Runs and rounds: what is planned, which states they pass, and how they end."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from shared.errors import IllegalMove
from shared.hashing import digest_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """What a store does to its customers' data in one round; all of it public.

    One step: sample customers at ``sample_rate`` (1: the whole batch), at most
    ``texts_per_customer`` texts each, clip a customer's gradient to ``clip`` (L2), sum, add
    Gaussian noise of standard deviation ``sigma * clip``, divide by ``batch_constant``.
    ``sampling`` is ``whole`` where ``sample_rate`` is 1, else
    ``poisson_truncated``, which keeps at most ``batch_cap`` customers.
    """

    sampling: str
    sample_rate: float
    batch_cap: int
    steps: int
    sigma: float
    clip: float
    texts_per_customer: int
    batch_constant: int
    learning_rate: float

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the mechanism of :meth:`as_dict`.

        An unknown or missing field raises ``TypeError``.
        """
        return cls(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreShare:
    """One store's part in a run: its cohort, its public customer count, and its own mechanism."""

    store_id: str
    cohort: str
    public_customers: int
    delta: float
    mechanism: Mechanism
    epsilon: float
    """What the whole run (all rounds) costs a customer of this cohort, by itself.

    By the PLD accountant.
    """

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "store_id": self.store_id,
            "cohort": self.cohort,
            "public_customers": self.public_customers,
            "delta": self.delta,
            "mechanism": self.mechanism.as_dict(),
            "epsilon": self.epsilon,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the share of :meth:`as_dict`."""
        return cls(**{**value, "mechanism": Mechanism.from_dict(value["mechanism"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A federation run: ``rounds`` rounds over the same stores.

    It is planned and priced before anything is spent. The mean of a round weighs each store by its
    planned batch and divides by the whole cohort's: a missing store adds nothing. ``unit`` and
    ``adjacency`` say what every epsilon here is about.
    """

    run_id: str
    federation: str
    created: str
    rounds: int
    shares: tuple[StoreShare, ...]
    unit: str
    adjacency: str
    noise: str
    spec: Mapping[str, Any]
    """:meth:`shared.adapters.AdapterSpec.as_dict`."""
    privacy_digest: str
    quorum: int
    deadline_s: float
    server_momentum: float
    estimated_minutes: float
    bytes_up: int
    """Bytes that one store sends in one round."""
    bytes_down: int
    start_release: str = ""
    """The release whose adapter the run goes on from; empty: it starts from the base model."""

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's canonical JSON; receipts and ledger entries name it."""
        return digest_json(self.as_dict())

    def round_id(self, number: int) -> str:
        """Return the id of round ``number`` (from 1)."""
        return f"{self.run_id}.r{number}"

    def share(self, store_id: str) -> StoreShare | None:
        """Return the store's share, or ``None`` where it is not in the cohort."""
        return next((share for share in self.shares if share.store_id == store_id), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        out["shares"] = [share.as_dict() for share in self.shares]
        out["spec"] = dict(self.spec)
        return out

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the plan of :meth:`as_dict`."""
        return cls(
            **{**value, "shares": tuple(StoreShare.from_dict(share) for share in value["shares"])}
        )


class RoundState(StrEnum):
    """Where a round is."""

    PLANNED = "planned"
    RESERVED = "reserved"
    DISPATCHED = "dispatched"
    CLOSED = "closed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"


ROUND_MOVES: Mapping[RoundState, frozenset[RoundState]] = {
    RoundState.PLANNED: frozenset({RoundState.RESERVED, RoundState.REFUSED, RoundState.CANCELLED}),
    RoundState.RESERVED: frozenset({RoundState.DISPATCHED, RoundState.CANCELLED}),
    RoundState.DISPATCHED: frozenset({RoundState.CLOSED, RoundState.FAILED}),
    RoundState.CLOSED: frozenset(),
    RoundState.FAILED: frozenset(),
    RoundState.CANCELLED: frozenset(),
    RoundState.REFUSED: frozenset(),
}


def check_round_move(now: RoundState, then: RoundState) -> None:
    """Raise ``IllegalMove`` unless a round may go from ``now`` to ``then``."""
    if then not in ROUND_MOVES[now]:
        allowed = ", ".join(sorted(ROUND_MOVES[now])) or "nothing"
        raise IllegalMove(f"a round cannot go from {now} to {then} (allowed: {allowed})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One contribution that was not used, and why."""

    sender: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """How a round ended: who contributed, who did not and why, and what moved."""

    round_id: str
    state: RoundState
    contributed: tuple[str, ...]
    refused: tuple[Refusal, ...]
    adapter_digest: str
    bytes_up: Mapping[str, int]
    bytes_down: Mapping[str, int]
    seconds: Mapping[str, float]
    """Wall time by part: ``training`` (slowest store), ``flower``, ``aggregation``, ``total``."""
