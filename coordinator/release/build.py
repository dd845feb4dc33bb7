"""A run's adapter made into a release: paid for, merged, judged, signed, registered."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from coordinator.ports import Registry
from coordinator.release.evaluate import Evaluation
from coordinator.release.gates import GateReport, GateRules, compare, worst_change
from coordinator.release.merge import Merged, merge, merged_weights
from coordinator.release.sign import sign_release
from coordinator.release.tensors import Tensors, differences
from shared.adapters import AdapterSpec, Arrays
from shared.clock import Clock, iso
from shared.errors import BadInput, GateClosed, NotVerified, Refused, WrongDigest
from shared.hashing import digest_arrays, digest_file, digest_folder, digest_json
from shared.keys import SigningKey
from shared.privacy.entries import FIRST_PREV, Entry, Kind, parse, signature_holds
from shared.releases import Release
from shared.rounds import RoundOutcome, RoundState, RunPlan
from strategies.mean import partway

WEIGHTS = (0.25, 0.5, 1.0, 1.5)
"""Merge weights: how far to go from the run's start to its end, tried where there is a tuning set.
How long a noisy step should be depends on how much of it is noise; to choose afterwards, on rows
that are public or synthetic, is post-processing and costs no privacy. Of ``lora``, A and B
each go that far, which is not that far along their product: still a candidate to be judged."""

RowSet = Literal["gate", "tuning"]
Evaluator = Callable[[RowSet, Path, Sequence[Tensors]], list[Evaluation]]
"""Scores a model folder, then each variant of it (the weights that differ), on a set of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a run left: the adapter after its last closed round, and how its rounds ended."""

    plan: RunPlan
    outcomes: Sequence[RoundOutcome]
    start: Arrays
    """What the run started from: nothing added, or what the release then in service had merged."""
    arrays: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model that is there already: the base model, or the release in service."""

    name: str
    """The base model's name, or the release's id."""
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """The commit entries of a run in HQ's verified ledger, and the ledger's head."""

    head: str
    commits: tuple[Entry, ...]


def payment_of(run_id: str, entries: Iterable[Entry], ledger_key: str) -> Payment:
    """Verify HQ's ledger from its first entry on, and return what paid for a run.

    Args:
        run_id: the run.
        entries: all entries, in order.
        ledger_key: HQ's public key, hex.

    Raises:
        NotVerified: a gap, a broken hash or a signature that does not hold; names the entry.
    """
    head, commits = FIRST_PREV, []
    last: int | None = None
    for entry in entries:
        parse(entry.line())
        if entry.prev != head or (last is not None and entry.seq != last + 1):
            raise NotVerified(f"entry {entry.seq} does not follow the one before", where="ledger")
        if entry.key != ledger_key or not signature_holds(entry):
            raise NotVerified(f"entry {entry.seq} is not signed by HQ", where="ledger")
        head, last = entry.hash, entry.seq
        if entry.kind == Kind.COMMIT and entry.body["run_id"] == run_id:
            commits.append(entry)
    return Payment(head=head, commits=tuple(commits))


