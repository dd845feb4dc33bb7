"""``storeweave store join``: become a member of a federation."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_context import context_of

app = typer.Typer()


@app.command("join")
def join(
    ctx: typer.Context,
    invitation: Annotated[Path, typer.Argument(help="The file that `storeweave hq invite` wrote.")],
    customers: Annotated[
        int, typer.Option(min=1, help="Customers, as the store declares publicly: a round figure.")
    ],
    cohort: Annotated[
        str, typer.Option(help="Name of this set of customers; default: the store's id.")
    ] = "",
    out: Annotated[
        Path, typer.Option(help="Where to write the enrolment, to be handed to HQ.")
    ] = Path("enrolment.json"),
) -> None:
    """Take HQ's keys from an invitation, and write the enrolment that HQ needs.

    The number of customers is public: round it, and never give the exact count.
    """
    from deploy.invitation import join as become_member

    context = context_of(ctx)
    named = cohort or context.settings.store.id
    facts = become_member(
        context.home, context.settings, invitation, customers=customers, cohort=named
    )
    out.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", "utf-8")
    context.answer(
        {**facts, "out": str(out)},
        f"joined; hand {out} to headquarters, who runs: storeweave hq enrol {out.name}",
    )
