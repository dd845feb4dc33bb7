"""What a ledger's entries add up to: reservations and their states, policies, counterparts' heads.

Folding is a pure function of the entries in order. Whatever is not a legal move raises, so a
ledger that was tampered with cannot be opened, let alone spend.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.clock import quarter_of
from shared.errors import IllegalMove, NotVerified, Refused
from shared.privacy.budget import Use
from shared.privacy.entries import (
    FIRST_PREV,
    RESERVATION_MOVES,
    Entry,
    Kind,
    Reservation,
    ReservationState,
    SignedHead,
)
from shared.privacy.events import event_of
from shared.rounds import Mechanism

_MOVES = {Kind.CANCEL, Kind.DISPATCH, Kind.COMMIT, Kind.ABORT}


@dataclass(slots=True)
class LedgerState:
    """The fold of the entries up to ``length``."""

    length: int = 0
    head: str = FIRST_PREV
    time: str = ""
    owner: str = ""
    key: str = ""
    policies: set[str] = field(default_factory=set)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    by_cohort: dict[str, list[str]] = field(default_factory=dict)
    by_run: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Reservation ids by run and store."""
    heads: dict[str, tuple[SignedHead, Entry]] = field(default_factory=dict)
    """By owner: the longest head seen, and the entry that noted it."""

    def apply(self, entry: Entry) -> None:
        """Take in the next entry.

        Raises:
            NotVerified: it does not follow the last one, or was written with another key.
            IllegalMove: a reservation may not go there.
        """
        if entry.seq != self.length + 1 or entry.prev != self.head:
            raise NotVerified(
                f"entry {entry.seq} does not follow entry {self.length}",
                where="ledger",
                remedy="restore the ledger from a copy",
            )
        if entry.seq == 1:
            if entry.kind != Kind.GENESIS:
                raise NotVerified("the ledger does not begin with genesis", where="ledger")
            self.owner, self.key = entry.body["owner"], entry.key
        elif entry.key != self.key:
            raise NotVerified(f"entry {entry.seq} was written with another key", where="ledger")
        if entry.kind == Kind.POLICY:
            self.policies.add(entry.body["digest"])
        elif entry.kind == Kind.RESERVE:
            self._reserve(entry)
        elif entry.kind in _MOVES:
            held = self.move(entry.body["reservation_id"], Kind(entry.kind))
            self.reservations[held.reservation_id] = held
        elif entry.kind == Kind.HEAD:
            head = SignedHead(
                owner=entry.body["owner"],
                length=entry.body["length"],
                hash=entry.body["hash"],
                key=entry.body["key"],
                signature=bytes.fromhex(entry.body["signature"]),
            )
            self.heads[head.owner] = (head, entry)
        self.length, self.head, self.time = entry.seq, entry.hash, entry.time

    def _reserve(self, entry: Entry) -> None:
        body = entry.body
        quarter = quarter_of(datetime.fromisoformat(entry.time))
        for row in body["rounds"]:
            name = row["reservation_id"]
            self.by_cohort.setdefault(body["cohort"], []).append(name)
            self.by_run.setdefault((body["run_id"], body["store_id"]), []).append(name)
            self.reservations[name] = Reservation(
                reservation_id=row["reservation_id"],
                run_id=body["run_id"],
                round_id=row["round_id"],
                number=row["number"],
                store_id=body["store_id"],
                cohort=body["cohort"],
                mechanism=Mechanism.from_dict(body["mechanism"]),
                delta=body["delta"],
                state=ReservationState.RESERVED,
                plan_digest=body["plan_digest"],
                quarter=quarter,
            )

    def get(self, reservation_id: str) -> Reservation:
        """Return a reservation; ``Refused`` where there is none."""
        held = self.reservations.get(reservation_id)
        if held is None:
            raise Refused(
                f"there is no reservation {reservation_id!r}",
                where=f"ledger of {self.owner}",
                remedy="reserve before spending",
                reservation=reservation_id,
            )
        return held

    def move(self, reservation_id: str, kind: Kind) -> Reservation:
        """Return the reservation after a move; raise ``IllegalMove`` where there is none."""
        held = self.get(reservation_id)
        state = RESERVATION_MOVES[held.state].get(kind)
        if state is None:
            allowed = ", ".join(sorted(RESERVATION_MOVES[held.state])) or "nothing"
            raise IllegalMove(
                f"a reservation that is {held.state} cannot take {kind} (allowed: {allowed})",
                where=f"reservation {reservation_id}",
                remedy="a dispatched reservation stays spent: commit or abort it",
                reservation=reservation_id,
                state=str(held.state),
                move=str(kind),
            )
        return replace(held, state=state)

    def check_head(self, head: SignedHead, *, expected_key: str | None) -> Entry | None:
        """Return the entry that already noted ``head``; ``None`` where it is new and acceptable.

        Raises:
            NotVerified: bad signature, our own head, another key, a rollback or a fork.
        """

        def refuse(what: str, **facts: Any) -> NotVerified:  # noqa: ANN401 - facts
            return NotVerified(
                what,
                where=f"ledger of {head.owner}",
                remedy="stop: ask its owner for an export and run `storeweave audit verify`",
                **facts,
            )

        if not head.verified() or head.length < 1:
            raise refuse("the signature of the head does not hold")
        if head.owner == self.owner:
            raise refuse("a ledger does not note its own head")
        seen, entry = self.heads.get(head.owner, (None, None))
        if head.key != (expected_key or (seen or head).key) or head.key != (seen or head).key:
            raise refuse("the head is signed with another key than before", key=head.key)
        if seen is None or head.length > seen.length:
            return None
        if head.length < seen.length:
            raise refuse(
                f"it was rolled back from {seen.length} to {head.length} entries",
                seen=seen.length,
                now=head.length,
            )
        if head.hash != seen.hash:
            raise refuse(
                f"it was forked: two hashes for its entry {head.length}",
                seen=seen.hash,
                now=head.hash,
            )
        return entry

    def uses(self, cohort: str) -> Iterator[Use]:
        """Yield what counts as spent of a cohort: every reservation that was not cancelled."""
        for name in self.by_cohort.get(cohort, ()):
            held = self.reservations[name]
            if held.state != ReservationState.CANCELLED:
                yield Use(
                    quarter=held.quarter,
                    event=event_of(held.mechanism, cohort=cohort),
                    delta=held.delta,
                )