def check_paid(candidate: Candidate, payment: Payment) -> None:
    """Raise unless every contribution to the adapter has its commit entry.

    Raises:
        Refused: nothing was committed, a contribution was not paid for, or no round closed.
        WrongDigest: the adapter is not the one that the last round left.
    """
    plan = candidate.plan
    closed = [outcome for outcome in candidate.outcomes if outcome.state is RoundState.CLOSED]
    if not closed or not payment.commits:
        raise Refused(
            "the ledger holds no commit for this run",
            where=plan.run_id,
            remedy="build releases from runs that HQ's ledger has paid for",
        )
    paid = {(entry.body["round_id"], entry.body["store_id"]) for entry in payment.commits}
    used = {(outcome.round_id, store) for outcome in closed for store in outcome.contributed}
    if unpaid := sorted(used - paid):
        raise Refused(
            f"the contribution of {unpaid[0][1]} to {unpaid[0][0]} is not in the ledger",
            where=plan.run_id,
        )
    if digest_arrays(candidate.arrays) != candidate.outcomes[-1].adapter_digest:
        raise WrongDigest("the adapter is not the one that the last round left", where=plan.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBuilder:
    """Makes releases of one base model and puts them into the registry."""

    base: Served
    """The base model that adapters are trained on."""
    registry: Registry
    key: SigningKey
    """HQ's key."""
    evaluator: Evaluator
    clock: Clock
    work: Path
    """Folder for the merged model while it is judged; it needs room for one model."""
    rules: GateRules = field(default_factory=GateRules)
    weights: Sequence[float] = (1.0,)
    """Merge weights to choose from on the tuning rows; where there is but one, it is taken."""
    on_event: Callable[[str, Mapping[str, Any]], None] = lambda *_: None
    """Called with ``tuned``, ``merged``, ``evaluated``, ``gated``, ``registered`` and facts."""

    def build(self, candidate: Candidate, payment: Payment, current: Served) -> Release:
        """Merge the adapter, compare it with the release in service, sign it, register it.

        A candidate whose gate stays closed is registered too, with its verdict, and no inference
        service will take it.

        Args:
            candidate: the run's adapter.
            payment: see :func:`payment_of`.
            current: what it must beat: the base model at first, then the release in service.

        Raises:
            Refused, WrongDigest: see :func:`check_paid`.
            NotVerified: the base model is not the one that the adapter was trained on.
            GateClosed: the candidate is not better in every language; names them.
        """
        check_paid(candidate, payment)
        spec = AdapterSpec.from_dict(candidate.plan.spec)
        if digest_folder(self.base.folder) != spec.base_digest:
            raise NotVerified(
                "this is not the base model that the adapter was trained on",
                where=str(self.base.folder),
                remedy="set [model] base to the model that the run was planned with",
            )
        self.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="merge-", dir=self.work) as scratch:
            weight, tried = self._tune(spec, candidate, current)
            arrays = partway(candidate.start, candidate.arrays, weight)
            merged = merge(self.base.folder, spec, arrays, Path(scratch) / "model")
            self.on_event("merged", {"weights": merged.changed, "rounding": merged.rounding})
            report, metrics = self._judge(merged, current)
            metrics |= {
                "merge_weight": weight,
                "merge_rounding": round(merged.rounding, 6),
                "tuning": tried,
            }
            unsigned = _manifest(
                candidate,
                payment,
                merged,
                names=(self.base.name, current.name),
                created=iso(self.clock.now()),
                verdict=(metrics, report.as_dict()),
            )
            signed = self.registry.put(sign_release(unsigned, self.key), merged.folder)
        self.on_event("registered", {"release": signed.release_id, "passed": report.passed})
        if not report.passed:
            raise _closed(report, signed.release_id)
        return signed

    def _tune(
        self, spec: AdapterSpec, candidate: Candidate, current: Served
    ) -> tuple[float, dict[str, Any]]:
        """Return the merge weight, and what each weight gave on the tuning rows."""
        if len(self.weights) == 1:
            return self.weights[0], {}
        start, common = current.folder, _variant(current.folder, self.base.folder)
        if common is None:
            start, common = self.base.folder, {}
        variants = []
        for weight in self.weights:
            arrays = partway(candidate.start, candidate.arrays, weight)
            variants.append({**common, **merged_weights(self.base.folder, spec, arrays)})
        before, *after = self.evaluator("tuning", start, variants)
        worst = [worst_change(found, before) for found in after]
        chosen = self.weights[worst.index(min(worst))]
        tried = {f"{w:g}": round(lost, 6) for w, lost in zip(self.weights, worst, strict=True)}
        self.on_event("tuned", {"merge_weight": chosen, "worst_change": tried})
        return chosen, tried

    def _judge(self, merged: Merged, current: Served) -> tuple[GateReport, dict[str, Any]]:
        """Return the verdict, and the figures of both models by language."""
        changed = _variant(current.folder, merged.folder)
        if changed is None:
            (before,) = self.evaluator("gate", current.folder, ())
            (after,) = self.evaluator("gate", merged.folder, ())
        else:
            before, after = self.evaluator("gate", current.folder, (changed,))
        self.on_event("evaluated", {"model": current.name, "languages": before.as_dict()})
        self.on_event("evaluated", {"model": "candidate", "languages": after.as_dict()})
        report = compare(after, before, self.rules)
        self.on_event("gated", {"passed": report.passed, "closed": list(report.closed)})
        return report, {"candidate": after.as_dict(), "current": before.as_dict()}


def _variant(folder: Path, other: Path) -> dict[str, torch.Tensor] | None:
    """Return the weights of ``other`` that differ; ``None`` where it is another kind of model."""
    tokens = [digest_file(one / "tokenizer.json") for one in (folder, other)]
    try:
        return differences(folder, other) if tokens[0] == tokens[1] else None
    except BadInput:
        return None


def _closed(report: GateReport, release_id: str) -> GateClosed:
    reasons = [f"{v.lang}: {v.reasons[0]}" for v in report.verdicts if not v.passed]
    return GateClosed(
        "; ".join(reasons) or "the gate sets are empty",
        where=release_id,
        remedy="it is registered as rejected; train more, or with more stores",
        languages=list(report.closed),
        release=release_id,
    )


def _manifest(
    candidate: Candidate,
    payment: Payment,
    merged: Merged,
    *,
    names: tuple[str, str],
    created: str,
    verdict: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Release:
    """Return the unsigned manifest; its id is made of its content, so it is never used twice."""
    plan = candidate.plan
    base, current = names
    metrics, gates = verdict
    closed = [outcome for outcome in candidate.outcomes if outcome.state is RoundState.CLOSED]
    cohorts = {share.store_id: share.cohort for share in plan.shares}
    fields: dict[str, Any] = {
        "created": created,
        "base": base,
        "base_digest": plan.spec["base_digest"],
        "parent": current if current != base else "",
        "run_id": plan.run_id,
        "round_id": closed[-1].round_id,
        "ledger_head": payment.head,
        "ledger_entries": tuple(entry.hash for entry in payment.commits),
        "data_scope": tuple(
            sorted({f"{store}:{cohorts[store]}" for one in closed for store in one.contributed})
        ),
        "adapter_digest": digest_arrays(candidate.arrays),
        "files": {file.name: digest_file(file) for file in sorted(merged.folder.iterdir())},
        "metrics": dict(metrics),
        "gates": dict(gates),
        "epsilon": {
            share.cohort: {
                "run_epsilon": share.epsilon,
                "delta": share.delta,
                "unit": plan.unit,
                "adjacency": plan.adjacency,
            }
            for share in plan.shares
        },
    }
    content = {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }
    return Release(release_id=f"rel-{digest_json(content)[:16]}", **fields)
