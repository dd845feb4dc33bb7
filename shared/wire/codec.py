"""Between protobuf bytes and our own types, and the signatures on messages; pure functions."""

import json
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from shared.errors import BadSignature, BadUpdate, WrongDigest
from shared.hashing import canonical_json
from shared.keys import SigningKey, verify
from shared.privacy.ledger import SignedHead
from shared.rounds import RunPlan
from shared.wire import federation_pb2 as pb

AnyMessage = TypeVar("AnyMessage", bound=Message)
_SIGNATURES = ("signature", "hq_signature")
_KEYS = {"signature": "key", "hq_signature": "hq_key"}


def encode(message: Message) -> bytes:
    """Return the deterministic encoding of ``message``."""
    return message.SerializeToString(deterministic=True)


def decode(kind: type[AnyMessage], data: bytes, *, where: str) -> AnyMessage:
    """Return the message of ``data``.

    Raises:
        BadUpdate: the bytes are not such a message.
    """
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise BadUpdate(
            f"the bytes are not a {name}", where=where, remedy="run the same release on both sides"
        ) from None
    return message


def signed_bytes(message: Message) -> bytes:
    """Return what the signature of ``message`` is over: its name, a zero byte, itself unsigned."""
    bare = type(message)()
    bare.CopyFrom(message)
    bare.ClearField(_signature_field(message))
    return message.DESCRIPTOR.full_name.encode() + b"\0" + encode(bare)


def sign(message: AnyMessage, key: SigningKey) -> AnyMessage:
    """Write ``key`` and signature into ``message`` and return it."""
    field = _signature_field(message)
    setattr(message, _KEYS[field], key.public_hex)
    setattr(message, field, key.sign(signed_bytes(message)))
    return message


def check_signature(message: Message, public_hex: str, *, where: str) -> None:
    """Raise unless ``message`` is signed with the key that we hold for its sender.

    The key that the message names is never trusted by itself.

    Raises:
        BadSignature: another key, or the bytes changed.
    """
    field = _signature_field(message)
    named: str = getattr(message, _KEYS[field])
    signature: bytes = getattr(message, field)
    if named != public_hex or not verify(public_hex, signed_bytes(message), signature):
        raise BadSignature(
            f"the {message.DESCRIPTOR.name} is not signed with the enrolled key",
            where=where,
            remedy="enrol the key again if it was replaced",
        )


def head_to_wire(head: SignedHead) -> pb.SignedHead:
    """Return the message of a signed ledger head."""
    return pb.SignedHead(
        owner=head.owner,
        length=head.length,
        hash=head.hash,
        key=head.key,
        signature=head.signature,
    )


def head_of(message: pb.SignedHead, expected_key: str, *, where: str) -> SignedHead:
    """Return the ledger head of its message; the ledger checks signature and history.

    Raises:
        BadSignature: the head is of another key than its sender's.
    """
    if message.key != expected_key:
        raise BadSignature("the ledger head is of another key than the sender's", where=where)
    return SignedHead(
        owner=message.owner,
        length=message.length,
        hash=message.hash,
        key=message.key,
        signature=message.signature,
    )


def proposal_of(plan: RunPlan, key: SigningKey, head: SignedHead) -> pb.Proposal:
    """Return HQ's signed proposal of ``plan``."""
    digest = plan.digest
    return pb.Proposal(
        plan=canonical_json(plan.as_dict()),
        plan_digest=digest,
        hq_key=key.public_hex,
        hq_signature=key.sign(digest.encode("ascii")),
        hq_head=head_to_wire(head),
    )


def plan_of(proposal: pb.Proposal, hq_key: str, *, where: str) -> RunPlan:
    """Return the plan of a proposal, verified under HQ's key.

    Raises:
        BadSignature: not HQ's signature.
        WrongDigest: the plan is not the one that was signed.
        BadUpdate: not a plan.
    """
    digest = proposal.plan_digest
    signed = verify(hq_key, digest.encode(), proposal.hq_signature)
    if proposal.hq_key != hq_key or not signed:
        raise BadSignature(
            "the Proposal is not signed with HQ's key", where=where, remedy="join the store again"
        )
    plan = parse_plan(proposal.plan, where=where)
    if plan.digest != digest:
        raise WrongDigest("the plan is not the one that HQ signed", where=where)
    return plan


def parse_plan(data: bytes, *, where: str) -> RunPlan:
    """Return the plan of its JSON.

    Raises:
        BadUpdate: not a plan.
    """
    try:
        return RunPlan.from_dict(json.loads(data))
    except (ValueError, TypeError, KeyError):
        raise BadUpdate(
            "not a run plan", where=where, remedy="run the same release on both sides"
        ) from None


def _signature_field(message: Message) -> str:
    names = message.DESCRIPTOR.fields_by_name
    return next(name for name in _SIGNATURES if name in names)
