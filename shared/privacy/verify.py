"""Stand-alone verification of an exported ledger: needs the file and, at best, the public keys.

It shares no logic with :mod:`shared.privacy.ledger`, nor with what trains or plans: the chain, the
moves and every epsilon are done again here and in :mod:`shared.privacy.verify_rules`. The file is
read one line at a time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.errors import BadInput
from shared.hashing import canonical_json, sha256_hex
from shared.keys import verify as signature_is_good
from shared.privacy.verify_rules import Books, Violation

__all__ = ["Report", "Violation", "noted_heads", "verify_file"]

_FORMAT = "storeweave-ledger/1"
_CONTEXT = b"storeweave.ledger.entry.v1:"
_FIELDS = {"v", "seq", "prev", "kind", "time", "body", "key", "hash", "signature"}
_LONGEST_LINE = 16 * 1024 * 1024
_MOST_VIOLATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification found; ``cohorts`` holds epsilon by both accountants."""

    path: str
    owner: str
    key: str
    key_trusted: bool
    """Whether the caller knew the owner's key beforehand; without it, only the file's own word."""
    entries: int
    head: str
    violations: tuple[Violation, ...]
    cohorts: tuple[Mapping[str, Any], ...]
    policies: tuple[Mapping[str, Any], ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.violations

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "ok": self.ok,
            "path": self.path,
            "owner": self.owner,
            "key": self.key,
            "key_trusted": self.key_trusted,
            "entries": self.entries,
            "head": self.head,
            "violations": [violation.as_dict() for violation in self.violations],
            "cohorts": [dict(cohort) for cohort in self.cohorts],
            "policies": [dict(policy) for policy in self.policies],
        }


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield each line without its newline, and whether it had one."""
    try:
        with path.open("rb") as stream:
            while line := stream.readline(_LONGEST_LINE):
                yield line.rstrip(b"\n"), line.endswith(b"\n")
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from None


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line that is canonical JSON to the byte; else ``None``."""
    try:
        value = json.loads(line)
        canonical = canonical_json(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and canonical == line else None


def _signature(text: object) -> bytes:
    """Return the bytes of lower-case hex; nothing where it is not that (verifies under no key)."""
    try:
        raw = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
    return raw if raw.hex() == text else b""


class _Reader:
    """Walks over the lines of one export."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self.books = Books()
        self.wanted = wanted
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None
        self.seq = 0
        self.count = 0
        self.head = "0" * 64
        self.time: datetime | None = None
        self.owner = ""
        self.key = ""
        self.hashes: dict[int, str] = {}

    def flag(self, rule: str, evidence: str, entry: int | None = None) -> None:
        self.books.flag(self.seq if entry is None else entry, rule, evidence)

    def line(self, number: int, line: bytes, ended: bool) -> None:
        if not ended:
            self.flag("file", f"line {number} does not end with a newline: the file was cut")
        if self.last is not None:
            self.flag("file", f"line {number} comes after the signed head")
            return
        value = _object(line)
        if number == 1:
            self.first = value
            if value is None or set(value) != {"format", "owner", "keys", "length"}:
                self.flag("file", "the first line is not that of a ledger export", 0)
            elif value["format"] != _FORMAT:
                self.flag("file", f"format {value['format']!r} is unknown", 0)
        elif value is None:
            self.count += 1
            self.flag("damaged", f"line {number} is not canonical JSON", self.seq + 1)
        elif set(value) == {"head"}:
            self.last = value
        else:
            self.count += 1
            self.entry(number, value)

    def entry(self, number: int, value: dict[str, Any]) -> None:
        if set(value) != _FIELDS or value["v"] != 1 or not isinstance(value["body"], dict):
            self.flag("malformed", f"line {number} has not the fields of an entry", self.seq + 1)
            return
        seq = value["seq"]
        if not isinstance(seq, int) or isinstance(seq, bool):
            self.flag("malformed", f"line {number} has no sequence number", self.seq + 1)
            return
        if seq != self.seq + 1:
            self.flag("gap", f"entry {seq} follows entry {self.seq}", seq)
        self.seq = seq
        if value["prev"] != self.head:
            self.flag("chain", "it does not name the hash of the entry before it")
        payload = {name: value[name] for name in _FIELDS - {"hash", "signature"}}
        digest = sha256_hex(canonical_json(payload))
        if digest != value["hash"]:
            self.flag("hash", f"its hash is {digest[:16]}…, it names {str(value['hash'])[:16]}…")
        self.head = str(value["hash"])
        if seq in self.wanted:
            self.hashes[seq] = self.head
        self._signed(value)
        moment = self._moment(value["time"])
        if moment is not None:
            self.books.take(seq, str(value["kind"]), value["body"], moment)

    def _signed(self, value: dict[str, Any]) -> None:
        key = str(value["key"])
        if not signature_is_good(
            key, _CONTEXT + self.head.encode(errors="replace"), _signature(value["signature"])
        ):
            self.flag("signature", f"not signed by {key[:16]}…")
        if self.count == 1:
            body = value["body"]
            self.owner, self.key = str(body.get("owner", "")), key
            if value["kind"] != "genesis" or value["seq"] != 1:
                self.flag("genesis", "the ledger does not begin with its genesis entry")
            elif body.get("key") != key:
                self.flag("genesis", "genesis names another key than signed it")
        elif key != self.key:
            self.flag("key", f"signed with {key[:16]}…, the ledger's key is {self.key[:16]}…")

    def _moment(self, text: object) -> datetime | None:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            moment = None
        if moment is None or moment.utcoffset() is None or not str(text).endswith("Z"):
            self.flag("time", f"{text!r} is not a moment in UTC")
            return None
        if self.time is not None and moment < self.time:
            self.flag("time", f"{text} is before the entry that precedes it")
        self.time = moment
        return moment

    def close(self, trusted: Mapping[str, str]) -> None:
        self._close_first()
        head = (self.last or {}).get("head")
        if not isinstance(head, dict) or set(head) != {
            "owner",
            "length",
            "hash",
            "key",
            "signature",
        }:
            self.flag("head", "the file does not end with a signed head: entries may be missing")
        else:
            signed = canonical_json({n: head[n] for n in ("hash", "length", "owner")})
            if (head["owner"], head["length"], head["hash"], head["key"]) != (
                self.owner,
                self.seq,
                self.head,
                self.key,
            ):
                self.flag("head", f"the head is of {head['length']} entries, not of these")
            if not signature_is_good(str(head["key"]), signed, _signature(head["signature"])):
                self.flag("head", "the signature of the head does not hold")
        known = trusted.get(self.owner)
        if known is not None and known != self.key:
            self.flag("stranger", f"{self.owner!r} has key {known[:16]}…, not {self.key[:16]}…", 1)
        elif trusted and known is None:
            self.flag("stranger", f"no trusted key is known for {self.owner!r}", 1)

    def _close_first(self) -> None:
        first = self.first or {}
        if first.get("owner") != self.owner or first.get("length") != self.count:
            self.flag("file", "the first line names another owner or length than the entries", 0)
        if first.get("keys") != {**self.books.counterparts(), self.owner: self.key}:
            self.flag("file", "the first line names other public keys than the entries", 0)


def verify_file(
    path: Path,
    *,
    trusted: Mapping[str, str] | None = None,
    noted: Sequence[tuple[str, int, str]] = (),
) -> Report:
    """Verify an export, and say for each violation which entry, which rule, and what shows it.

    Args:
        path: the exported file.
        trusted: owner to public key (hex), as known from elsewhere. Where given, a ledger of
            another key is a stranger's.
        noted: heads (owner, length, hash) that counterparts noted, from :func:`noted_heads`; a
            ledger that was forked or rolled back since does not hold them.

    Raises:
        BadInput: the file cannot be read.
    """
    reader = _Reader(frozenset(length for _, length, _ in noted))
    for number, (line, ended) in enumerate(_lines(path), start=1):
        reader.line(number, line, ended)
    reader.close(trusted or {})
    for owner, length, digest in noted:
        if owner == reader.owner and reader.hashes.get(length) != digest:
            found = reader.hashes.get(length)
            what = f"has {found[:16]}…" if found else "is missing"
            reader.flag(
                "fork", f"a counterpart noted {digest[:16]}… here, the entry {what}", length
            )
    return Report(
        path=str(path),
        owner=reader.owner,
        key=reader.key,
        key_trusted=(trusted or {}).get(reader.owner) == reader.key and bool(reader.key),
        entries=reader.count,
        head=reader.head,
        violations=tuple(reader.books.violations[:_MOST_VIOLATIONS]),
        cohorts=tuple(reader.books.cohorts()),
        policies=tuple(reader.books.policy_list()),
    )


def noted_heads(path: Path) -> list[tuple[str, int, str]]:
    """Return the heads (owner, length, hash) that an exported ledger noted of its counterparts.

    Verify that file too: this only reads it.
    """
    found = []
    for line, _ in _lines(path):
        value = _object(line) or {}
        body = value.get("body")
        if value.get("kind") == "head" and isinstance(body, dict):
            length = body.get("length")
            if isinstance(length, int):
                found.append((str(body.get("owner")), length, str(body.get("hash"))))
    return found
