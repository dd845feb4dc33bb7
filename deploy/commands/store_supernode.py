"""``storeweave store node``: the store's Flower SuperNode, kept running."""

import json
import signal
import threading
from pathlib import Path

import typer

from deploy.cli_context import Context, context_of
from deploy.federation import SuperLinkAddress, start_supernode
from shared.errors import BadConfig, Unavailable

app = typer.Typer()
_LOOK_S = 1.0
_WAIT_S = (2.0, 5.0, 15.0, 60.0)


@app.command("node")
def node(ctx: typer.Context) -> None:
    """Take part in headquarters' rounds until SIGTERM or Ctrl-C; needs ``store join`` before.

    The node calls headquarters, never the other way. Where headquarters cannot be reached, or lets
    the node in no more, it is tried again, after a minute at most.
    """
    context = context_of(ctx)
    address = member_of(context.home)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    keep_running(context, address, stop)
    context.answer({"superlink": address.text}, "stopped")


def member_of(home: Path) -> SuperLinkAddress:
    """Return the SuperLink of the federation that the store in ``home`` joined.

    Raises:
        BadConfig: it has joined none, or what it was told of HQ is damaged.
    """
    path, authority = home / "hq.json", home / "ca.crt"
    try:
        host, _, port = str(json.loads(path.read_text("utf-8"))["superlink"]).rpartition(":")
        found = SuperLinkAddress(host=host.strip("[]"), port=int(port), authority=authority)
    except (OSError, ValueError, KeyError, TypeError):
        raise BadConfig(
            "the store has joined no federation",
            where=str(path),
            remedy="run `storeweave store join INVITATION --customers N`",
        ) from None
    if not authority.is_file():
        raise BadConfig("HQ's certificate is missing", where=str(authority), remedy="join again")
    return found


def keep_running(context: Context, address: SuperLinkAddress, stop: threading.Event) -> None:
    """Keep a SuperNode running until ``stop`` is set; start it again where it ended."""
    name, failed = context.settings.store.id or context.home.name, 0
    while not stop.is_set():
        try:
            child = start_supernode(context.home, address, name=name)
        except Unavailable as error:
            wait = _WAIT_S[min(failed, len(_WAIT_S) - 1)]
            context.say(f"{error.what}; next try in {wait:g} s")
            failed += 1
            stop.wait(wait)
            continue
        failed = 0
        context.say(f"{name} takes part in rounds of {address.text}")
        try:
            while child.running and not stop.wait(_LOOK_S):
                pass
        finally:
            child.stop()
        if not stop.is_set():
            context.say("the node ended; starting it again")
