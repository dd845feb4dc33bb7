"""``storeweave simulate``: compare local, federated and pooled training, private and not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from deploy.cli_context import context_of

app = typer.Typer()


@app.command()
def simulate(
    ctx: typer.Context,
    plan: Annotated[Path, typer.Argument(help="A TOML file, see 'Simulation' in README.md.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: beside the plan.")
    ] = None,
) -> None:
    """Run every combination of a plan on this machine; what is done already is not done again."""
    from deploy.base_model import resolve_base
    from deploy.simulate.data import cached, read_world
    from deploy.simulate.page import points, write
    from deploy.simulate.plan import read_plan
    from deploy.simulate.run import prepare, run
    from shared.config import cache_folder
    from shared.prompts import TOPIC_EXAMPLES
    from store_node.training.features import DEPTHS, FeatureReader

    context = context_of(ctx)
    wanted = read_plan(plan)
    folder = out or plan.with_suffix("")
    settings = context.settings
    model = settings.model.model_copy(update={"base": wanted.model} if wanted.model else {})
    base = resolve_base(model, context.console.log)
    with Progress(console=context.console, transient=True) as progress:
        bar = progress.add_task("features", total=None)

        def read(texts: Any) -> Any:  # noqa: ANN401 - numpy array of texts
            reader = FeatureReader(base.folder, settings.performance)
            return reader.read(
                texts, lambda done, total: progress.update(bar, completed=done, total=total)
            )

        identity = f"{base.digest} {DEPTHS} {TOPIC_EXAMPLES}"
        world = read_world(
            wanted,
            cached(read, cache_folder() / "features", identity),
            wanted.privacy.texts_per_customer,
        )
        prepared = prepare(world, wanted.training)

        def on_cell(done: int, total: int, result: Mapping[str, Any]) -> None:
            progress.update(bar, description=str(result["cell"]), completed=done, total=total)

        results = run(wanted, prepared, folder, on_cell)
    page = write(wanted, results, folder)
    lines = [
        f"{p.lang}  {p.way:<9}  {f'epsilon {p.epsilon:g}' if p.epsilon else 'not private':<12}  "
        f"{100 * p.mean:5.1f} % ± {100 * p.spread:.1f}"
        for p in points(results)
    ]
    context.answer({"results": results, "page": str(page)}, "\n".join([*lines, f"page: {page}"]))
