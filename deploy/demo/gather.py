"""Turns what the demo found into the report's facts and the closing table."""

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from rich.table import Table

from coordinator.adapters.registry import FolderRegistry
from deploy.demo.facts import (
    Answered,
    DemoReport,
    Gate,
    Interval,
    Machine,
    Measure,
    Quality,
    ReleaseFacts,
    RolloutStep,
    StoreFacts,
    Traffic,
    Verification,
)
from deploy.demo.run import Demo, Found
from shared.base_models import adapter_sites, layer_count
from shared.clock import SystemClock, iso
from shared.errors import StoreWeaveError
from shared.hashing import sha256_hex
from shared.keys import SigningKey
from shared.privacy.verify import Report
from shared.releases import Release

_BASELINE_RANK = 8
_MEASURES: tuple[Measure, ...] = ("nll_per_token", "intent_accuracy")


def gather(demo: Demo) -> DemoReport:
    """Return the report of a finished demo."""
    found, settings = demo.found, demo.wanted.settings
    plan = found.plan
    spec = plan["spec"]
    gates = _gates(found.release)
    out = bool(found.after)
    return DemoReport(
        created=iso(SystemClock().now()),
        version=version("storeweave"),
        command="storeweave demo" + (" --fast" if demo.wanted.fast else ""),
        fast=demo.wanted.fast,
        seed=demo.wanted.seed,
        run_id=plan["run_id"],
        plan_digest=found.run["plan"]["digest"],
        rounds=plan["rounds"],
        steps=plan["shares"][0]["mechanism"]["steps"],
        base_model=f"{found.base['name']} ({found.base['digest'][:12]})",
        adapter=f"{spec['kind']}, rank {spec['rank']}, upper {spec['upper_layers']} layers, "
        f"{' '.join(spec['targets'])}",
        unit=plan["unit"],
        adjacency=plan["adjacency"],
        noise=plan["noise"],
        machine=_machine(settings.performance.device),
        stores=tuple(_store(found, share) for share in plan["shares"]),
        quality=_quality(found),
        traffic=_traffic(found, Path(found.base["folder"])),
        stages=tuple(demo.stages.times),
        questions=tuple(
            Answered(
                lang=question.lang,
                question=question.text,
                before=before,
                after=after,
                store_id=question.store_id,
                expected=question.expected,
            )
            for question, before, after in zip(
                found.questions, found.before, found.after or [""] * len(found.before), strict=True
            )
        ),
        ledgers=tuple(_ledger(report) for report in found.ledgers),
        release=_release(demo, gates) if out else None,
        rollout=_rollout(found.rollout),
        gates=() if out else gates,
        failures=tuple(found.failures),
        notes=_notes(demo),
    )


def closing_table(facts: DemoReport) -> Table:
    """Return quality per language and epsilon per store, for the end of the demo."""
    table = Table(title="Held-back rows, before and after" if facts.quality else "No figures")
    for column in ("language", "measure", "before", "after", "rows"):
        table.add_column(column, justify="left" if column in {"language", "measure"} else "right")
    for row in facts.quality:
        table.add_row(
            row.lang,
            row.measure,
            f"{row.before.value:.3f}",
            f"{row.after.value:.3f}",
            str(row.rows),
        )
    table.add_section()
    for store in facts.stores:
        table.add_row(
            store.store_id,
            "epsilon per customer",
            "",
            f"{store.quarter_spent:.3f} of {store.quarter_budget:g} a quarter",
            f"{store.bytes_up:,} B up",
        )
    return table


def _machine(device: str) -> Machine:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text("utf-8").splitlines() if "model name" in line]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    chosen = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    return Machine(
        cpu=cpu,
        cores=psutil.cpu_count() or 1,
        memory_bytes=int(psutil.virtual_memory().total),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch.__version__,
        device=chosen,
    )


def _store(found: Found, share: Mapping[str, Any]) -> StoreFacts:
    name = share["store_id"]
    data = next(store for store in found.stores if store.store_id == name)
    budget: Mapping[str, Any] = next((row for row in found.budget if row["store_id"] == name), {})
    outcomes = found.run["outcomes"]
    return StoreFacts(
        store_id=name,
        name=data.name,
        lang=data.lang,
        cohort=share["cohort"],
        public_customers=share["public_customers"],
        epsilon=share["epsilon"],
        delta=share["delta"],
        quarter_spent=budget.get("quarter_spent", 0.0),
        quarter_budget=budget.get("quarter_cap", 0.0),
        year_spent=budget.get("year_spent", 0.0),
        year_budget=budget.get("year_cap", 0.0),
        sigma=share["mechanism"]["sigma"],
        rounds_contributed=sum(name in outcome["contributed"] for outcome in outcomes),
        bytes_up=sum(outcome["bytes_up"].get(name, 0) for outcome in outcomes),
        bytes_down=sum(outcome["bytes_down"].get(name, 0) for outcome in outcomes),
        training_seconds=sum(outcome["seconds"].get("training", 0.0) for outcome in outcomes),
    )


