"""Entries of a ledger and signed heads: their form, how they are sealed, how they are read back.

An entry is one line of RFC 8785 canonical JSON with the fields ``v seq prev kind time body key
hash signature``. ``hash`` is the SHA-256 of the canonical JSON of the entry without ``hash`` and
``signature``; ``signature`` is Ed25519 by ``key`` over :data:`ENTRY_CONTEXT` and the hash in ASCII.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import NotVerified
from shared.hashing import canonical_json, sha256_hex
from shared.keys import SigningKey, verify
from shared.rounds import Mechanism

VERSION = 1
FORMAT = "storeweave-ledger/1"
FIRST_PREV = "0" * 64
ENTRY_CONTEXT = b"storeweave.ledger.entry.v1:"
FIELDS = ("v", "seq", "prev", "kind", "time", "body", "key", "hash", "signature")


class Kind(StrEnum):
    """What an entry records."""

    GENESIS = "genesis"
    POLICY = "policy"
    RESERVE = "reserve"
    CANCEL = "cancel"
    DISPATCH = "dispatch"
    COMMIT = "commit"
    ABORT = "abort"
    HEAD = "head"


class ReservationState(StrEnum):
    """Where a reservation is; all but ``cancelled`` count as spent."""

    RESERVED = "reserved"
    CANCELLED = "cancelled"
    DISPATCHED = "dispatched"
    COMMITTED = "committed"
    ABORTED = "aborted"


RESERVATION_MOVES: Mapping[ReservationState, Mapping[Kind, ReservationState]] = {
    ReservationState.RESERVED: {
        Kind.CANCEL: ReservationState.CANCELLED,
        Kind.DISPATCH: ReservationState.DISPATCHED,
        Kind.ABORT: ReservationState.ABORTED,
    },
    ReservationState.DISPATCHED: {
        Kind.COMMIT: ReservationState.COMMITTED,
        Kind.ABORT: ReservationState.ABORTED,
    },
    ReservationState.CANCELLED: {},
    ReservationState.COMMITTED: {},
    ReservationState.ABORTED: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry; ``signature`` is over the hash, ``time`` is RFC 3339 in UTC with milliseconds."""

    seq: int
    hash: str
    prev: str
    kind: str
    time: str
    body: Mapping[str, Any]
    key: str
    signature: bytes

    def line(self) -> bytes:
        """Return the canonical line, without newline."""
        return canonical_json(
            {
                **_payload(self.seq, self.prev, self.kind, self.time, self.body, self.key),
                "hash": self.hash,
                "signature": self.signature.hex(),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """One round of one store, held before anything is spent.

    ``mechanism`` is that of this round; ``number`` is the round's, from 1.
    """

    reservation_id: str
    run_id: str
    round_id: str
    number: int
    store_id: str
    cohort: str
    mechanism: Mechanism
    delta: float
    state: ReservationState
    plan_digest: str
    quarter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """So many entries, this hash: signed by the ledger's owner, kept by its counterpart."""

    owner: str
    length: int
    hash: str
    key: str
    signature: bytes

    def signed_bytes(self) -> bytes:
        """Return what the signature is over."""
        return head_bytes(self.owner, self.length, self.hash)

    def verified(self) -> bool:
        """Return whether the signature holds under the key that the head names."""
        return verify(self.key, self.signed_bytes(), self.signature)


def head_bytes(owner: str, length: int, digest: str) -> bytes:
    """Return the canonical JSON of a head."""
    return canonical_json({"hash": digest, "length": length, "owner": owner})


def _payload(
    seq: int, prev: str, kind: str, time: str, body: Mapping[str, Any], key: str
) -> dict[str, Any]:
    return {
        "v": VERSION,
        "seq": seq,
        "prev": prev,
        "kind": str(kind),
        "time": time,
        "body": dict(body),
        "key": key,
    }


def seal(
    *, seq: int, prev: str, kind: Kind, time: str, body: Mapping[str, Any], key: SigningKey
) -> Entry:
    """Return the entry, hashed and signed."""
    digest = sha256_hex(canonical_json(_payload(seq, prev, kind, time, body, key.public_hex)))
    return Entry(
        seq=seq,
        hash=digest,
        prev=prev,
        kind=str(kind),
        time=time,
        body=body,
        key=key.public_hex,
        signature=key.sign(ENTRY_CONTEXT + digest.encode()),
    )


def parse(line: bytes) -> Entry:
    """Return the entry of a line whose hash holds; signatures are checked by whoever trusts a key.

    Raises:
        NotVerified: not an entry of ours, not canonical, or another hash than it names.
    """
    try:
        value = json.loads(line)
        entry = Entry(
            seq=value["seq"],
            hash=value["hash"],
            prev=value["prev"],
            kind=value["kind"],
            time=value["time"],
            body=value["body"],
            key=value["key"],
            signature=bytes.fromhex(value["signature"]),
        )
        payload = _payload(entry.seq, entry.prev, entry.kind, entry.time, entry.body, entry.key)
        good = entry.line() == line and sha256_hex(canonical_json(payload)) == entry.hash
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise NotVerified(
            "a line of the ledger is damaged or was changed",
            where="ledger",
            remedy="run `storeweave audit verify` on an export; restore the ledger from a copy",
        )
    return entry


def signature_holds(entry: Entry) -> bool:
    """Return whether the entry's signature is that of its hash under its own key."""
    return verify(entry.key, ENTRY_CONTEXT + entry.hash.encode(), entry.signature)
