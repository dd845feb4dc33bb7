"""``storeweave store inference``: the model in a process of its own."""

import typer

from deploy.cli_context import context_of

app = typer.Typer()


@app.command("inference")
def inference(ctx: typer.Context) -> None:
    """Serve the model over gRPC until SIGTERM or Ctrl-C; the port is in inference.port.

    A store that names this service in [store] inference loads no model itself, and headquarters
    that names it in [hq] inference pushes releases to it.
    """
    from deploy.commands.inference import run_inference

    context = context_of(ctx)
    run_inference(context.settings, context.home, say=context.say)
