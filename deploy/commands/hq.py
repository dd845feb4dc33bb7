"""``storeweave hq``: headquarters' stores, rounds, budgets and releases."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli_context import Context, context_of
from shared.errors import BadConfig, BadInput

if TYPE_CHECKING:
    from coordinator.ports import EnrolledStore

app = typer.Typer(no_args_is_help=True)
round_app = typer.Typer(no_args_is_help=True, help="Plan, run and look at federation runs.")
budget_app = typer.Typer(no_args_is_help=True, help="What each store's customers have left.")
release_app = typer.Typer(no_args_is_help=True, help="Build, push and take back releases.")
app.add_typer(round_app, name="round")
app.add_typer(budget_app, name="budget")
app.add_typer(release_app, name="release")

PORT_FILE = "hq.port"
_About = "per customer of a store, add or remove one"
_RunId = Annotated[str, typer.Argument(help="The run, as `hq round plan` named it.")]
_ReleaseId = Annotated[str, typer.Argument(help="The release.")]


@app.command("serve")
def serve(
    ctx: typer.Context,
    superlink: Annotated[
        bool, typer.Option(help="Start the Flower SuperLink too; without it, one must run already.")
    ] = True,
) -> None:
    """Serve the operator API and page until SIGTERM or Ctrl-C; the port is in hq.port."""
    from coordinator.jobs import JobRunner
    from coordinator.wiring import operator_app
    from deploy.federation import start_superlink
    from deploy.hq_home import LOOPBACK, only_server, opened_hq
    from shared.http_server import serve_http

    context = context_of(ctx)
    hq_settings = context.settings.hq
    if hq_settings.host not in LOOPBACK and hq_settings.api_key is None:
        raise BadConfig(
            f"[hq] host {hq_settings.host} needs a key",
            where="[hq] api_key",
            remedy="set it, and put TLS in front; or listen on 127.0.0.1",
        )

    def admit(store: "EnrolledStore") -> None:
        if superlink:
            admit_node(context, store)

    with only_server(context.home), opened_hq(context, admit=admit) as hq:
        link = None
        if superlink:
            host, port = _address(hq_settings.superlink)
            link, address = start_superlink(context.home, host=host, port=port)
            context.say(f"SuperLink on {address.text}")
        try:
            for store in hq.operations.stores():
                admit(store)
            runner = JobRunner(hq.jobs, hq.work())
            runner.start()
            try:
                serve_http(
                    operator_app(hq, runner),
                    host=hq_settings.host,
                    port=hq_settings.port,
                    port_file=context.home / PORT_FILE,
                    say=context.say,
                )
            finally:
                runner.close()
        finally:
            if link is not None:
                link.stop()


@app.command("invite")
def invite(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(help="Where to write the invitation.")],
) -> None:
    """Write the file that a store joins with: HQ's public key, address and certificate authority.

    It holds no secret, but must reach the store unchanged: read the key's first digits to them.
    """
    from deploy.hq_home import check_hq
    from deploy.invitation import invite as make_invitation

    context = context_of(ctx)
    check_hq(context)
    made = make_invitation(context.home, context.settings)
    out.write_text(made.model_dump_json(indent=2) + "\n", "utf-8")
    context.answer(
        {**made.model_dump(), "out": str(out)},
        f"{out}: HQ's key begins with {made.hq_key[:16]}, stores call {made.superlink}",
    )


@app.command("enrol")
def enrol(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file that `storeweave store join` wrote.")],
) -> None:
    """Make a store known to headquarters; run it again to change what the store declares."""
    from coordinator.api.schemas import EnrolBody
    from deploy.hq_home import opened_hq
    from shared.formats import parse_row

    context = context_of(ctx)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot be read ({type(error).__name__})", where=str(file), remedy="check the path"
        ) from None
    body = parse_row(text, EnrolBody, where=str(file))
    up = superlink_answers(context.home)

    def admit(store: "EnrolledStore") -> None:
        if up:
            admit_node(context, store)

    with opened_hq(context, admit=admit) as hq:
        store = hq.operations.enrol(body.store())
    note = " and admitted" if up else "; its node is admitted when `storeweave hq serve` starts"
    context.answer({**body.model_dump(), "admitted": up}, f"{store.store_id} is enrolled{note}")


def _address(text: str) -> tuple[str, int]:
    """Return host and port of ``[hq] superlink``; empty: a free port on loopback."""
    if not text:
        return "127.0.0.1", 0
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise BadConfig(
            f"{text!r} is not host:port", where="[hq] superlink", remedy="for example 0.0.0.0:9092"
        )
    return host.strip("[]"), int(port)


def superlink_answers(home: Path) -> bool:
    """Return whether the SuperLink that this home last started still listens."""
    from deploy.children import accepts
    from deploy.federation import CONNECTION

    path = home / "flower" / "config.toml"
    if not path.is_file():
        return False
    entry = tomllib.loads(path.read_text("utf-8"))["superlink"][CONNECTION]
    return accepts(*_address(entry["address"]))


def admit_node(context: Context, store: "EnrolledStore") -> None:
    """Make the store's Flower node known to the SuperLink, once."""
    from deploy.federation import register_node

    folder = context.home / "nodes"
    path = folder / f"{store.store_id}.pub"
    if path.is_file() and path.read_text("ascii").strip() == store.node_key.strip():
        return
    folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(store.node_key.strip() + "\n", "ascii")
    register_node(context.home, fresh, name=store.store_id)
    fresh.replace(path)
    context.console.print(f"node of {store.store_id} admitted")


