"""``storeweave demo``: a whole federation on this machine, end to end, with a report."""

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_context import Context, context_of
from shared.config import SETTING_IN_ENVIRONMENT
from shared.errors import GateClosed, NotVerified

app = typer.Typer()


@app.command()
def demo(
    ctx: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="A data folder; default: a synthetic retail world.")
    ] = None,
    fast: Annotated[
        bool, typer.Option(help="Few customers and steps: shows the way only.")
    ] = False,
    fresh: Annotated[bool, typer.Option(help="Forget earlier runs, budgets and releases.")] = False,
    seed: Annotated[int, typer.Option(help="Of the synthetic world.")] = 7,
) -> None:
    """Run a whole federation on this machine, end to end, with progress and a report.

    A second run goes on with the budgets and releases of the first; --fresh starts over.
    """
    from deploy.demo.run import Demo, Wanted

    context = context_of(ctx)
    wanted = Wanted(
        home=context.home,
        settings=context.settings,
        data=data.resolve() if data is not None else None,
        fast=fast,
        fresh=fresh,
        seed=seed,
    )
    # From here on every home's file holds; a setting in the environment would override them all.
    for name in [name for name in os.environ if SETTING_IN_ENVIRONMENT.match(name)]:
        del os.environ[name]
    # A terminated demo ends like an interrupted one: everything that it started is stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    _run(context, Demo(wanted, context.console))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(context: Context, demo: "Demo") -> None:  # type: ignore[name-defined] # noqa: F821
    from deploy.demo.gather import closing_table, gather
    from deploy.demo.report import render
    from deploy.demo.site import Site, peak_memory
    from deploy.demo.talk import Operator
    from deploy.hq_home import only_server

    with only_server(demo.layout.root), peak_memory() as peak:
        ports = demo.prepare()
        site = Site(demo.layout, demo.found.stores, ports)
        operator = Operator(site.hq_url)
        try:
            with demo.stages.stage("start") as note:
                site.start_servers()
                demo.enrol(operator)
                site.start_nodes()
                note(f"HQ at {site.hq_url}")
            demo.learn(site, operator)
            demo.release(site, operator)
        finally:
            operator.close()
            with demo.stages.stage("stop"):
                site.stop()
        demo.found.peak_bytes = peak()
        facts = gather(demo)
        files = render(facts, demo.layout.report)
        context.console.print(closing_table(facts))
        for failure in facts.failures:
            context.console.print(f"[red]✗ {failure}[/red]")
        answer = {
            "report": str(files.html),
            "json": str(files.json),
            "seconds": round(facts.seconds, 1),
            "peak_bytes": demo.found.peak_bytes,
            "failures": list(facts.failures),
            "release": facts.release.release_id if facts.release else "",
        }
        context.answer(answer, f"report: {files.html}")
    if not facts.verified:
        raise NotVerified("a ledger does not verify", where="demo", remedy=f"see {files.html}")
    if facts.failures:
        raise GateClosed("the release did not go out", where="demo", remedy=f"see {files.html}")
