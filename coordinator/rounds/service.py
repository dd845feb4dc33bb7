"""HQ's side of a run: reserve, propose, dispatch, collect, close, resume; knows no Flower.

HQ's own ledger is reserved before any store is asked, so of two runs on the same remainder exactly
one goes on. Which stores take part is read from that ledger, never from memory: whoever resumes a
run sees what the one who crashed saw.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.rounds.collect import Collected, Contribution, Expected, Reply, collect
from coordinator.rounds.consent import Settlement, propose, settle
from coordinator.rounds.desk import Desk
from coordinator.rounds.files import Loaded, RunFiles
from shared.adapters import AdapterSpec, Arrays
from shared.errors import StoreWeaveError
from shared.hashing import digest_arrays
from shared.rounds import Refusal, RoundOutcome, RoundState, RunPlan
from strategies.factors import initial
from strategies.mean import noisy_mean, server_step

_OPEN = frozenset({RoundState.PLANNED, RoundState.RESERVED, RoundState.DISPATCHED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What goes out for a round: a signed order for each store, and the adapter for all."""

    number: int
    bodies: Mapping[str, bytes]
    arrays: Arrays


@dataclass(slots=True)
class _OpenRound:
    started: float
    adapter: Loaded
    expected: Expected


class RoundService:
    """Carries a run through its rounds; every step is durable before the next begins."""

    def __init__(self, desk: Desk, files: RunFiles) -> None:
        """Work at ``desk``; adapters lie in ``files``."""
        self._desk = desk
        self._files = files
        self._open: dict[tuple[str, int], _OpenRound] = {}

    def plan(self, run_id: str) -> RunPlan:
        """Return the plan of a run; ``BadInput`` where there is none."""
        return self._desk.plan(run_id)

    def log(self, run_id: str, event: str, **facts: object) -> None:
        """Append a progress event."""
        self._desk.log(run_id, event, **facts)

    def resume(self, run_id: str) -> tuple[int, ...]:
        """Fail a round that was cut short, its cost spent; return the rounds still to do."""
        self.plan(run_id)
        for number, state in sorted(self._desk.runs.states(run_id).items()):
            if state is RoundState.DISPATCHED:
                self._fail_interrupted(run_id, number)
        states = self._desk.runs.states(run_id)
        return tuple(sorted(n for n, state in states.items() if state in _OPEN))

    def proposed(self, run_id: str) -> bool:
        """Return whether the stores have accepted already, in an earlier start of this run."""
        return RoundState.PLANNED not in self._desk.runs.states(run_id).values()

    def propose(self, run_id: str) -> dict[str, bytes]:
        """Reserve at HQ and return the proposals; :func:`coordinator.rounds.consent.propose`."""
        return propose(self._desk, run_id)

    def settle(self, run_id: str, replies: Iterable[Reply]) -> Settlement:
        """Decide on the answers; :func:`coordinator.rounds.consent.settle`."""
        return settle(self._desk, run_id, replies)

    def open_round(self, run_id: str, number: int) -> Orders:
        """Dispatch a round: from here on its cost is spent, whatever happens.

        Raises:
            IllegalMove: the round is not reserved.
        """
        plan = self.plan(run_id)
        spec = AdapterSpec.from_dict(plan.spec)
        adapter = self.adapter_before(run_id, number)
        held = [r for r in self._desk.held(run_id, number) if r.state == "reserved"]
        self._desk.runs.move(run_id, number, RoundState.DISPATCHED)
        for reservation in held:
            self._desk.ledger.dispatch(reservation.reservation_id)
        names = sorted(reservation.store_id for reservation in held)
        expected = Expected(
            plan=plan,
            number=number,
            spec=spec,
            adapter_digest=digest_arrays(adapter),
            keys={name: self._desk.ledger_key(name) for name in names},
        )
        self._open[run_id, number] = _OpenRound(time.perf_counter(), adapter, expected)
        self.log(run_id, "round.started", round=number, stores=names)
        body = self._desk.order(plan, number, expected.adapter_digest)
        return Orders(number=number, bodies=dict.fromkeys(names, body), arrays=adapter)

    def close_round(
        self,
        run_id: str,
        number: int,
        replies: Sequence[Reply],
        bytes_down: Mapping[str, int],
    ) -> RoundOutcome:
        """Check the replies, account for each store, move the adapter and close the round.

        Fewer good updates than the quorum fail the round: its cost stays spent and the adapter
        stays as it was.
        """
        here = self._open.pop((run_id, number))
        received = time.perf_counter()
        found = self._verify_heads(collect(replies, here.expected))
        self._account(run_id, number, found)
        enough = len(found.contributions) >= max(1, here.expected.plan.quorum)
        adapter = self._advance(run_id, number, here, found.contributions if enough else ())
        ended = time.perf_counter()
        receipts = [c.receipt for c in found.contributions]
        at_stores = max((r.total_seconds for r in receipts), default=0.0)
        outcome = RoundOutcome(
            round_id=here.expected.plan.round_id(number),
            state=RoundState.CLOSED if enough else RoundState.FAILED,
            contributed=tuple(sorted(c.store_id for c in found.contributions)) if enough else (),
            refused=found.refusals,
            adapter_digest=digest_arrays(adapter),
            bytes_up=_sum_by_sender(replies, here.expected.keys),
            bytes_down=dict(bytes_down),
            seconds={
                "training": max((r.train_seconds for r in receipts), default=0.0),
                "flower": max(0.0, received - here.started - at_stores),
                "aggregation": ended - received,
                "total": ended - here.started,
            },
        )
        self._desk.runs.close(run_id, number, outcome, self._files.adapter(run_id, number))
        self._log_outcome(run_id, number, outcome)
        return outcome

    def adapter_before(self, run_id: str, number: int) -> Loaded:
        """Return the adapter that round ``number`` starts from: the last saved one or the first."""
        spec = AdapterSpec.from_dict(self.plan(run_id).spec)
        for earlier in range(number - 1, -1, -1):
            found = self._files.load(self._files.adapter(run_id, earlier), spec)
            if found is not None:
                return found
        return initial(spec)

    def _advance(
        self, run_id: str, number: int, here: _OpenRound, good: Sequence[Contribution]
    ) -> Loaded:
        """Write the adapter after the round; without contributions it is the one before."""
        plan, spec = here.expected.plan, here.expected.spec
        adapter = here.adapter
        velocity = self._files.load(self._files.velocity(run_id, number - 1), spec)
        if good:
            updates = [contribution.update.arrays for contribution in good]
            sizes = {share.store_id: share.mechanism.batch_constant for share in plan.shares}
            weights = [sizes[contribution.store_id] for contribution in good]
            mean = noisy_mean(updates, sum(sizes.values()), spec.shapes, weights)
            adapter, velocity = server_step(adapter, mean, velocity, plan.server_momentum)
            spec.check(adapter, sender="mean of the round")
        if plan.server_momentum and velocity is not None:
            self._files.save(self._files.velocity(run_id, number), velocity)
        self._files.save(self._files.adapter(run_id, number), adapter)
        return adapter

    def _account(self, run_id: str, number: int, found: Collected) -> None:
        good = {c.store_id: c for c in found.contributions}
        reasons = {refusal.sender: refusal.code for refusal in found.refusals}
        for held in self._desk.held(run_id, number):
            if held.state != "dispatched":
                continue
            contribution = good.get(held.store_id)
            if contribution is None:
                reason = reasons.get(held.store_id, "late_reply")
                self._desk.ledger.abort(held.reservation_id, reason=reason)
                continue
            self._desk.ledger.commit(
                held.reservation_id,
                steps_executed=contribution.receipt.steps_executed,
                adapter_in=contribution.receipt.adapter_in,
                adapter_out=contribution.receipt.update_digest,
                receipt=contribution.receipt.commit_hash,
            )

    def _verify_heads(self, found: Collected) -> Collected:
        """Note each contributor's ledger head; refuse who shows a forked or shortened ledger."""
        good: list[Contribution] = []
        refused = list(found.refusals)
        for contribution in found.contributions:
            name = contribution.store_id
            try:
                self._desk.note(contribution.receipt.head, name)
                good.append(contribution)
            except StoreWeaveError as error:
                refused.append(Refusal(sender=name, code=error.code, reason=str(error)))
        return Collected(contributions=tuple(good), refusals=tuple(refused))

    def _fail_interrupted(self, run_id: str, number: int) -> None:
        for held in self._desk.held(run_id, number):
            if held.state == "dispatched":
                self._desk.ledger.abort(held.reservation_id, reason="interrupted")
            elif held.state == "reserved":
                self._desk.ledger.cancel(held.reservation_id, reason="never dispatched")
        adapter = self.adapter_before(run_id, number)
        self._files.save(self._files.adapter(run_id, number), adapter)
        outcome = RoundOutcome(
            round_id=self.plan(run_id).round_id(number),
            state=RoundState.FAILED,
            contributed=(),
            refused=(Refusal(sender="hq", code="failure", reason="HQ was interrupted"),),
            adapter_digest=digest_arrays(adapter),
            bytes_up={},
            bytes_down={},
            seconds={},
        )
        self._desk.runs.close(run_id, number, outcome, self._files.adapter(run_id, number))
        self._log_outcome(run_id, number, outcome)

    def _log_outcome(self, run_id: str, number: int, outcome: RoundOutcome) -> None:
        self.log(
            run_id,
            "round.closed",
            round=number,
            state=str(outcome.state),
            contributed=list(outcome.contributed),
            refused={r.sender: r.code for r in outcome.refused},
            bytes_up=dict(outcome.bytes_up),
            bytes_down=dict(outcome.bytes_down),
            seconds={name: round(value, 3) for name, value in outcome.seconds.items()},
        )


def _sum_by_sender(replies: Sequence[Reply], planned: Iterable[str]) -> dict[str, int]:
    out = dict.fromkeys(planned, 0)
    for reply in replies:
        if reply.sender in out:
            out[reply.sender] += reply.bytes_up
    return out
