"""Which release answers: slots for stable, canary and former stable, and the moves between them.

Pure bookkeeping, no model and no I/O: a request takes a slot, keeps it to its end, and a slot that
has left service is handed back to be freed when its last request is done.
"""

import hashlib
import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.errors import BadInput, IllegalMove
from shared.releases import RolloutStage, check_rollout_move

_LATENCIES = 512
"""Percentiles are over so many latest requests."""

Payload = TypeVar("Payload")


@dataclass(slots=True, kw_only=True, eq=False)
class Slot(Generic[Payload]):
    """One release in memory; ``payload`` is what answers for it."""

    release_id: str
    digest: str
    payload: Payload
    load_s: float
    stage: RolloutStage = RolloutStage.STAGED
    weight: int = 0
    requests: int = 0
    errors: int = 0
    in_flight: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def move(self, stage: RolloutStage) -> None:
        """Go to ``stage``; an illegal move raises ``IllegalMove``."""
        check_rollout_move(self.stage, stage)
        self.stage = stage


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """What a slot shows: counts since it was loaded, percentiles since its weight last changed.

    Latency is the time to the first token of a completion, or to the scores: it does not depend
    on how much was asked for.
    """

    release_id: str
    stage: RolloutStage
    weight: int
    digest: str
    requests: int
    errors: int
    p50_s: float
    p99_s: float
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingView:
    """All slots, and which of them serve."""

    slots: tuple[SlotView, ...]
    stable: str
    canary: str


def takes_canary(key: str, release_id: str, percent: int) -> bool:
    """Return whether ``key`` is among the ``percent`` that the canary gets.

    A key keeps its side while the percentage stands, and one that has the canary keeps it when
    the percentage grows. Another release draws other keys.
    """
    drawn = hashlib.sha256(f"{release_id}\0{key}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") % 10_000 < percent * 100


