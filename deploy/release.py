"""Builds the release of a finished run: hands the gates their model, sets and ledger."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coordinator.jobs import OnEvent
from coordinator.operations import RunView
from coordinator.release.build import (
    WEIGHTS,
    Candidate,
    ReleaseBuilder,
    RowSet,
    Served,
    payment_of,
)
from coordinator.release.evaluate import Evaluation, evaluate
from coordinator.release.gates import GateRules
from coordinator.release.tensors import Tensors
from coordinator.rounds.files import RunFiles
from coordinator.wiring import Hq
from deploy.base_model import resolve_base
from deploy.cli_context import Context
from shared.clock import SystemClock
from shared.errors import BadInput
from shared.formats import ConversationRow, IntentRow, read_rows
from shared.releases import Release

GATE_SETS = ("conversations.jsonl", "intents.jsonl")
TUNING_SET = "tuning.jsonl"
"""Conversations that choose the merge weight; the gate must never have seen them, nor they it."""
_TUNING_SHARE = 0.25
_EVERY_ITEMS = 50


def build_for_run(context: Context, hq: Hq, run_id: str, tell: OnEvent) -> Release:
    """Merge the run's last adapter into the base model and put it before the gates.

    The candidate is compared with the release that is stable now, or with the base model. A tuning
    set, or else a quarter of the gate set, chooses how much of the adapter is merged.

    Raises:
        BadInput: the gate sets are missing or hold a bad line.
        NotVerified: the run's adapter is missing, or ledger or base model are not what they were.
        GateClosed: the candidate is not better in every language.
    """
    folder = context.home / "gate"
    missing = [name for name in GATE_SETS if not (folder / name).is_file()]
    if missing:
        raise BadInput(
            f"the gate set {missing[0]} is missing",
            where=str(folder),
            remedy="put conversations and intents there that are public or synthetic",
        )
    conversations = tuple(read_rows(folder / GATE_SETS[0], ConversationRow))
    intents = tuple(read_rows(folder / GATE_SETS[1], IntentRow))
    if (folder / TUNING_SET).is_file():
        tuning = tuple(read_rows(folder / TUNING_SET, ConversationRow))
    else:
        conversations, tuning = set_apart(conversations, GateRules().min_conversations)

    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % _EVERY_ITEMS == 0:
            tell("scored", {"what": what, "done": done, "total": total})

    def judge(rows: RowSet, model: Path, variants: Sequence[Tensors]) -> list[Evaluation]:
        return evaluate(
            model,
            conversations if rows == "gate" else tuning,
            intents if rows == "gate" else (),
            variants=variants,
            performance=context.settings.performance,
            on_progress=progress,
        )

    found = resolve_base(context.settings.model, lambda line: tell("model", {"note": line}))
    base = Served(name=found.name, folder=found.folder)
    builder = ReleaseBuilder(
        base=base,
        registry=hq.registry,
        key=hq.key,
        evaluator=judge,
        clock=SystemClock(),
        work=context.home / "work",
        weights=WEIGHTS if tuning else (1.0,),
        on_event=tell,
    )
    return builder.build(
        candidate_of(hq.operations.run(run_id), RunFiles(context.home / "runs")),
        payment_of(run_id, hq.ledger.entries(), hq.key.public_hex),
        _current(hq) or base,
    )


def set_apart(
    rows: Sequence[ConversationRow], least: int
) -> tuple[tuple[ConversationRow, ...], tuple[ConversationRow, ...]]:
    """Return the gate's rows without a quarter of each language's, and that quarter for tuning.

    Which rows these are follows from their ids, so that every build sets the same apart. A language
    that would keep fewer than ``least`` conversations keeps them all.
    """
    chosen = {row.conversation_id for row in rows if _hash(row.conversation_id) < _TUNING_SHARE}
    kept = Counter(row.lang for row in rows if row.conversation_id not in chosen)
    apart = tuple(r for r in rows if r.conversation_id in chosen and kept[r.lang] >= least)
    return tuple(row for row in rows if row not in apart), apart


def _hash(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


def candidate_of(run: RunView, files: RunFiles) -> Candidate:
    """Return what a run left after its last ended round.

    Raises:
        NotVerified: an adapter file is missing.
    """
    start, arrays = files.ends(run.plan, run.outcomes)
    return Candidate(plan=run.plan, outcomes=run.outcomes, start=start, arrays=arrays)


def _current(hq: Hq) -> Served | None:
    release = hq.releases.stable()
    if release is None:
        return None
    return Served(name=release.release_id, folder=hq.registry.folder(release.release_id))
