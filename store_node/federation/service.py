"""A store's side of a run: judge the plan, reserve, train, sign; knows no Flower.

The store trusts nobody: it verifies HQ's signature under the key it joined with, judges the plan
by its own ``[privacy]`` settings, and spends only what its own ledger lets it reserve. Refusals go
back as an error code and one line; a foreign exception's words stay here: they may quote data.
"""

import time
from collections.abc import Callable
from pathlib import Path

from shared.adapters import AdapterSpec, AdapterUpdate, Arrays
from shared.config import PrivacySettings
from shared.errors import IllegalMove, StoreWeaveError, WrongDigest
from shared.hashing import digest_arrays
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger, Reservation
from shared.rounds import RunPlan, StoreShare
from shared.wire import federation_pb2 as pb
from shared.wire.codec import (
    check_signature,
    decode,
    encode,
    head_of,
    head_to_wire,
    plan_of,
    sign,
)
from store_node.federation.plans import AcceptedPlans
from store_node.federation.policy import Membership, check_plan
from store_node.ports import LocalTrainer, TrainResult

_FROM_HQ = "message of HQ"


class FederationService:
    """Answers HQ's three kinds of message: proposal, withdrawal, training order."""

    def __init__(
        self,
        *,
        membership: Membership,
        key: SigningKey,
        ledger: Ledger,
        policy: PrivacySettings,
        folder: Path,
        trainer: Callable[[], LocalTrainer],
        on_step: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """Bind the store's ledger, policy and trainer; ``trainer`` is called only to train."""
        self._member = membership
        self._key = key
        self._ledger = ledger
        self._policy = policy
        self._plans = AcceptedPlans(folder)
        self._trainer = trainer
        self._on_step = on_step

    def handle_proposal(self, body: bytes) -> bytes:
        """Reserve every round of the proposed run, or refuse; return the signed answer."""
        answer = pb.Answer(store_id=self._member.store_id)
        try:
            proposal = decode(pb.Proposal, body, where=_FROM_HQ)
            plan = plan_of(proposal, self._member.hq_key, where=_FROM_HQ)
            answer.plan_digest = plan.digest
            self._note(proposal.hq_head)
            answer.reservation_ids.extend(self._reserve(plan))
            answer.accepted = True
        except StoreWeaveError as error:
            answer.code, answer.reason = error.code, str(error)
        answer.head.CopyFrom(head_to_wire(self._ledger.sign_head()))
        return encode(sign(answer, self._key))

    def handle_withdrawal(self, body: bytes) -> bytes:
        """Release what a withdrawn run reserved and did not dispatch; return the signed answer."""
        answer = pb.Answer(store_id=self._member.store_id)
        try:
            message = decode(pb.Withdrawal, body, where=_FROM_HQ)
            check_signature(message, self._member.hq_key, where=_FROM_HQ)
            answer.plan_digest = message.plan_digest
            self._plans.get(message.run_id, message.plan_digest)
            for held in self._reservations(message.run_id):
                if held.state == "reserved":
                    self._ledger.cancel(held.reservation_id, reason="withdrawn by HQ")
            answer.code = "withdrawn"
        except StoreWeaveError as error:
            answer.code, answer.reason = error.code, str(error)
        answer.head.CopyFrom(head_to_wire(self._ledger.sign_head()))
        return encode(sign(answer, self._key))

    def handle_train(self, body: bytes, arrays: Arrays) -> tuple[bytes, Arrays]:
        """Train one reserved round; return the signed receipt and the update (empty if refused)."""
        started = time.perf_counter()
        receipt = pb.Receipt(store_id=self._member.store_id)
        update: Arrays = {}
        try:
            order = decode(pb.TrainOrder, body, where=_FROM_HQ)
            check_signature(order, self._member.hq_key, where=_FROM_HQ)
            receipt.run_id, receipt.round_id = order.run_id, order.round_id
            receipt.plan_digest, receipt.adapter_in = order.plan_digest, order.adapter_digest
            update = self._train(order, arrays, receipt)
        except StoreWeaveError as error:
            receipt.code, receipt.reason = error.code, str(error)
        receipt.head.CopyFrom(head_to_wire(self._ledger.sign_head()))
        receipt.total_seconds = time.perf_counter() - started
        return encode(sign(receipt, self._key)), update

    def _reserve(self, plan: RunPlan) -> list[str]:
        cohorts = self._ledger.cohorts()
        check_plan(plan, self._member, cohorts=cohorts, policy=self._policy)
        AdapterSpec.from_dict(plan.spec)
        held = self._reservations(plan.run_id)
        if held:
            # HQ asks again after a crash of its own: the same plan keeps its reservations.
            self._plans.get(plan.run_id, plan.digest)
            if any(reservation.state != "reserved" for reservation in held):
                raise IllegalMove("this run has already begun or was withdrawn", where=plan.run_id)
        else:
            self._plans.put(plan)
            held = self._ledger.reserve(
                plan, store_ids=[self._member.store_id], policy=self._policy
            )
        return [r.reservation_id for r in sorted(held, key=lambda r: r.number)]

    def _train(self, order: pb.TrainOrder, arrays: Arrays, receipt: pb.Receipt) -> Arrays:
        plan = self._plans.get(order.run_id, order.plan_digest)
        cohorts = self._ledger.cohorts()
        share = check_plan(plan, self._member, cohorts=cohorts, policy=self._policy)
        self._note(order.hq_head)
        held = self._held(plan, order)
        receipt.reservation_id = held.reservation_id
        spec = AdapterSpec.from_dict(plan.spec)
        receipt.spec_digest = spec.digest
        spec.check(arrays, sender=_FROM_HQ)
        if digest_arrays(arrays) != order.adapter_digest:
            raise WrongDigest("the adapter is not the one that HQ signed", where=order.round_id)
        trainer = self._trainer()
        self._ledger.dispatch(held.reservation_id)
        result = self._run(trainer, held, spec, arrays, share)
        sealed = AdapterUpdate.seal(
            store_id=share.store_id, round_id=order.round_id, spec=spec, arrays=result.update
        )
        entry = self._ledger.commit(
            held.reservation_id,
            steps_executed=result.steps,
            adapter_in=order.adapter_digest,
            adapter_out=sealed.digest,
        )
        receipt.update_digest = sealed.digest
        receipt.steps_executed = result.steps
        receipt.commit_hash = entry.hash
        receipt.train_seconds = result.seconds
        return sealed.arrays

    def _run(
        self,
        trainer: LocalTrainer,
        held: Reservation,
        spec: AdapterSpec,
        arrays: Arrays,
        share: StoreShare,
    ) -> TrainResult:
        """Train; whatever goes wrong from here on leaves the reservation spent."""
        try:
            result = trainer.train(
                spec=spec, adapter=arrays, mechanism=share.mechanism, on_step=self._on_step
            )
            spec.check(result.update, sender=share.store_id)
        except StoreWeaveError as error:
            self._ledger.abort(held.reservation_id, reason=error.code)
            raise
        except Exception as error:
            self._ledger.abort(held.reservation_id, reason=type(error).__name__)
            raise StoreWeaveError(
                f"training failed with {type(error).__name__}",
                where=share.store_id,
                remedy="see the store's log",
            ) from error
        return result

    def _held(self, plan: RunPlan, order: pb.TrainOrder) -> Reservation:
        """Return the round's untouched reservation; a used one is never trained on again."""
        if plan.round_id(order.number) != order.round_id:
            raise WrongDigest("round id and number do not belong together", where=order.round_id)
        mine = [r for r in self._reservations(order.run_id) if r.number == order.number]
        if not mine:
            raise IllegalMove("nothing is reserved for this round", where=order.round_id)
        held = mine[0]
        if held.state == "dispatched":
            self._ledger.abort(held.reservation_id, reason="interrupted")
            raise IllegalMove(
                "training of this round was interrupted; its cost stays spent",
                where=order.round_id,
                remedy="the next round goes on",
            )
        if held.state != "reserved":
            raise IllegalMove(f"the reservation is {held.state}", where=order.round_id)
        return held

    def _reservations(self, run_id: str) -> tuple[Reservation, ...]:
        return tuple(
            r for r in self._ledger.reservations(run_id) if r.store_id == self._member.store_id
        )

    def _note(self, head: pb.SignedHead) -> None:
        key = self._member.hq_key
        self._ledger.note_head(head_of(head, key, where=_FROM_HQ), expected_key=key)
