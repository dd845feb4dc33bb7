"""Releases: what a model that serves customers is made of, and the stages of its rollout."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from shared.errors import IllegalMove
from shared.hashing import canonical_json, sha256_hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The signed manifest of a release; ``signature`` is Ed25519 over :meth:`signed_bytes`, hex."""

    release_id: str
    created: str
    base: str
    base_digest: str
    parent: str
    """The release it was compared with and replaces; empty for the base model itself."""
    run_id: str
    round_id: str
    ledger_head: str
    """Hash of HQ's ledger head when the release was built."""
    ledger_entries: tuple[str, ...]
    """Hashes of HQ's commit entries that paid for it; empty for the base model."""
    data_scope: tuple[str, ...]
    """``store:cohort`` of every contribution."""
    adapter_digest: str
    files: Mapping[str, str]
    """File name in the artifact folder to SHA-256."""
    metrics: Mapping[str, Any]
    gates: Mapping[str, Any]
    epsilon: Mapping[str, Any]
    """Per cohort: epsilon, delta, unit, adjacency."""
    signer: str = ""
    """Public key of the signer, hex."""
    signature: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            out[name] = (
                list(value)
                if isinstance(value, tuple)
                else dict(value)
                if isinstance(value, Mapping)
                else value
            )
        return out

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the release of :meth:`as_dict`; unknown fields raise ``TypeError``."""
        return cls(
            **{
                **value,
                "ledger_entries": tuple(value["ledger_entries"]),
                "data_scope": tuple(value["data_scope"]),
            }
        )

    def signed_bytes(self) -> bytes:
        """Return the canonical JSON that is signed: everything but ``signature``."""
        body = self.as_dict()
        del body["signature"]
        return canonical_json(body)

    @property
    def digest(self) -> str:
        """SHA-256 of :meth:`signed_bytes`."""
        return sha256_hex(self.signed_bytes())


class RolloutStage(StrEnum):
    """Where a release is on its way to the customers."""

    REGISTERED = "registered"
    STAGED = "staged"
    WARM = "warm"
    CANARY = "canary"
    STABLE = "stable"
    RETIRED = "retired"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"


ROLLOUT_MOVES: Mapping[RolloutStage, frozenset[RolloutStage]] = {
    RolloutStage.REGISTERED: frozenset({RolloutStage.STAGED, RolloutStage.REJECTED}),
    RolloutStage.STAGED: frozenset({RolloutStage.WARM, RolloutStage.ROLLED_BACK}),
    RolloutStage.WARM: frozenset(
        {RolloutStage.CANARY, RolloutStage.STABLE, RolloutStage.ROLLED_BACK}
    ),
    RolloutStage.CANARY: frozenset(
        {RolloutStage.CANARY, RolloutStage.STABLE, RolloutStage.ROLLED_BACK}
    ),
    RolloutStage.STABLE: frozenset({RolloutStage.RETIRED, RolloutStage.ROLLED_BACK}),
    RolloutStage.RETIRED: frozenset({RolloutStage.STAGED}),
    RolloutStage.ROLLED_BACK: frozenset({RolloutStage.STAGED}),
    RolloutStage.REJECTED: frozenset(),
}


def check_rollout_move(now: RolloutStage, then: RolloutStage) -> None:
    """Raise ``IllegalMove`` unless a release may go from ``now`` to ``then``."""
    if then not in ROLLOUT_MOVES[now]:
        allowed = ", ".join(sorted(ROLLOUT_MOVES[now])) or "nothing"
        raise IllegalMove(f"a release cannot go from {now} to {then} (allowed: {allowed})")
