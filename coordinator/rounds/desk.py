"""What every step of a run at HQ needs: ledger, registers, and HQ's signature on what goes out."""

from coordinator.ports import Runs, Stores
from shared.config import PrivacySettings
from shared.errors import BadInput, IllegalMove, Refused
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger, Reservation
from shared.rounds import RoundState, RunPlan
from shared.wire import federation_pb2 as pb
from shared.wire.codec import encode, head_of, head_to_wire, proposal_of, sign


class Desk:
    """HQ's ledger, registers and key, and the few acts on them that several steps share."""

    def __init__(
        self,
        *,
        key: SigningKey,
        ledger: Ledger,
        runs: Runs,
        stores: Stores,
        policy: PrivacySettings,
    ) -> None:
        """Bind HQ's ledger, registers and policy."""
        self._key = key
        self._stores = stores
        self.ledger = ledger
        self.runs = runs
        self.policy = policy

    def plan(self, run_id: str) -> RunPlan:
        """Return the plan of a run.

        Raises:
            BadInput: there is no such run.
        """
        plan = self.runs.plan(run_id)
        if plan is None:
            raise BadInput(f"there is no run {run_id!r}", remedy="see `storeweave hq round list`")
        return plan

    def log(self, run_id: str, event: str, **facts: object) -> None:
        """Append a progress event."""
        self.runs.log(run_id, event, facts)

    def ledger_key(self, store_id: str) -> str:
        """Return the enrolled ledger key of a store.

        Raises:
            Refused: the store is not enrolled.
        """
        store = self._stores.get(store_id)
        if store is None:
            raise Refused(
                "the planned store is not enrolled", where=store_id, remedy="enrol it, plan again"
            )
        return store.ledger_key

    def note(self, head: pb.SignedHead, store_id: str) -> None:
        """Note a store's ledger head.

        Raises:
            BadSignature, NotVerified: it is not the store's, or takes something back.
        """
        key = self.ledger_key(store_id)
        self.ledger.note_head(head_of(head, key, where=store_id), expected_key=key)

    def held(self, run_id: str, number: int) -> list[Reservation]:
        """Return HQ's reservations for a round."""
        return [r for r in self.ledger.reservations(run_id) if r.number == number]

    def move_all(self, run_id: str, state: RoundState) -> None:
        """Move every round on from ``planned``.

        Raises:
            IllegalMove: a round is further on already.
        """
        for number, now in self.runs.states(run_id).items():
            if now is RoundState.PLANNED:
                self.runs.move(run_id, number, state)
            elif now is not state:
                raise IllegalMove(f"round {number} is {now}, not planned", where=run_id)

    def proposal(self, plan: RunPlan) -> bytes:
        """Return the signed proposal of a plan."""
        return encode(proposal_of(plan, self._key, self.ledger.sign_head()))

    def withdrawal(self, plan: RunPlan) -> bytes:
        """Return the signed withdrawal of a run."""
        message = pb.Withdrawal(run_id=plan.run_id, plan_digest=plan.digest, reason="refused")
        return encode(sign(message, self._key))

    def order(self, plan: RunPlan, number: int, adapter_digest: str) -> bytes:
        """Return the signed order to train a round."""
        order = pb.TrainOrder(
            run_id=plan.run_id,
            round_id=plan.round_id(number),
            number=number,
            plan_digest=plan.digest,
            adapter_digest=adapter_digest,
            hq_head=head_to_wire(self.ledger.sign_head()),
        )
        return encode(sign(order, self._key))
