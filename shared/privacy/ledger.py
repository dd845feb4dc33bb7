"""The privacy ledger of a store or of HQ: reserve before spending, append only, signed.

``reserve`` is durable before it returns and counts as spent; ``cancel`` gives back what was never
dispatched; a crash leaves the rest spent. Reading the remainder and writing the reservation are one
act under SQLite's write lock, so two processes never both pass on the same remainder.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from shared.clock import Clock, iso, quarter_of
from shared.config import PrivacySettings, privacy_digest
from shared.errors import BadConfig, NotVerified, Refused
from shared.keys import SigningKey
from shared.privacy.budget import BudgetState, budget_state, check_room, check_share
from shared.privacy.code import code_digest
from shared.privacy.entries import (
    Entry,
    Kind,
    Reservation,
    ReservationState,
    SignedHead,
    head_bytes,
    parse,
    seal,
    signature_holds,
)
from shared.privacy.export import write_export
from shared.privacy.record import head_body, move_body, reserve_body
from shared.privacy.state import LedgerState
from shared.privacy.store import EntryStore
from shared.rounds import RunPlan, StoreShare

__all__ = [
    "Entry",
    "Kind",
    "Ledger",
    "Reservation",
    "ReservationState",
    "SignedHead",
    "ledger_owner",
]


class Ledger:
    """A ledger in one SQLite file. Build it with :meth:`open`; it is a context manager."""

    def __init__(self, store: EntryStore, *, owner: str, key: SigningKey, clock: Clock) -> None:
        """Take over an opened store; use :meth:`open`."""
        self._store = store
        self._owner = owner
        self._key = key
        self._clock = clock
        self._state = LedgerState()
        self._lock = threading.RLock()
        self._appended = False

    @classmethod
    def open(cls, path: Path, *, owner: str, key: SigningKey, clock: Clock) -> Self:
        """Open the ledger, or begin it with a ``genesis`` entry where there is none.

        Raises:
            BadConfig: the ledger belongs to another owner or key.
            NotVerified: a line is damaged or does not follow the one before.
            Unavailable: the file cannot be used.
        """
        store = EntryStore(path)
        try:
            ledger = cls(store, owner=owner, key=key, clock=clock)
            ledger._begin()
        except BaseException:
            store.close()
            raise
        return ledger

    def _begin(self) -> None:
        with self._writing():
            last = self._catch_up()
            if last is None:
                self._append(
                    Kind.GENESIS,
                    {"owner": self._owner, "key": self._key.public_hex, "code": code_digest()},
                )
                return
            # The chain binds every entry to the last one, so its signature stands for all.
            if not signature_holds(last):
                raise NotVerified(
                    f"the signature of entry {last.seq} does not hold",
                    where=str(self._store.path),
                    remedy="restore the ledger from a copy",
                )
        if (self._state.owner, self._state.key) != (self._owner, self._key.public_hex):
            raise BadConfig(
                f"the ledger belongs to {self._state.owner!r} with key {self._state.key[:12]}…",
                where=str(self._store.path),
                remedy="use the key and id that the ledger was begun with",
            )

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    @property
    def owner(self) -> str:
        """Whose ledger this is."""
        return self._owner

    # --- writing -----------------------------------------------------------------------------

    def reserve(
        self,
        plan: RunPlan,
        *,
        store_ids: Sequence[str],
        policy: PrivacySettings,
        purpose: Literal["train", "tune"] = "train",
    ) -> tuple[Reservation, ...]:
        """Reserve every round of the plan for the named stores: all of it, or nothing.

        A store names itself; HQ names all stores of the plan. Each store gets one entry.

        Returns:
            One reservation a store and round, in order of ``store_ids``, then of round.

        Raises:
            BudgetRefused: a cohort's quarter or year would go over its cap.
            Refused: the plan is not what the policy allows, a store is not in it, or the run is
                already reserved.
        """
        shares = [self._share(plan, store_id) for store_id in dict.fromkeys(store_ids)]
        if not shares or len(shares) != len(store_ids):
            raise Refused("name at least one store, and each store once", where=plan.run_id)
        for share in shares:
            check_share(plan, share, policy)
        digest = plan.digest
        with self._writing():
            self._catch_up()
            quarter = quarter_of(self._moment())
            if privacy_digest(policy) not in self._state.policies:
                self._append(
                    Kind.POLICY,
                    {"digest": privacy_digest(policy), "privacy": policy.model_dump(mode="json")},
                )
            made: list[Reservation] = []
            for share in shares:
                self._refuse_twice(plan, share)
                figures = check_room(
                    share,
                    self._state.uses(share.cohort),
                    quarter=quarter,
                    rounds=plan.rounds,
                    policy=policy,
                )
                body = reserve_body(plan, digest, share, policy, figures, purpose)
                self._append(Kind.RESERVE, body)
                made += [self._state.get(row["reservation_id"]) for row in body["rounds"]]
        return tuple(made)

    def _share(self, plan: RunPlan, store_id: str) -> StoreShare:
        share = plan.share(store_id)
        if share is None:
            raise Refused(
                f"store {store_id!r} is not in the plan",
                where=f"run {plan.run_id}",
                remedy="plan the run with this store",
            )
        return share

    def _refuse_twice(self, plan: RunPlan, share: StoreShare) -> None:
        held = self._state.by_run.get((plan.run_id, share.store_id))
        if held:
            raise Refused(
                f"run {plan.run_id} is already reserved for store {share.store_id}",
                where=f"ledger of {self._owner}",
                remedy="look its reservations up, or plan a new run",
                reservations=held,
            )

    def cancel(self, reservation_id: str, *, reason: str) -> Entry:
        """Give back what was never dispatched; ``IllegalMove`` once it was."""
        return self._move(Kind.CANCEL, reservation_id, reason=reason)

    def dispatch(self, reservation_id: str) -> Entry:
        """Record, before it happens, that the round now uses private data."""
        return self._move(Kind.DISPATCH, reservation_id)

    def abort(self, reservation_id: str, *, reason: str) -> Entry:
        """Record that the round failed; it stays spent."""
        return self._move(Kind.ABORT, reservation_id, reason=reason)

    def commit(
        self,
        reservation_id: str,
        *,
        steps_executed: int,
        adapter_in: str,
        adapter_out: str,
        receipt: str = "",
    ) -> Entry:
        """Record that the round was done.

        The planned steps stay charged, however few were executed.

        Args:
            reservation_id: the round's; it must be dispatched.
            steps_executed: 0 to the planned steps.
            adapter_in: digest of the adapter that training began with.
            adapter_out: digest of the update that left the store.
            receipt: digest of the signed receipt, where there is one.

        Raises:
            IllegalMove: it was not dispatched, or is already committed or aborted.
            Refused: more steps than were reserved, or an adapter digest is missing.
        """
        return self._move(
            Kind.COMMIT,
            reservation_id,
            steps_executed=steps_executed,
            adapter_in=adapter_in,
            adapter_out=adapter_out,
            receipt=receipt,
        )

    def _move(self, kind: Kind, reservation_id: str, **facts: Any) -> Entry:  # noqa: ANN401
        with self._writing():
            self._catch_up()
            held = self._state.move(reservation_id, kind)
            steps = facts.get("steps_executed", 0)
            if isinstance(steps, bool) or not 0 <= steps <= held.mechanism.steps:
                raise Refused(
                    f"{steps} steps were executed, {held.mechanism.steps} are reserved",
                    where=f"reservation {reservation_id}",
                    remedy="abort it: what was not reserved must not leave the store",
                )
            if kind == Kind.COMMIT and not (facts["adapter_in"] and facts["adapter_out"]):
                raise Refused(
                    "a commit names the digests of the adapters in and out",
                    where=f"reservation {reservation_id}",
                )
            return self._append(kind, move_body(held, facts))

    def note_head(self, head: SignedHead, *, expected_key: str | None = None) -> Entry:
        """Remember the counterpart's head; refuse one that takes something back.

        The same head as before gives the entry that already noted it. A longer head is taken on
        trust until an export of the counterpart is verified against this ledger, which finds a
        fork.

        Args:
            head: of the other side.
            expected_key: the counterpart's enrolled key; ``None``: the one first seen.

        Raises:
            NotVerified: bad signature, another key than before, a shorter ledger than was seen,
                or another hash at the same length.
        """
        with self._writing():
            self._catch_up()
            known = self._state.check_head(head, expected_key=expected_key)
            return known or self._append(Kind.HEAD, head_body(head))

    # --- reading -----------------------------------------------------------------------------

    def reservations(self, run_id: str | None = None) -> tuple[Reservation, ...]:
        """Return the reservations of a run, or of all, in order of making."""
        with self._writing():
            self._catch_up()
            held = tuple(self._state.reservations.values())
        return tuple(r for r in held if run_id is None or r.run_id == run_id)

    def cohorts(self) -> tuple[str, ...]:
        """Return the cohorts that have reservations, sorted."""
        return tuple(sorted({held.cohort for held in self.reservations()}))

    def budget(
        self, cohort: str, policy: PrivacySettings, delta: float | None = None
    ) -> BudgetState:
        """Return what a cohort has spent and has left, this quarter and year.

        Args:
            cohort: whose.
            policy: holds the caps.
            delta: at which epsilon is told; ``None``: the policy's ``max_delta``. Where something
                was reserved at a smaller delta, that one counts.
        """
        with self._writing():
            self._catch_up()
            uses = tuple(self._state.uses(cohort))
            quarter = quarter_of(self._moment())
        return budget_state(
            cohort, uses, quarter=quarter, policy=policy, delta=delta or policy.max_delta
        )

    def head(self) -> SignedHead:
        """Return the signed head: same as :meth:`sign_head`."""
        return self.sign_head()

    def sign_head(self) -> SignedHead:
        """Return the present length and hash, signed."""
        with self._writing():
            self._catch_up()
            length, digest = self._state.length, self._state.head
        return self._signed(length, digest)

    def _signed(self, length: int, digest: str) -> SignedHead:
        return SignedHead(
            owner=self._owner,
            length=length,
            hash=digest,
            key=self._key.public_hex,
            signature=self._key.sign(head_bytes(self._owner, length, digest)),
        )

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in order."""
        return (parse(line) for line in self._store.lines())

    def export(self, out: Path) -> SignedHead:
        """Write one self-contained JSON-lines file, with public keys; return the head it ends with.

        Raises:
            BadInput: the file cannot be written.
        """
        with self._writing():
            self._catch_up()
            head = self._signed(self._state.length, self._state.head)
            seen_heads = dict(self._state.heads)
        keys = {owner: seen.key for owner, (seen, _) in seen_heads.items()}
        lines = self._store.lines(upto=head.length)
        write_export(out, head=head, keys={**keys, self._owner: head.key}, lines=lines)
        return head

    # --- inside a transaction ----------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._appended = False
            try:
                with self._store.transaction():
                    yield
            except BaseException:
                if self._appended:
                    # What was appended is undone on disk; fold anew from there.
                    self._state = LedgerState()
                raise

    def _catch_up(self) -> Entry | None:
        """Take in what other processes wrote; return the last new entry."""
        last = None
        for line in self._store.lines(after=self._state.length):
            last = parse(line)
            self._state.apply(last)
        return last

    def _moment(self) -> datetime:
        """Return now, never before the last entry: a clock set back gives no budget back."""
        now = self._clock.now()
        return max(now, datetime.fromisoformat(self._state.time)) if self._state.time else now

    def _append(self, kind: Kind, body: dict[str, Any]) -> Entry:
        entry = seal(
            seq=self._state.length + 1,
            prev=self._state.head,
            kind=kind,
            time=iso(self._moment()),
            body=body,
            key=self._key,
        )
        self._appended = True
        self._store.append(entry)
        self._state.apply(entry)
        return entry


def ledger_owner(path: Path) -> str:
    """Return whose ledger a file is, by its genesis entry; needs no key and writes nothing.

    Raises:
        Unavailable: the file cannot be used.
        NotVerified: it has no genesis entry.
    """
    store = EntryStore(path)
    try:
        first = next(store.lines(upto=1), None)
        entry = parse(first) if first is not None else None
    finally:
        store.close()
    if entry is None or entry.kind != Kind.GENESIS:
        raise NotVerified("the ledger does not begin with genesis", where=str(path))
    return str(entry.body["owner"])