# --- rounds ------------------------------------------------------------------------------------


@round_app.command("plan")
def plan(
    ctx: typer.Context,
    store: Annotated[list[str] | None, typer.Option(help="Who takes part; default: all.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps at each store in each round.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="What it may cost a customer.")] = None,
) -> None:
    """Price a run in epsilon, minutes and bytes, and keep the plan; nothing is spent."""
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    wanted = {"rounds": rounds, "steps": steps, "epsilon": epsilon}
    given = {name: value for name, value in wanted.items() if value is not None}
    with opened_hq(context) as hq:
        made = hq.operations.plan_run(tuple(store or ()), given)
    lines = [
        f"{made.run_id}: {made.rounds} rounds, about {made.estimated_minutes:g} minutes, "
        f"{made.bytes_up:,} bytes up and {made.bytes_down:,} down for each store and round"
    ]
    lines += [
        f"  {share.store_id:<20} epsilon {share.epsilon:.3f} at delta {share.delta:.0e}, "
        f"sigma {share.mechanism.sigma:.2f}, {share.mechanism.steps} steps a round"
        for share in made.shares
    ]
    lines += [f"epsilon is {_About}; nothing is spent yet"]
    lines += [f"start it with: storeweave hq round run {made.run_id}"]
    context.answer({**made.as_dict(), "digest": made.digest}, "\n".join(lines))


@round_app.command("run")
def run(ctx: typer.Context, run_id: _RunId) -> None:
    """Run a planned run to its end, with progress; `hq serve` must be running."""
    _go(context_of(ctx), run_id, resume=False)


@round_app.command("resume")
def resume(ctx: typer.Context, run_id: _RunId) -> None:
    """Go on with a run that was cut short; what was dispatched stays spent."""
    _go(context_of(ctx), run_id, resume=True)


def _go(context: Context, run_id: str, *, resume: bool) -> None:
    from coordinator.api.app import run_detail
    from deploy.hq_home import opened_hq
    from deploy.launch import launch_run

    with context.console.status(f"{run_id}: waiting for the federation") as status:

        def show(event: Mapping[str, Any]) -> None:
            status.update(f"{run_id}: {event['event']}")
            context.console.log(_in_words(event))

        def launch(wanted: str) -> None:
            launch_run(context.home, wanted, on_event=show)

        with opened_hq(context, launch=launch) as hq:
            found = hq.operations.start_run(run_id, resume=resume)
    context.answer(run_detail(found, []), _run_text(found))


def _in_words(event: Mapping[str, Any]) -> str:
    facts = {k: v for k, v in event.items() if k not in {"seq", "time", "event"} and v}
    told = ", ".join(f"{name} {_short(value)}" for name, value in facts.items())
    return f"{event['event']}  {told}"


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


@round_app.command("list")
def list_runs(ctx: typer.Context) -> None:
    """List all runs, newest first."""
    from coordinator.api.app import run_summary
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        found = hq.operations.runs()
    lines = [_run_line(view) for view in found]
    context.answer(
        {"runs": [run_summary(view) for view in found]}, "\n".join(lines) or "no runs yet"
    )


@round_app.command("show")
def show_run(ctx: typer.Context, run_id: _RunId) -> None:
    """Show a run: its plan, how its rounds ended, and what happened."""
    from coordinator.api.app import run_detail
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        found, events = hq.operations.run(run_id), hq.operations.events(run_id)
    told = [f"  {event['time']}  {_in_words(event)}" for event in events]
    context.answer(run_detail(found, events), "\n".join([_run_text(found), *told]))


def _run_line(view: Any) -> str:  # noqa: ANN401 - coordinator.operations.RunView, imported late
    stores = ", ".join(f"{share.store_id} {share.epsilon:.2f}" for share in view.plan.shares)
    return f"{view.plan.run_id}  {view.state:<9}  {view.plan.created}  epsilon {stores}"


def _run_text(view: Any) -> str:  # noqa: ANN401 - coordinator.operations.RunView, imported late
    lines = [_run_line(view), f"  epsilon is {_About}"]
    for outcome in view.outcomes:
        total = outcome.seconds.get("total", 0.0)
        refused = "".join(f"; {r.sender} refused ({r.code})" for r in outcome.refused)
        names = ", ".join(outcome.contributed) or "nobody"
        lines.append(f"  {outcome.round_id} {outcome.state}: {names} in {total:.1f} s{refused}")
    return "\n".join(lines)


# --- budget ------------------------------------------------------------------------------------


@budget_app.command("show")
def show_budget(ctx: typer.Context) -> None:
    """Show what each store's customers have spent and have left, this quarter and year."""
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        rows = hq.spending.budget()
    lines = [
        f"{row['store_id']:<20} {row['quarter']} {row['quarter_spent']:.3f} of "
        f"{row['quarter_cap']:g}   {row['year']} {row['year_spent']:.3f} of {row['year_cap']:g}   "
        f"delta {row['delta']:.0e}"
        for row in rows
    ]
    text = "\n".join([*lines, f"epsilon {_About}"]) if rows else "no store is enrolled yet"
    context.answer({"budget": rows}, text)


# --- releases ----------------------------------------------------------------------------------


def _progress(context: Context) -> Any:  # noqa: ANN401 - coordinator.jobs.OnEvent, imported late
    def tell(event: str, facts: Mapping[str, Any]) -> None:
        context.console.log(_in_words({"event": event, **facts}))

    return tell


@release_app.command("list")
def list_releases(ctx: typer.Context) -> None:
    """List all releases, newest first."""
    from coordinator.api.app import release_summary
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        rows = [release_summary(found, hq.releases) for found in hq.releases.all()]
    lines = [f"{row['release_id']}  {row['stage']:<11}  {row['created']}" for row in rows]
    context.answer({"releases": rows}, "\n".join(lines) or "no releases yet")


@release_app.command("show")
def show_release(ctx: typer.Context, release_id: _ReleaseId) -> None:
    """Show a release's manifest, its signature verified, and its way so far."""
    from coordinator.api.app import release_summary
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        found = hq.releases.get(release_id)
        history = hq.releases.history(release_id)
        facts = {**release_summary(found, hq.releases), "release": found.as_dict()}
    manifest = json.dumps(found.as_dict(), ensure_ascii=False, indent=2)
    way = [f"{row['time']}  {row['stage']} {row['percent']} % {row['reason']}" for row in history]
    context.answer(
        {**facts, "digest": found.digest, "history": history}, "\n".join([manifest, *way])
    )


@release_app.command("build")
def build(ctx: typer.Context, run_id: _RunId) -> None:
    """Merge a finished run into a release, sign it and put it before the gates."""
    from coordinator.api.app import release_summary
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        made = hq.releases.build(run_id, _progress(context))
        facts = release_summary(made, hq.releases)
    context.answer(facts, f"{made.release_id}: gates passed")


@release_app.command("push")
def push(ctx: typer.Context, release_id: _ReleaseId) -> None:
    """Roll a release out step by step; it is taken back if customers would notice."""
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        done = hq.releases.push(release_id, _progress(context))
    lines = [f"{name} serves {status['stable']}" for name, status in done.items()]
    context.answer({"release_id": release_id, "services": done}, "\n".join(lines))


@release_app.command("rollback")
def rollback(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "asked for by an operator",
) -> None:
    """Send all traffic back to the release that served before."""
    from deploy.hq_home import opened_hq

    context = context_of(ctx)
    with opened_hq(context) as hq:
        done = hq.releases.rollback(reason, _progress(context))
    lines = [f"{name} serves {status['stable']}" for name, status in done.items()]
    context.answer({"services": done}, "\n".join(lines))
