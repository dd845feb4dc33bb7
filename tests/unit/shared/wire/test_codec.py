"""Messages survive the wire; signatures hold for exactly what was signed."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadSignature, BadUpdate, WrongDigest
from shared.hashing import canonical_json
from shared.keys import SigningKey
from shared.privacy.ledger import SignedHead
from shared.rounds import Mechanism, RunPlan, StoreShare
from shared.wire import federation_pb2 as pb
from shared.wire.codec import (
    check_signature,
    decode,
    encode,
    head_of,
    head_to_wire,
    parse_plan,
    plan_of,
    proposal_of,
    sign,
    signed_bytes,
)

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
HEAD = SignedHead(owner="hq", length=3, hash="ab" * 32, key=KEY.public_hex, signature=b"s")
PLAN = RunPlan(
    run_id="run-1",
    federation="chain",
    created="2026-11-23T00:00:00.000Z",
    rounds=2,
    shares=(
        StoreShare(
            store_id="berlin",
            cohort="berlin-customers",
            public_customers=1000,
            delta=1e-6,
            mechanism=Mechanism(
                sampling="whole",
                sample_rate=1.0,
                batch_cap=0,
                steps=4,
                sigma=2.5,
                clip=1.0,
                texts_per_customer=1,
                batch_constant=1000,
                learning_rate=0.1,
            ),
            epsilon=1.0,
        ),
    ),
    unit="customer",
    adjacency="add-or-remove-one",
    noise="store",
    spec={"kind": "rxr"},
    privacy_digest="0" * 64,
    quorum=1,
    deadline_s=60.0,
    server_momentum=0.0,
    estimated_minutes=1.0,
    bytes_up=1,
    bytes_down=1,
)


@given(steps=st.integers(0, 2**32 - 1), seconds=st.floats(allow_nan=False), name=st.text())
def test_receipt_survives_the_wire_with_its_signature(
    steps: int, seconds: float, name: str
) -> None:
    receipt = pb.Receipt(store_id=name, steps_executed=steps, train_seconds=seconds)
    back = decode(pb.Receipt, encode(sign(receipt, KEY)), where="x")
    check_signature(back, KEY.public_hex, where="x")
    assert (back.store_id, back.steps_executed, back.train_seconds) == (name, steps, seconds)


@pytest.mark.parametrize("field", ["store_id", "update_digest", "round_id", "code"])
def test_a_changed_field_breaks_the_signature(field: str) -> None:
    receipt = sign(pb.Receipt(store_id="a", update_digest="b", round_id="c"), KEY)
    setattr(receipt, field, "other")
    with pytest.raises(BadSignature):
        check_signature(receipt, KEY.public_hex, where="x")


def test_the_key_that_a_message_names_is_not_trusted() -> None:
    with pytest.raises(BadSignature):
        check_signature(sign(pb.Answer(store_id="a"), OTHER), KEY.public_hex, where="x")


def test_a_signature_holds_for_one_kind_of_message_only() -> None:
    order, withdrawal = pb.TrainOrder(run_id="r"), pb.Withdrawal(run_id="r")
    assert encode(order) == encode(withdrawal)
    assert signed_bytes(order) != signed_bytes(withdrawal)


def test_foreign_bytes_are_refused() -> None:
    with pytest.raises(BadUpdate):
        decode(pb.Receipt, b"\xff\xff", where="x")


def test_proposal_carries_the_same_plan() -> None:
    proposal = decode(pb.Proposal, encode(proposal_of(PLAN, KEY, HEAD)), where="x")
    assert plan_of(proposal, KEY.public_hex, where="x") == PLAN
    assert head_of(proposal.hq_head, KEY.public_hex, where="x") == HEAD


def test_changed_plan_and_foreign_proposal_are_refused() -> None:
    proposal = proposal_of(PLAN, KEY, HEAD)
    changed = dataclasses.replace(PLAN, rounds=3)
    proposal.plan = canonical_json(changed.as_dict())
    with pytest.raises(WrongDigest):
        plan_of(proposal, KEY.public_hex, where="x")
    with pytest.raises(BadSignature):
        plan_of(proposal_of(PLAN, OTHER, HEAD), KEY.public_hex, where="x")


def test_head_of_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        head_of(head_to_wire(HEAD), OTHER.public_hex, where="x")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"run_id": 1}', b"\xff"])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(BadUpdate):
        parse_plan(data, where="x")
