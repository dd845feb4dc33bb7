"""What a store does with HQ's messages, good and bad; its own ledger has the last word."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.clock import SystemClock
from shared.config import PrivacySettings, privacy_digest
from shared.hashing import digest_arrays
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger
from shared.rounds import RunPlan
from shared.wire import federation_pb2 as pb
from shared.wire.codec import check_signature, encode, head_to_wire, proposal_of, sign
from store_node.federation.service import FederationService
from strategies.factors import initial
from tests.federation_world import (
    SPEC,
    FakeTrainer,
    make_plan,
    make_service,
    make_store_home,
)

STORE = "berlin"


class Hq:
    """Signs as HQ does."""

    def __init__(self, root: Path) -> None:
        self.key = SigningKey.generate()
        self.ledger = Ledger.open(root / "hq.db", owner="hq", key=self.key, clock=SystemClock())

    def proposal(self, plan: RunPlan) -> bytes:
        return encode(proposal_of(plan, self.key, self.ledger.sign_head()))

    def order(self, plan: RunPlan, number: int = 1, **changes: object) -> bytes:
        order = pb.TrainOrder(
            run_id=plan.run_id,
            round_id=plan.round_id(number),
            number=number,
            plan_digest=plan.digest,
            adapter_digest=digest_arrays(initial(SPEC)),
            hq_head=head_to_wire(self.ledger.sign_head()),
        )
        for name, value in changes.items():
            setattr(order, name, value)
        return encode(sign(order, self.key))

    def withdrawal(self, plan: RunPlan) -> bytes:
        return encode(sign(pb.Withdrawal(run_id=plan.run_id, plan_digest=plan.digest), self.key))


class Setup:
    """A store, its HQ and a plan."""

    def __init__(self, root: Path) -> None:
        self.hq = Hq(root)
        self.home = make_store_home(root / STORE, STORE, self.hq.key.public_hex)
        self.trainer = FakeTrainer()
        self.store = self.again()
        self.plan = make_plan("run-1", (STORE,))

    def again(self, trainer: FakeTrainer | None = None) -> FederationService:
        """Start the store anew, as every message does."""
        key = self.hq.key.public_hex
        return make_service(self.home, STORE, key, trainer or self.trainer)

    def answer(self, plan: RunPlan) -> pb.Answer:
        answer = pb.Answer.FromString(self.store.handle_proposal(self.hq.proposal(plan)))
        check_signature(answer, self.store._key.public_hex, where=STORE)
        return answer

    def train(self, order: bytes, value: float = 0.0) -> tuple[pb.Receipt, dict[str, object]]:
        arrays = {name: array + np.float32(value) for name, array in initial(SPEC).items()}
        body, update = self.store.handle_train(order, arrays)
        receipt = pb.Receipt.FromString(body)
        check_signature(receipt, self.store._key.public_hex, where=STORE)
        return receipt, dict(update)

    def states(self) -> list[str]:
        return [str(r.state) for r in self.store._ledger.reservations("run-1")]


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    found = Setup(tmp_path)
    yield found
    found.store._ledger.close()
    found.hq.ledger.close()


def test_accepted_plan_is_reserved_for_all_rounds(setup: Setup) -> None:
    answer = setup.answer(setup.plan)
    assert answer.accepted
    assert len(answer.reservation_ids) == 2
    assert setup.states() == ["reserved", "reserved"]


def test_trained_round_is_committed_and_receipt_names_it(setup: Setup) -> None:
    setup.answer(setup.plan)
    receipt, update = setup.train(setup.hq.order(setup.plan))
    assert receipt.code == ""
    assert receipt.update_digest == digest_arrays(update)  # type: ignore[arg-type]
    assert receipt.steps_executed == 4
    commits = [e for e in setup.store._ledger.entries() if e.kind == "commit"]
    assert [e.hash for e in commits] == [receipt.commit_hash]
    assert commits[0].body["adapter_out"] == receipt.update_digest
    assert setup.states() == ["committed", "reserved"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"federation": "another"}, "federation"),
        ({"privacy_digest": privacy_digest(PrivacySettings(min_sigma=0.1))}, "privacy digest"),
        ({"unit": "record"}, "unit"),
        ({"noise": "shared"}, "noise"),
    ],
)
def test_plan_against_the_stores_own_promise_is_refused(
    setup: Setup, changes: dict[str, str], why: str
) -> None:
    answer = setup.answer(dataclasses.replace(setup.plan, **changes))  # type: ignore[arg-type]
    assert (answer.accepted, answer.code) == (False, "refused")
    assert why in answer.reason
    assert setup.states() == []


def test_same_customers_under_a_new_name_are_refused(setup: Setup) -> None:
    assert setup.answer(setup.plan).accepted
    renamed = make_plan("run-2", {STORE: "fresh-customers"})
    answer = setup.answer(renamed)
    assert not answer.accepted
    assert "fresh-customers" in answer.reason


def test_plan_over_the_stores_budget_is_refused(setup: Setup) -> None:
    assert setup.answer(make_plan("run-0", (STORE,), target=1.9)).accepted
    answer = setup.answer(make_plan("run-1", (STORE,), target=1.0))
    assert answer.code == "budget_refused"
    assert setup.states() == []


def test_stranger_is_refused(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Hq(tmp_path / "other")
    body = setup.store.handle_proposal(stranger.proposal(setup.plan))
    assert pb.Answer.FromString(body).code == "bad_signature"
    setup.answer(setup.plan)
    receipt, update = setup.train(stranger.order(setup.plan))
    assert (receipt.code, update) == ("bad_signature", {})
    body = setup.store.handle_withdrawal(stranger.withdrawal(setup.plan))
    assert pb.Answer.FromString(body).code == "bad_signature"
    assert setup.states() == ["reserved", "reserved"]
    stranger.ledger.close()


@pytest.mark.parametrize("body", [b"", b"junk"])
def test_junk_is_answered_not_raised(setup: Setup, body: bytes) -> None:
    assert pb.Answer.FromString(setup.store.handle_proposal(body)).code
    assert setup.train(body)[0].code


def test_other_adapter_than_signed_is_not_trained_on(setup: Setup) -> None:
    setup.answer(setup.plan)
    receipt, _update = setup.train(setup.hq.order(setup.plan), value=1.0)
    assert receipt.code == "wrong_digest"
    assert setup.trainer.calls == 0
    assert setup.states() == ["reserved", "reserved"]


def test_round_number_and_id_must_belong_together(setup: Setup) -> None:
    setup.answer(setup.plan)
    order = setup.hq.order(setup.plan, 2, round_id=setup.plan.round_id(1))
    assert setup.train(order)[0].code == "wrong_digest"


def test_a_reservation_is_trained_on_once(setup: Setup) -> None:
    setup.answer(setup.plan)
    order = setup.hq.order(setup.plan)
    setup.train(order)
    receipt, update = setup.train(order)
    assert (receipt.code, update) == ("illegal_move", {})
    assert setup.trainer.calls == 1


def test_crash_in_training_leaves_it_spent_and_is_reported(setup: Setup) -> None:
    setup.answer(setup.plan)

    class PowerCut(BaseException):
        pass

    class Cut(FakeTrainer):
        def train(self, **_options: object) -> object:  # type: ignore[override]
            raise PowerCut

    setup.store._ledger.close()
    setup.store = setup.again(Cut())
    order = setup.hq.order(setup.plan)
    with pytest.raises(PowerCut):
        setup.train(order)
    assert setup.states() == ["dispatched", "reserved"]
    setup.store._ledger.close()
    setup.store = setup.again()
    receipt, update = setup.train(order)
    assert (receipt.code, update) == ("illegal_move", {})
    assert "interrupted" in receipt.reason
    assert setup.trainer.calls == 0
    assert setup.states() == ["aborted", "reserved"]
    assert setup.train(setup.hq.order(setup.plan, 2))[0].code == ""


def test_nan_never_leaves_the_store(setup: Setup) -> None:
    setup.answer(setup.plan)
    setup.store._ledger.close()
    setup.store = setup.again(FakeTrainer(value=float("nan")))
    receipt, update = setup.train(setup.hq.order(setup.plan))
    assert (receipt.code, update) == ("not_finite", {})
    assert setup.states() == ["aborted", "reserved"]


def test_withdrawn_run_is_released_but_not_what_was_dispatched(setup: Setup) -> None:
    setup.answer(setup.plan)
    setup.train(setup.hq.order(setup.plan))
    body = setup.store.handle_withdrawal(setup.hq.withdrawal(setup.plan))
    assert pb.Answer.FromString(body).code == "withdrawn"
    assert setup.states() == ["committed", "cancelled"]
    assert setup.train(setup.hq.order(setup.plan, 2))[0].code == "illegal_move"


def test_hq_that_rolled_back_its_ledger_is_refused(setup: Setup) -> None:
    old = setup.hq.order(setup.plan)
    setup.hq.ledger.reserve(setup.plan, store_ids=[STORE], policy=PrivacySettings())
    setup.answer(setup.plan)
    receipt, _update = setup.train(old)
    assert receipt.code == "not_verified"