def percentile(values: list[float], share: float) -> float:
    """Return the value below or at which ``share`` of the values lie (nearest rank); 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


class SlotTable(Generic[Payload]):
    """Stable, canary and former slot; safe to use from several threads."""

    def __init__(self, stable: Slot[Payload]) -> None:
        """Begin with a stable slot."""
        stable.stage, stable.weight = RolloutStage.STABLE, 100
        self._lock = threading.RLock()
        self._stable = stable
        self._canary: Slot[Payload] | None = None
        self._former: Slot[Payload] | None = None
        self._leaving: list[Slot[Payload]] = []

    @property
    def stable(self) -> Slot[Payload]:
        """The slot that serves."""
        return self._stable

    def take(self, release_id: str, key: str) -> Slot[Payload]:
        """Return the slot for a request, counted as in flight until :meth:`done`.

        Raises:
            BadInput: a release is named that is not loaded.
        """
        with self._lock:
            if release_id:
                slot = self.find(release_id)
            elif self._canary and takes_canary(key, self._canary.release_id, self._canary.weight):
                slot = self._canary
            else:
                slot = self._stable
            slot.in_flight += 1
            return slot

    def done(self, slot: Slot[Payload], *, failed: bool, latency_s: float | None) -> None:
        """Count a request that ended."""
        with self._lock:
            slot.in_flight -= 1
            slot.requests += 1
            slot.errors += failed
            if latency_s is not None:
                slot.latencies.append(latency_s)

    def drained(self) -> list[Slot[Payload]]:
        """Return, once, the slots that have left service and have no request left."""
        with self._lock:
            idle = [slot for slot in self._leaving if not slot.in_flight]
            self._leaving = [slot for slot in self._leaving if slot.in_flight]
            return idle

    def find(self, release_id: str) -> Slot[Payload]:
        """Return the loaded slot of a release.

        Raises:
            BadInput: it is not loaded.
        """
        with self._lock:
            for slot in self._loaded():
                if slot.release_id == release_id:
                    return slot
        raise BadInput(
            f"release {release_id!r} is not loaded here", remedy="stage it, or name no release"
        )

    def check_free(self, release_id: str) -> None:
        """Raise unless another release may be staged.

        Raises:
            IllegalMove: a canary is there.
        """
        if self._canary is not None and self._canary.release_id != release_id:
            raise IllegalMove(
                f"release {self._canary.release_id} is on its way",
                remedy="promote it or roll it back first",
            )

    def stage(self, slot: Slot[Payload]) -> None:
        """Put a loaded release beside the stable one, without traffic."""
        with self._lock:
            self.check_free(slot.release_id)
            if any(slot.release_id == other.release_id for other in self._loaded()):
                raise IllegalMove(f"release {slot.release_id} is loaded already")
            self._canary = slot

    def restage_former(self, release_id: str) -> bool:
        """Stage the former stable release again, if it is ``release_id``; return whether it was."""
        with self._lock:
            if self._former is None or self._former.release_id != release_id:
                return False
            self.check_free(release_id)
            self._former.move(RolloutStage.STAGED)
            self._canary, self._former = self._former, None
            return True

    def warmed(self, release_id: str) -> None:
        """Note that warm-up prompts were answered."""
        with self._lock:
            slot = self.find(release_id)
            if slot.stage is RolloutStage.STAGED:
                slot.move(RolloutStage.WARM)

    def set_weight(self, release_id: str, percent: int) -> None:
        """Give the canary ``percent`` of the traffic and begin its percentiles anew.

        Raises:
            BadInput: not 0 to 100, or the release is not loaded.
            IllegalMove: the release is not the canary, or not warm.
        """
        if not 0 <= percent <= 100:  # noqa: PLR2004 - percent
            raise BadInput(f"weight {percent} is not a percentage", remedy="give 0 to 100")
        with self._lock:
            slot = self._canary_named(release_id)
            slot.move(RolloutStage.CANARY)
            slot.weight = percent
            self._stable.weight = 100 - percent
            slot.latencies.clear()

    def promote(self, release_id: str) -> None:
        """Make the canary stable; the former stable stays loaded, the one before leaves.

        Raises:
            BadInput: the release is not loaded.
            IllegalMove: the release is not the canary, or not warm.
        """
        with self._lock:
            slot = self._canary_named(release_id)
            slot.move(RolloutStage.STABLE)
            self._stable.move(RolloutStage.RETIRED)
            if self._former is not None:
                self._leaving.append(self._former)
            self._former, self._stable, self._canary = self._stable, slot, None
            self._former.weight, slot.weight = 0, 100

    def rollback(self) -> None:
        """Drop the canary; where there is none, go back to the former stable release.

        Raises:
            IllegalMove: there is neither.
        """
        with self._lock:
            if self._canary is not None:
                self._leave(self._canary)
                self._canary = None
            elif self._former is not None:
                former, self._former = self._former, None
                for stage in (RolloutStage.STAGED, RolloutStage.WARM, RolloutStage.STABLE):
                    former.move(stage)
                self._leave(self._stable)
                self._stable = former
            else:
                raise IllegalMove("there is no other release to go back to")
            self._stable.weight = 100

    def view(self) -> ServingView:
        """Return what all slots show."""
        with self._lock:
            return ServingView(
                slots=tuple(view_of(slot) for slot in (*self._loaded(), *self._leaving)),
                stable=self._stable.release_id,
                canary=self._canary.release_id if self._canary else "",
            )

    def payloads(self) -> list[Payload]:
        """Return what answers for each slot that is still in memory."""
        with self._lock:
            return [slot.payload for slot in (*self._loaded(), *self._leaving)]

    def _loaded(self) -> Iterator[Slot[Payload]]:
        return (slot for slot in (self._stable, self._canary, self._former) if slot is not None)

    def _leave(self, slot: Slot[Payload]) -> None:
        slot.move(RolloutStage.ROLLED_BACK)
        slot.weight = 0
        self._leaving.append(slot)

    def _canary_named(self, release_id: str) -> Slot[Payload]:
        slot = self.find(release_id)
        if slot is not self._canary:
            raise IllegalMove(
                f"release {release_id} is {slot.stage}, not on its way", remedy="stage it first"
            )
        return slot


def view_of(slot: Slot[Payload]) -> SlotView:
    """Return what a slot shows."""
    latencies = list(slot.latencies)
    return SlotView(
        release_id=slot.release_id,
        stage=slot.stage,
        weight=slot.weight,
        digest=slot.digest,
        requests=slot.requests,
        errors=slot.errors,
        p50_s=percentile(latencies, 0.5),
        p99_s=percentile(latencies, 0.99),
        load_s=slot.load_s,
    )
