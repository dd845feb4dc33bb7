"""Builds headquarters from its home folder; the only place that hands adapters to services."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from coordinator.adapters.grpc_control import GrpcControl
from coordinator.adapters.jobs import SqlJobs, SqlStages, make_tables
from coordinator.adapters.registry import FolderRegistry
from coordinator.adapters.state import SqlRuns, SqlStores, open_database
from coordinator.api.app import make_app
from coordinator.compliance.spending import Spending
from coordinator.jobs import Job, JobRunner, JobState, Work
from coordinator.operations import Operations, Outside
from coordinator.releases import Build, Releases
from coordinator.rounds.files import RunFiles
from coordinator.wiring_rounds import HQ_OWNER
from shared.clock import SystemClock
from shared.config import Settings
from shared.keys import SigningKey
from shared.privacy.ledger import Ledger
from shared.releases import Release
from shared.rounds import RunPlan
from shared.wire.tls import TlsFiles
from strategies.mean import partway

BUILD, PUSH = "build", "push"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hq:
    """Headquarters, opened."""

    home: Path
    settings: Settings
    key: SigningKey
    ledger: Ledger
    registry: FolderRegistry
    runs: SqlRuns
    jobs: SqlJobs
    operations: Operations
    spending: Spending
    releases: Releases

    def open_jobs(self) -> list[Job]:
        """Return jobs that are queued or under way."""
        return [j for j in self.jobs.all() if j.state in {JobState.QUEUED, JobState.RUNNING}]

    def work(self) -> Mapping[str, Work]:
        """Return how each kind of job is done."""
        return {
            BUILD: lambda run_id, tell: {
                "release_id": self.releases.build(run_id, tell).release_id
            },
            PUSH: lambda release_id, tell: {"services": self.releases.push(release_id, tell)},
        }


@contextlib.contextmanager
def open_hq(
    settings: Settings,
    home: Path,
    *,
    outside: Outside,
    build: Build,
    tls: TlsFiles | None = None,
) -> Iterator[Hq]:
    """Open HQ's ledger, registers and inference services; everything is closed at the end.

    Args:
        settings: the configuration.
        home: HQ's home folder; made where needed.
        outside: how runs reach the federation, and what is trained.
        build: how a release is built.
        tls: HQ's certificate towards the inference services; ``None``: no TLS.

    Raises:
        BadConfig: the ledger or key is not HQ's.
    """
    clock = SystemClock()
    home.mkdir(parents=True, exist_ok=True)
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    with contextlib.ExitStack() as stack:
        engine = open_database(home / "hq.db")
        stack.callback(engine.dispose)
        make_tables(engine)
        ledger = stack.enter_context(
            Ledger.open(home / "ledger.db", owner=HQ_OWNER, key=key, clock=clock)
        )
        registry = FolderRegistry(home / "registry", trusted_key=key.public_hex)
        runs, stores = SqlRuns(engine, clock), SqlStores(engine)
        files = RunFiles(home / "runs")

        def go_on(plan: RunPlan) -> str:
            return start_from(releases.stable(), plan, operations, files)

        operations = Operations(
            settings=settings,
            ledger=ledger,
            stores=stores,
            runs=runs,
            clock=clock,
            outside=outside,
            go_on=go_on,
        )
        controls = {
            target: stack.enter_context(GrpcControl(target, tls=tls))
            for target in settings.hq.inference
        }
        releases = Releases(
            rules=settings.serving,
            registry=registry,
            stages=SqlStages(engine, clock),
            controls=controls,
            run=operations.run,
            build=build,
        )
        yield Hq(
            home=home,
            settings=settings,
            key=key,
            ledger=ledger,
            registry=registry,
            runs=runs,
            jobs=SqlJobs(engine, clock),
            operations=operations,
            spending=Spending(policy=settings.privacy, ledger=ledger, stores=stores, clock=clock),
            releases=releases,
        )


def start_from(
    release: Release | None, plan: RunPlan, operations: Operations, files: RunFiles
) -> str:
    """Lay what ``release`` merged where ``plan``'s run starts from; return its id.

    Returns an empty id, and the run starts from the base model, where nothing is in service or
    other tensors were trained for it.
    """
    if release is None:
        return ""
    before = operations.run(release.run_id)
    if before.plan.spec != plan.spec:
        return ""
    merged = partway(*files.ends(before.plan, before.outcomes), release.metrics["merge_weight"])
    files.save(files.adapter(plan.run_id, 0), merged)
    return release.release_id


def operator_app(hq: Hq, runner: JobRunner) -> FastAPI:
    """Return the operator API and its page; the caller starts and closes ``runner``."""
    return make_app(
        operations=hq.operations,
        spending=hq.spending,
        releases=hq.releases,
        jobs=hq.jobs,
        runner=runner,
        api_key=hq.settings.hq.api_key,
    )
