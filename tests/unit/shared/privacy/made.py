"""Plans, ledgers and tampered exports for the tests of the privacy core."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.clock import FixedClock
from shared.config import PrivacySettings, privacy_digest
from shared.keys import SigningKey
from shared.privacy.accounting import epsilon
from shared.privacy.entries import Entry, Kind, SignedHead, head_bytes, seal
from shared.privacy.events import event_of
from shared.privacy.export import write_export
from shared.privacy.ledger import Ledger
from shared.rounds import Mechanism, RunPlan, StoreShare

POLICY = PrivacySettings()
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WHOLE = Mechanism(
    sampling="whole",
    sample_rate=1.0,
    batch_cap=0,
    steps=4,
    sigma=7.0,
    clip=PrivacySettings().clip,
    texts_per_customer=1,
    batch_constant=1000,
    learning_rate=0.05,
)
DELTA = 1e-6


def plan(
    run_id: str = "run-1",
    *,
    stores: Sequence[str] = ("s1",),
    mechanism: Mechanism = WHOLE,
    rounds: int = 2,
    policy: PrivacySettings = POLICY,
    **share: Any,  # noqa: ANN401 - fields of a StoreShare
) -> RunPlan:
    """Return a plan whose claimed epsilon is right, unless ``share`` says otherwise."""
    facts: dict[str, Any] = {"public_customers": 1000, "delta": DELTA, **share}
    if "epsilon" not in facts:
        run = event_of(mechanism, steps=mechanism.steps * rounds)
        facts["epsilon"] = epsilon(
            [run], facts["delta"], stores_per_customer=policy.stores_per_customer
        )
    return RunPlan(
        run_id=run_id,
        federation="test",
        created="2026-11-23T12:00:00.000Z",
        rounds=rounds,
        shares=tuple(
            StoreShare(**{"store_id": s, "cohort": f"{s}-2026", "mechanism": mechanism, **facts})
            for s in stores
        ),
        unit=policy.unit,
        adjacency=policy.adjacency,
        noise=policy.noise,
        spec={"base_digest": "0" * 64},
        privacy_digest=privacy_digest(policy),
        quorum=1,
        deadline_s=60.0,
        server_momentum=0.0,
        estimated_minutes=1.0,
        bytes_up=1,
        bytes_down=1,
    )


def open_ledger(
    path: Path, *, owner: str = "s1", key: SigningKey, clock: FixedClock | None = None
) -> Ledger:
    """Open a ledger whose clock stands still."""
    return Ledger.open(path, owner=owner, key=key, clock=clock or FixedClock(NOW))


def used_ledger(folder: Path, key: SigningKey) -> list[Entry]:
    """Return the entries of a ledger with two stores, a commit, a cancel and a noted head."""
    other = SigningKey.generate()
    with open_ledger(folder / "used.db", owner="hq", key=key) as ledger:
        held = ledger.reserve(plan(stores=("s1", "s2")), store_ids=("s1", "s2"), policy=POLICY)
        ledger.dispatch(held[0].reservation_id)
        ledger.commit(
            held[0].reservation_id, steps_executed=4, adapter_in="a" * 64, adapter_out="b" * 64
        )
        ledger.cancel(held[3].reservation_id, reason="quorum")
        ledger.note_head(signed_head(other, "s1", 3, "c" * 64))
        return list(ledger.entries())


def signed_head(key: SigningKey, owner: str, length: int, digest: str) -> SignedHead:
    """Return a head that verifies."""
    return SignedHead(
        owner=owner,
        length=length,
        hash=digest,
        key=key.public_hex,
        signature=key.sign(head_bytes(owner, length, digest)),
    )


def rewrite(
    entries: Sequence[Entry],
    key: SigningKey,
    out: Path,
    change: Callable[[int, dict[str, Any]], None] = lambda _seq, _body: None,
) -> Path:
    """Export entries as their owner could have written them: changed, chained and signed anew."""
    import copy

    made: list[Entry] = []
    prev = "0" * 64
    for seq, entry in enumerate(entries, start=1):
        body = copy.deepcopy(dict(entry.body))
        if entry.kind == Kind.GENESIS:
            body["key"] = key.public_hex
        change(seq, body)
        fresh = seal(seq=seq, prev=prev, kind=Kind(entry.kind), time=entry.time, body=body, key=key)
        prev = fresh.hash
        made.append(fresh)
    owner = str(entries[0].body["owner"])
    keys = {str(e.body["owner"]): str(e.body["key"]) for e in made if e.kind == Kind.HEAD}
    write_export(
        out,
        head=signed_head(key, owner, len(made), prev),
        keys={**keys, owner: key.public_hex},
        lines=[entry.line() for entry in made],
    )
    return out


def only(entries: Sequence[Entry], kind: Kind) -> Entry:
    """Return the first entry of a kind."""
    return next(entry for entry in entries if entry.kind == kind)


def noisier(mechanism: Mechanism, **changes: float | str) -> Mechanism:
    """Return the mechanism with some fields changed."""
    return replace(mechanism, **changes)  # type: ignore[arg-type]
