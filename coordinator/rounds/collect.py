"""Which replies of a round count: each is checked alone, and a bad one never spoils the others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.adapters import AdapterSpec, AdapterUpdate, Arrays
from shared.errors import BadUpdate, LateReply, StoreWeaveError, WrongDigest
from shared.rounds import Refusal, RunPlan
from shared.wire import federation_pb2 as pb
from shared.wire.codec import check_signature, decode
from strategies.checks import check_norm, check_sender, norm_bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back from one node: its bytes and tensors, or why there are none."""

    sender: str
    """The store that the node's public key is enrolled for; else the node's own name."""
    body: bytes = b""
    arrays: Arrays = field(default_factory=dict)
    error: str = ""
    """Flower's error, where the node sent no message."""
    bytes_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A reply that passed every check."""

    store_id: str
    update: AdapterUpdate
    receipt: pb.Receipt
    bytes_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a reply of this round must fit."""

    plan: RunPlan
    number: int
    spec: AdapterSpec
    adapter_digest: str
    keys: Mapping[str, str]
    """Ledger key of each store that was asked, as enrolled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The contributions and refusals of a round, in order of arrival."""

    contributions: tuple[Contribution, ...]
    refusals: tuple[Refusal, ...]


def collect(replies: Iterable[Reply], expected: Expected) -> Collected:
    """Check every reply; a store that was asked and sent nothing is refused as late."""
    good: dict[str, Contribution] = {}
    refused: list[Refusal] = []
    heard: set[str] = set()
    for reply in replies:
        try:
            contribution = check_reply(reply, expected, seen=good)
        except StoreWeaveError as error:
            refused.append(Refusal(sender=reply.sender, code=error.code, reason=str(error)))
            if not isinstance(error, LateReply):
                heard.add(reply.sender)
        else:
            good[contribution.store_id] = contribution
            heard.add(reply.sender)
    for store_id in expected.keys:
        if store_id not in heard:
            late = LateReply("no reply before the deadline", where=store_id)
            refused.append(Refusal(sender=store_id, code=late.code, reason=str(late)))
    return Collected(contributions=tuple(good.values()), refusals=tuple(refused))


def check_reply(
    reply: Reply, expected: Expected, *, seen: Mapping[str, Contribution]
) -> Contribution:
    """Return the contribution of a reply.

    Raises:
        UnplannedContribution: a stranger, another store's receipt, or a second reply.
        BadSignature: the receipt is not signed with the store's enrolled key.
        LateReply: the receipt is of another round.
        WrongDigest: plan, adapter, spec or update are not those of the round.
        WrongShape, NotFinite: the tensors are not those of the spec.
        BadUpdate: no readable reply, the store refused, or the update cannot be the plan's.
    """
    plan, sender = expected.plan, reply.sender
    check_sender(sender, expected.keys, ())
    if reply.error:
        raise BadUpdate(f"no answer: {reply.error}", where=sender, remedy="see the store's log")
    receipt = decode(pb.Receipt, reply.body, where=sender)
    check_signature(receipt, expected.keys[sender], where=sender)
    if receipt.code:
        raise StoreRefused(receipt.code, receipt.reason, where=sender)
    if receipt.run_id != plan.run_id or receipt.round_id != plan.round_id(expected.number):
        raise LateReply(f"the receipt is of round {receipt.round_id}", where=sender)
    check_sender(receipt.store_id, (sender,), seen)
    if receipt.plan_digest != plan.digest:
        raise WrongDigest("the receipt is of another plan", where=sender)
    if receipt.adapter_in != expected.adapter_digest:
        raise WrongDigest("the store trained from another adapter", where=sender)
    update = AdapterUpdate(
        store_id=sender,
        round_id=receipt.round_id,
        spec_digest=receipt.spec_digest,
        arrays=reply.arrays,
        digest=receipt.update_digest,
    )
    update.check(expected.spec)
    _check_amounts(update, receipt, expected)
    return Contribution(store_id=sender, update=update, receipt=receipt, bytes_up=reply.bytes_up)


def _check_amounts(update: AdapterUpdate, receipt: pb.Receipt, expected: Expected) -> None:
    share = expected.plan.share(update.store_id)
    if share is None or not 1 <= receipt.steps_executed <= share.mechanism.steps:
        raise BadUpdate(
            f"{receipt.steps_executed} steps were executed, not those of the plan",
            where=update.store_id,
        )
    customers = max(share.public_customers, share.mechanism.batch_cap)
    bound = norm_bound(share.mechanism, customers=customers, parameters=expected.spec.parameters)
    check_norm(update.arrays, bound, sender=update.store_id)


class StoreRefused(BadUpdate):
    """The store answered that it did not train; carries the store's own error code."""

    def __init__(self, code: str, reason: str, *, where: str) -> None:
        """Keep the store's code as this error's own."""
        super().__init__(reason or "the store refused", where=where)
        self.code = code  # type: ignore[misc]
