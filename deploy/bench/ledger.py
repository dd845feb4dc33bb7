"""The privacy ledger: durable appends, and verification of its export."""

import hashlib
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deploy.bench.measure import at_least, result, seconds
from shared.clock import SystemClock, iso
from shared.config import PrivacySettings, privacy_digest
from shared.errors import NotVerified
from shared.keys import SigningKey
from shared.privacy.accounting import epsilon
from shared.privacy.entries import ENTRY_CONTEXT, parse
from shared.privacy.events import event_of
from shared.privacy.ledger import Ledger
from shared.privacy.verify import verify_file
from shared.rounds import Mechanism, RunPlan, StoreShare

_STORE = "bench"
_POLICY = PrivacySettings()
_DIGEST = "0" * 64


def measure_ledger(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Reserve ``rounds`` rounds, then append a dispatch and a commit for each; verify the export.

    Args:
        folder: on the disk to be measured; everything is written below it and removed.
        rounds: half the number of appends that are timed.
    """
    at_least(1, rounds=rounds)
    folder.mkdir(parents=True, exist_ok=True)
    key = SigningKey.generate()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as name:
        work = Path(name)
        export = work / "export.jsonl"
        with Ledger.open(work / "ledger.db", owner=_STORE, key=key, clock=SystemClock()) as ledger:
            held = ledger.reserve(_plan(rounds), store_ids=(_STORE,), policy=_POLICY)

            def append() -> None:
                for reservation in held:
                    ledger.dispatch(reservation.reservation_id)
                    ledger.commit(
                        reservation.reservation_id,
                        steps_executed=1,
                        adapter_in=_DIGEST,
                        adapter_out=_DIGEST,
                    )

            appending = seconds(append)
            ledger.export(export)
        verifying = seconds(lambda: _verify(export, key))
        lines = export.read_bytes().splitlines()[1:-1]
        plain_appending = seconds(lambda: _write_plainly(work / "plain", lines[-2 * rounds :], key))
        # Parsed beforehand: the plain check is of bytes that lie ready in memory.
        signed = [(line, entry.hash, entry.signature) for line in lines for entry in [parse(line)]]
        plain_verifying = seconds(lambda: _check_plainly(signed, key))
        return result(
            "ledger",
            size={
                "appends": 2 * rounds,
                "entries": len(lines),
                "bytes": export.stat().st_size,
                "figure_is": "dispatch and commit entries, each its own durable transaction in "
                "SQLite; verify_file on the export, both accountants included",
                "yardstick_is": "the same lines signed and appended to a file with fsync; SHA-256 "
                "of each line and Ed25519 of each signature, nothing parsed",
            },
            figure={
                "appends_per_s": 2 * rounds / appending,
                "verified_entries_per_s": len(lines) / verifying,
            },
            yardstick={
                "appends_per_s": 2 * rounds / plain_appending,
                "verified_entries_per_s": len(lines) / plain_verifying,
            },
        )


def _verify(export: Path, key: SigningKey) -> None:
    report = verify_file(export, trusted={_STORE: key.public_hex})
    if not report.ok:
        raise NotVerified(report.violations[0].evidence, where="bench ledger")


def _write_plainly(path: Path, lines: list[bytes], key: SigningKey) -> None:
    with path.open("ab", buffering=0) as stream:
        for line in lines:
            key.sign(line)
            stream.write(line + b"\n")
            os.fsync(stream.fileno())


def _check_plainly(signed: list[tuple[bytes, str, bytes]], key: SigningKey) -> None:
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_hex))
    for line, digest, signature in signed:
        hashlib.sha256(line).digest()
        public.verify(signature, ENTRY_CONTEXT + digest.encode())


def _plan(rounds: int) -> RunPlan:
    """Return a plan whose whole run costs little, however many rounds it has."""
    customers = _POLICY.min_customers
    delta = min(_POLICY.max_delta, 1 / (10 * customers))
    mechanism = Mechanism(
        sampling="whole",
        sample_rate=1.0,
        batch_cap=0,
        steps=1,
        sigma=10 * math.sqrt(rounds),
        clip=_POLICY.clip,
        texts_per_customer=_POLICY.texts_per_customer,
        batch_constant=customers,
        learning_rate=1.0,
    )
    share = StoreShare(
        store_id=_STORE,
        cohort=_STORE,
        public_customers=customers,
        delta=delta,
        mechanism=mechanism,
        epsilon=epsilon([event_of(mechanism, steps=rounds)], delta),
    )
    return RunPlan(
        run_id="bench",
        federation=_STORE,
        created=iso(SystemClock().now()),
        rounds=rounds,
        shares=(share,),
        unit=_POLICY.unit,
        adjacency=_POLICY.adjacency,
        noise=_POLICY.noise,
        spec={"base_digest": _DIGEST},
        privacy_digest=privacy_digest(_POLICY),
        quorum=1,
        deadline_s=60.0,
        server_momentum=0.0,
        estimated_minutes=1.0,
        bytes_up=1,
        bytes_down=1,
    )
