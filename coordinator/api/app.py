"""The operator API of headquarters: translates HTTP to :mod:`coordinator.operations`, no more."""

import tempfile
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Query
from fastapi.responses import JSONResponse, Response
from pydantic import SecretStr

from coordinator.api import errors
from coordinator.api.access import Access
from coordinator.api.metrics import HqCollector, exposition
from coordinator.api.schemas import BuildBody, EnrolBody, PlanBody, RollbackBody, RunBody
from coordinator.compliance.spending import Spending
from coordinator.console.page import router as console
from coordinator.jobs import JobRunner, Jobs
from coordinator.operations import Operations, RunView
from coordinator.releases import Releases
from shared.errors import NotFound, StoreWeaveError
from shared.releases import Release


def make_app(
    *,
    operations: Operations,
    spending: Spending,
    releases: Releases,
    jobs: Jobs,
    runner: JobRunner,
    api_key: SecretStr | None,
) -> FastAPI:
    """Return the application. Handlers are plain functions: they block, so threads run them."""
    app = FastAPI(title="StoreWeave headquarters", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    _health(app, operations, spending)
    app.include_router(console)
    guarded = [Depends(Access(api_key))]
    collector = HqCollector(operations, spending, releases, jobs)

    @app.get("/metrics", dependencies=guarded)
    def metrics() -> Response:
        return Response(exposition(collector), media_type="text/plain; version=0.0.4")

    _federation(app, guarded, operations)
    _ledger(app, guarded, spending)
    _releases(app, guarded, releases, runner)
    _jobs(app, guarded, jobs)
    return app


def _health(app: FastAPI, operations: Operations, spending: Spending) -> None:
    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready")
    def ready() -> JSONResponse:
        try:
            operations.stores()
            spending.head()
        except StoreWeaveError as error:
            return JSONResponse({"status": "not ready", "error": error.as_dict()}, 503)
        return JSONResponse({"status": "ready"})


def _federation(app: FastAPI, guarded: list[Any], operations: Operations) -> None:
    @app.get("/v1/stores", dependencies=guarded)
    def stores() -> dict[str, Any]:
        return {"stores": [_plain(store) for store in operations.stores()]}

    @app.post("/v1/stores", dependencies=guarded, status_code=201)
    def enrol(body: EnrolBody) -> dict[str, Any]:
        return _plain(operations.enrol(body.store()))

    @app.post("/v1/runs/plan", dependencies=guarded, status_code=201)
    def plan(body: PlanBody) -> dict[str, Any]:
        return operations.plan_run(body.stores, body.rounds.given()).as_dict()

    @app.post("/v1/runs", dependencies=guarded, status_code=202)
    def start(body: RunBody) -> dict[str, Any]:
        return run_summary(operations.start_run(body.run_id, resume=body.resume))

    @app.get("/v1/runs", dependencies=guarded)
    def runs() -> dict[str, Any]:
        return {"runs": [run_summary(run) for run in operations.runs()]}

    @app.get("/v1/runs/{run_id}", dependencies=guarded)
    def run(run_id: str, after: int = Query(default=0, ge=0)) -> dict[str, Any]:
        return run_detail(operations.run(run_id), operations.events(run_id, after))


def _ledger(app: FastAPI, guarded: list[Any], spending: Spending) -> None:
    @app.get("/v1/budget", dependencies=guarded)
    def budget() -> dict[str, Any]:
        return {"budget": spending.budget()}

    @app.get("/v1/ledger/export", dependencies=guarded)
    def export() -> Response:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "ledger.jsonl"
            head = spending.export_ledger(out)
            content = out.read_bytes()
        name = f"hq-ledger-{head.length}.jsonl"
        return Response(
            content,
            media_type="application/x-ndjson",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @app.get("/v1/ledger/verify", dependencies=guarded)
    def verify() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            report = spending.verify_ledger(Path(folder) / "ledger.jsonl").as_dict()
        return {name: value for name, value in report.items() if name != "path"}


def _releases(app: FastAPI, guarded: list[Any], releases: Releases, runner: JobRunner) -> None:
    @app.post("/v1/releases", dependencies=guarded, status_code=202)
    def build(body: BuildBody) -> dict[str, Any]:
        releases.check_buildable(body.run_id)
        return runner.submit("build", body.run_id).as_dict()

    @app.get("/v1/releases", dependencies=guarded)
    def listing() -> dict[str, Any]:
        return {"releases": [release_summary(found, releases) for found in releases.all()]}

    @app.post("/v1/releases/rollback", dependencies=guarded)
    def rollback(body: RollbackBody) -> dict[str, Any]:
        return {"services": releases.rollback(body.reason, lambda _event, _facts: None)}

    @app.get("/v1/releases/{release_id}", dependencies=guarded)
    def one(release_id: str) -> dict[str, Any]:
        found = releases.get(release_id)
        return {
            **release_summary(found, releases),
            "release": found.as_dict(),
            "digest": found.digest,
            "history": releases.history(release_id),
        }

    @app.post("/v1/releases/{release_id}/push", dependencies=guarded, status_code=202)
    def push(release_id: str) -> dict[str, Any]:
        releases.get(release_id)
        return runner.submit("push", release_id).as_dict()

    @app.get("/v1/serving", dependencies=guarded)
    def serving() -> dict[str, Any]:
        return {"services": releases.serving()}


def _jobs(app: FastAPI, guarded: list[Any], jobs: Jobs) -> None:
    @app.get("/v1/jobs", dependencies=guarded)
    def listing() -> dict[str, Any]:
        return {"jobs": [job.as_dict() for job in jobs.all()]}

    @app.get("/v1/jobs/{job_id}", dependencies=guarded)
    def one(job_id: str, after: int = Query(default=0, ge=0)) -> dict[str, Any]:
        job = jobs.get(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id!r}")
        return {**job.as_dict(), "events": jobs.events(job_id, after)}


def run_summary(run: RunView) -> dict[str, Any]:
    """Return a run in a few words, with what it costs and about whom the figure speaks."""
    return {
        "run_id": run.plan.run_id,
        "state": run.state,
        "created": run.plan.created,
        "rounds": run.plan.rounds,
        "states": {str(number): str(state) for number, state in run.states.items()},
        "stores": {share.store_id: share.epsilon for share in run.plan.shares},
        "unit": run.plan.unit,
        "adjacency": run.plan.adjacency,
        "estimated_minutes": run.plan.estimated_minutes,
    }


def run_detail(run: RunView, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a run with its plan, how its rounds ended, and events."""
    outcomes = [
        {
            **_plain(outcome),
            "state": str(outcome.state),
            "refused": [_plain(refusal) for refusal in outcome.refused],
        }
        for outcome in run.outcomes
    ]
    plan = {**run.plan.as_dict(), "digest": run.plan.digest}
    return {**run_summary(run), "plan": plan, "outcomes": outcomes, "events": events}


def release_summary(release: Release, releases: Releases) -> dict[str, Any]:
    """Return a release in a few words."""
    return {
        "release_id": release.release_id,
        "stage": str(releases.stage_of(release.release_id) or ""),
        "created": release.created,
        "run_id": release.run_id,
        "parent": release.parent,
        "gates_passed": release.gates.get("passed") is True,
        "epsilon": dict(release.epsilon),
    }


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any of our data classes
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
