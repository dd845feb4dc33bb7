"""What headquarters needs from the outside world: small protocols that ``adapters`` implement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shared.releases import Release, RolloutStage
from shared.rounds import RoundOutcome, RoundState, RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledStore:
    """A store that HQ knows: its ledger key, its Flower node, and public facts for planning."""

    store_id: str
    name: str
    lang: str
    cohort: str
    ledger_key: str
    """Ed25519 public key, hex."""
    node_key: str
    """Public key of its Flower SuperNode, as registered with the SuperLink."""
    public_customers: int
    """Number of customers that the store declares publicly; never the private count."""


class Stores(Protocol):
    """The register of stores."""

    def enrol(self, store: EnrolledStore) -> None:
        """Add or replace a store."""
        ...

    def get(self, store_id: str) -> EnrolledStore | None:
        """Return a store."""
        ...

    def all(self) -> list[EnrolledStore]:
        """Return every store, in order of id."""
        ...


class Runs(Protocol):
    """Runs and their rounds at rest; every change is durable before it returns."""

    def add(self, plan: RunPlan) -> None:
        """Write a planned run; each of its rounds is ``planned``."""
        ...

    def plan(self, run_id: str) -> RunPlan | None:
        """Return the plan of a run."""
        ...

    def all(self) -> list[RunPlan]:
        """Return all plans, newest first."""
        ...

    def states(self, run_id: str) -> dict[int, RoundState]:
        """Return the state of each round by its number."""
        ...

    def move(self, run_id: str, number: int, state: RoundState) -> None:
        """Move a round along ``ROUND_MOVES``; an illegal move raises ``IllegalMove``."""
        ...

    def close(self, run_id: str, number: int, outcome: RoundOutcome, adapter: Path) -> None:
        """Record how a round ended and where its adapter lies."""
        ...

    def outcomes(self, run_id: str) -> list[RoundOutcome]:
        """Return the outcomes of closed rounds, in order."""
        ...

    def log(self, run_id: str, event: str, facts: Mapping[str, Any]) -> None:
        """Append a progress event (no private fact)."""
        ...

    def events(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Return progress events with ``seq`` greater than ``after``."""
        ...


class Registry(Protocol):
    """Releases and their files, content-addressed; a release once written never changes."""

    def put(self, release: Release, files: Path) -> Release:
        """Write the folder's files and the signed manifest.

        Another content under the same id is refused.
        """
        ...

    def get(self, release_id: str) -> Release:
        """Return a release; ``BadInput`` where there is none."""
        ...

    def folder(self, release_id: str) -> Path:
        """Return a local folder that holds the release's files, digests verified."""
        ...

    def all(self) -> list[Release]:
        """Return all releases, newest first."""
        ...

    @property
    def location(self) -> str:
        """What an inference service is told, to fetch from here."""
        ...


class Stages(Protocol):
    """Where each release is on its way, and how it got there; durable before it returns."""

    def of(self, release_id: str) -> RolloutStage | None:
        """Return the stage a release is at; ``None`` where nothing was recorded."""
        ...

    def move(
        self, release_id: str, stage: RolloutStage, *, percent: int = 0, reason: str = ""
    ) -> None:
        """Record a stage along ``ROLLOUT_MOVES``; an illegal move raises ``IllegalMove``."""
        ...

    def history(self, release_id: str) -> list[dict[str, Any]]:
        """Return the stages of a release in order: ``time``, ``stage``, ``percent``, ``reason``."""
        ...


class ServingControl(Protocol):
    """One inference service, as HQ steers it."""

    def stage(self, release: Release, registry: str) -> Mapping[str, Any]:
        """Load a release into a free slot."""
        ...

    def warm(self, release_id: str, prompts: Sequence[str]) -> Mapping[str, Any]:
        """Run warm-up prompts."""
        ...

    def set_weight(self, release_id: str, percent: int) -> Mapping[str, Any]:
        """Give the canary its share of traffic."""
        ...

    def promote(self, release_id: str) -> Mapping[str, Any]:
        """Make the release stable."""
        ...

    def rollback(self, reason: str) -> Mapping[str, Any]:
        """Send all traffic back to the former stable release."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return slots, weights, requests, errors and latencies."""
        ...
