"""Asking the stores: reserve at HQ, propose, and decide on the answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.rounds.collect import Reply, StoreRefused
from coordinator.rounds.desk import Desk
from shared.errors import BadUpdate, Refused, StoreWeaveError, WrongDigest
from shared.rounds import Refusal, RoundState, RunPlan
from shared.wire import federation_pb2 as pb
from shared.wire.codec import check_signature, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What the stores said to a proposal."""

    accepted: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    withdrawals: Mapping[str, bytes]
    """Signed withdrawals to send, by store; empty where everybody accepted."""

    @property
    def goes_on(self) -> bool:
        """Whether the run takes place."""
        return bool(self.accepted)


def propose(desk: Desk, run_id: str) -> dict[str, bytes]:
    """Reserve every round at HQ and return the proposal for each planned store.

    Raises:
        BudgetRefused: HQ's ledger does not allow the run; all its rounds are refused.
        Refused: a planned store is not enrolled.
    """
    plan = desk.plan(run_id)
    names = [share.store_id for share in plan.shares]
    try:
        for name in names:
            desk.ledger_key(name)
        if not desk.ledger.reservations(run_id):
            desk.ledger.reserve(plan, store_ids=names, policy=desk.policy)
    except Refused as error:
        desk.move_all(run_id, RoundState.REFUSED)
        desk.log(run_id, "run.refused", code=error.code, reason=str(error))
        raise
    body = desk.proposal(plan)
    return dict.fromkeys(names, body)


def settle(desk: Desk, run_id: str, replies: Iterable[Reply]) -> Settlement:
    """Decide on the answers: any refusal, or too few answers, refuses the whole run.

    A store that stays silent is left out and its reservation released; the denominator of the
    mean stays that of the plan.
    """
    plan = desk.plan(run_id)
    accepted: list[str] = []
    refusals: list[Refusal] = []
    for reply in replies:
        try:
            _check_answer(desk, reply, plan, accepted)
            accepted.append(reply.sender)
            desk.log(run_id, "store.accepted", store=reply.sender)
        except StoreWeaveError as error:
            refusals.append(Refusal(sender=reply.sender, code=error.code, reason=str(error)))
            desk.log(run_id, "store.refused", store=reply.sender, code=error.code)
    goes_on = not refusals and len(accepted) >= max(1, plan.quorum)
    keep = accepted if goes_on else []
    leave = [share.store_id for share in plan.shares if share.store_id not in keep]
    for held in desk.ledger.reservations(run_id):
        if held.store_id in leave and held.state == "reserved":
            desk.ledger.cancel(held.reservation_id, reason="not accepted")
    desk.move_all(run_id, RoundState.RESERVED if goes_on else RoundState.REFUSED)
    if not goes_on:
        reasons = [f"{r.sender}: {r.code}" for r in refusals] or ["too few stores answered"]
        desk.log(run_id, "run.refused", code="refused", reason="; ".join(reasons))
    return Settlement(
        accepted=tuple(sorted(keep)),
        refusals=tuple(refusals),
        withdrawals={name: desk.withdrawal(plan) for name in leave},
    )


def _check_answer(desk: Desk, reply: Reply, plan: RunPlan, accepted: Sequence[str]) -> None:
    name = reply.sender
    if plan.share(name) is None or name in accepted:
        raise BadUpdate("an answer that nobody asked for", where=name)
    if reply.error:
        raise BadUpdate(f"no answer: {reply.error}", where=name, remedy="see the store's log")
    answer = decode(pb.Answer, reply.body, where=name)
    check_signature(answer, desk.ledger_key(name), where=name)
    desk.note(answer.head, name)
    if not answer.accepted:
        raise StoreRefused(answer.code, answer.reason, where=name)
    if answer.plan_digest != plan.digest or len(answer.reservation_ids) != plan.rounds:
        raise WrongDigest("the store accepted another plan", where=name)