def _quality(found: Found) -> tuple[Quality, ...]:
    if not found.release:
        return ()
    metrics, verdicts = found.release["metrics"], found.release["gates"]["languages"]
    source: Literal["synthetic", "public"] = "synthetic"
    rows: list[Quality] = []
    for lang, after in metrics["candidate"].items():
        before = metrics["current"][lang]
        for measure in _MEASURES:
            difference = verdicts[lang][measure]
            if after[measure] is None or before[measure] is None or difference is None:
                continue
            start = before[measure]
            low, high = sorted((start + difference["low"], start + difference["high"]))
            rows.append(
                Quality(
                    lang=lang,
                    measure=measure,
                    before=Interval(value=start, low=start, high=start),
                    after=Interval(
                        value=after[measure],
                        low=min(low, after[measure]),
                        high=max(high, after[measure]),
                    ),
                    rows=after["replies"] if measure == "nll_per_token" else after["intents"],
                    source=source,
                )
            )
    return tuple(rows)


def _traffic(found: Found, base: Path) -> Traffic:
    outcomes = found.run["outcomes"]
    up = [size for outcome in outcomes for size in outcome["bytes_up"].values()]
    down = [size for outcome in outcomes for size in outcome["bytes_down"].values()]
    sites = adapter_sites(base, ("q_proj", "v_proj"), layer_count(base))
    parameters = sum(_BASELINE_RANK * (site.d_in + site.d_out) for site in sites)
    trained = sum(_size(shape) for shape in found.plan["spec"]["shapes"].values())
    return Traffic(
        bytes_per_update=max(up, default=0),
        total_bytes=sum(up) + sum(down),
        trained_parameters=trained,
        baseline_bytes_per_update=4 * parameters,
        baseline_parameters=parameters,
        baseline_total_bytes=4 * parameters * (len(up) + len(down)),
    )


def _size(shape: list[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


def _ledger(report: Report) -> Verification:
    pld: dict[str, float] = {}
    rdp: dict[str, float] = {}
    delta: dict[str, float] = {}
    for cohort in report.cohorts:
        for row in cohort["spent"]:
            name = str(cohort["cohort"])
            pld[name] = max(pld.get(name, 0.0), row["pld"])
            rdp[name] = max(rdp.get(name, 0.0), row["rdp"])
            delta[name] = row["delta"]
    return Verification(
        owner=report.owner,
        entries=report.entries,
        head=report.head,
        verified=report.ok,
        findings=tuple(str(violation) for violation in report.violations),
        epsilon_pld=pld,
        epsilon_rdp=rdp,
        delta=delta,
    )


def _gates(release: Mapping[str, Any]) -> tuple[Gate, ...]:
    verdicts = release.get("gates", {}).get("languages", {})
    return tuple(
        Gate(
            name="quality",
            lang=lang,
            passed=verdict["passed"],
            detail="; ".join(verdict["reasons"]) or "better than the release in service",
        )
        for lang, verdict in verdicts.items()
    )


def _release(demo: Demo, gates: tuple[Gate, ...]) -> ReleaseFacts:
    release = Release.from_dict(demo.found.release)
    return ReleaseFacts(
        release_id=release.release_id,
        parent=release.parent,
        manifest_digest=sha256_hex(release.signed_bytes()),
        signer=release.signer,
        signature=release.signature,
        verified=_holds(demo, release.release_id),
        base_digest=release.base_digest,
        adapter_digest=release.adapter_digest,
        ledger_head=release.ledger_head,
        gates=gates,
    )


def _holds(demo: Demo, release_id: str) -> bool:
    """Return whether the registered release verifies: its signature and every file's digest."""
    key = SigningKey.load_or_create(demo.layout.hq / "keys" / "ledger.key").public_hex
    try:
        FolderRegistry(demo.layout.hq / "registry", trusted_key=key).folder(release_id)
    except StoreWeaveError:
        return False
    return True


def _rollout(events: list[dict[str, Any]]) -> tuple[RolloutStep, ...]:
    if not events:
        return ()
    moments = [datetime.fromisoformat(str(event["time"])) for event in events]
    stages = {"staged": "staged", "warm": "warm", "weight": "canary", "promoted": "stable"}
    steps: list[RolloutStep] = []
    for event, moment in zip(events, moments, strict=True):
        at = (moment - moments[0]).total_seconds()
        name = str(event["event"])
        if name in stages:
            percent = int(event.get("percent", 100 if name == "promoted" else 0))
            steps.append(RolloutStep(at_s=at, stage=stages[name], percent=percent))
        elif name == "watched" and steps:
            last = steps.pop()
            steps.append(
                RolloutStep(
                    at_s=last.at_s,
                    stage=last.stage,
                    percent=last.percent,
                    requests=int(event.get("requests", 0)),
                    errors=int(event.get("errors", 0)),
                    p99_s=event.get("p99_s"),
                )
            )
        elif name == "rolled_back":
            steps.append(RolloutStep(at_s=at, stage="rolled_back", percent=0))
    return tuple(steps)


def _notes(demo: Demo) -> tuple[str, ...]:
    found = demo.found
    notes = [
        "Intervals after are paired: the figure before plus the interval of the difference.",
        f"Peak memory of all processes: {found.peak_bytes / 2**30:.1f} GiB.",
    ]
    if demo.wanted.data is None:
        notes.append("Shops, customers and conversations are synthetic; no real person is in them.")
    if demo.wanted.fast:
        notes.append(
            "--fast: few customers, a lowered floor of customers and a larger delta; its epsilon "
            "protects synthetic people only and says nothing about quality."
        )
    if found.crowd:
        told = ", ".join(f"{count} by {name}" for name, count in found.crowd.items())
        notes.append(f"While the release went out: {told}; {found.dropped} lost.")
    return tuple(notes)
