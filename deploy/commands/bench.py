"""``storeweave bench``: measure this machine, each figure beside a yardstick from the same run.

An answer is one JSON object: ``bench``, ``machine``, ``size`` (what was measured), ``figure`` (our
code) and ``yardstick`` (plain work of the same size). Figures of two machines, or of a busy and an
idle one, compare only by way of their yardsticks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli_context import Context, context_of

app = typer.Typer(no_args_is_help=True, help="Measure this machine.")


@app.command("ledger")
def ledger(
    ctx: typer.Context,
    rounds: Annotated[int, typer.Option(help="Rounds; each is two appends.")] = 100,
) -> None:
    """Durable appends to a privacy ledger on the home's disk, and verification of its export."""
    from deploy.bench.ledger import measure_ledger

    context = context_of(ctx)
    _answer(context, measure_ledger(context.home, rounds=rounds))


@app.command("aggregate")
def aggregate(
    ctx: typer.Context,
    updates: Annotated[int, typer.Option(help="Stores that answered.")] = 8,
    floats: Annotated[int, typer.Option(help="Values in an update.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(help="The median of so many runs is told.")] = 5,
) -> None:
    """The mean of a round's updates, beside numpy's mean and a copy of the same bytes."""
    from deploy.bench.aggregate import measure_aggregate

    found = measure_aggregate(updates=updates, floats=floats, repeats=repeats)
    _answer(context_of(ctx), found)


@app.command("desensitize")
def desensitize(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(help="A conversations file; default: texts of the synthetic world."),
    ] = None,
    texts: Annotated[int, typer.Option(help="At most so many texts.")] = 400,
    repeats: Annotated[int, typer.Option(help="The median of so many runs is told.")] = 3,
) -> None:
    """Masked texts a second, beside one plain pass over the same texts."""
    from deploy.bench.desensitize import measure_desensitize

    found = measure_desensitize(data=data, texts=texts, repeats=repeats)
    _answer(context_of(ctx), found)


@app.command("training")
def training(
    ctx: typer.Context,
    customers: Annotated[int, typer.Option(help="Synthetic customers in a step.")] = 8,
    steps: Annotated[int, typer.Option(help="The median of so many steps is told.")] = 3,
) -> None:
    """Seconds of a private step on the configured base model, beside the same step in the plain."""
    from deploy.base_model import resolve_base
    from deploy.bench.training import measure_training

    context = context_of(ctx)
    base = resolve_base(context.settings.model, context.console.print)
    _answer(context, measure_training(context.settings, base, customers=customers, steps=steps))


def _answer(context: Context, found: dict[str, Any]) -> None:
    about = found["machine"]
    text = [
        f"{found['bench']} on {about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB",
        f"  ours:      {_said(found['figure'])}",
        f"             {found['size']['figure_is']}",
        f"  yardstick: {_said(found['yardstick'])}",
        f"             {found['size']['yardstick_is']}",
    ]
    context.answer(found, "\n".join(text))


def _said(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
