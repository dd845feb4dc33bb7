"""``storeweave hq certificates``: TLS files for inference services and the stores that use them."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_context import context_of
from deploy.hq_home import check_hq
from deploy.pki import issue, load_or_make_authority
from shared.errors import BadInput

app = typer.Typer()


@app.command("certificates")
def certificates(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(help="A new folder; hand it over by a safe way.")],
    host: Annotated[list[str], typer.Option(help="Name or address of the service; repeatable.")],
) -> None:
    """Issue TLS files for an inference service and the stores that use it, and HQ's own.

    The folder then holds ca.crt, server.crt and server.key for the service's home, client.crt and
    client.key for the stores' homes. Keys are readable by their owner alone.
    """
    context = context_of(ctx)
    check_hq(context)
    if out.exists():
        raise BadInput("the folder exists already", where=str(out), remedy="name another")
    pki = context.home / "pki"
    authority = load_or_make_authority(pki)
    issue(authority, pki, "hq")
    out.mkdir(parents=True, mode=0o700)
    issue(authority, out, "server", tuple(host))
    issue(authority, out, "client")
    shutil.copyfile(authority.path, out / "ca.crt")
    names = sorted(path.name for path in out.iterdir())
    context.answer({"out": str(out), "files": names, "hosts": host}, f"{out}: {', '.join(names)}")
