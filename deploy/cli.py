"""The ``storeweave`` program: finds the command, hands it its context, and turns errors into exits.

``--config``, ``--home`` and ``--json`` may stand before or after the command. A command's module
is imported when the command is called, never to print help.
"""

import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import typer
from typer.core import TyperGroup

from deploy.cli_context import Context
from shared.errors import StoreWeaveError
from shared.exit_codes import ExitCode

EPILOG = "Every command also takes --config FILE, --home DIR and --json."
_WITH_VALUE = ("--config", "--home")
_HELP_ONLY = object()
_BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a command lives: ``modules`` each hold a typer ``app``; several make one group."""

    help: str
    modules: tuple[str, ...]

    @property
    def present(self) -> tuple[str, ...]:
        """The modules that exist in this build."""
        return tuple(name for name in self.modules if importlib.util.find_spec(name) is not None)


ENTRIES = {
    "demo": Entry(
        help="Run a whole federation on this machine, end to end, and report on it.",
        modules=("deploy.commands.demo",),
    ),
    "up": Entry(
        help="Start a federation on this machine and keep it running.",
        modules=("deploy.commands.up",),
    ),
    "down": Entry(help="Stop what `up` started.", modules=("deploy.commands.down",)),
    "status": Entry(help="Show what `up` keeps running.", modules=("deploy.commands.status",)),
    "eval": Entry(
        help="Measure a release on a dataset of your own.", modules=("deploy.commands.eval",)
    ),
    "simulate": Entry(
        help="Compare ways of training, privacy and splits of the data on this machine.",
        modules=("deploy.commands.simulate",),
    ),
    "bench": Entry(help="Measure this machine.", modules=("deploy.commands.bench",)),
    "store": Entry(
        help="A store: its data, its chat, its part in the federation.",
        modules=(
            "deploy.commands.store",
            "deploy.commands.store_samples",
            "deploy.commands.store_worker",
            "deploy.commands.store_inference",
            "deploy.commands.store_join",
            "deploy.commands.store_supernode",
        ),
    ),
    "hq": Entry(
        help="Headquarters: rounds, budgets, releases.",
        modules=("deploy.commands.hq", "deploy.commands.hq_certificates"),
    ),
    "audit": Entry(help="Export and verify privacy ledgers.", modules=("deploy.commands.audit",)),
}


def load(name: str, entry: Entry) -> click.Command:
    """Import the modules of an entry and return its command, with the common options named.

    A single module whose app has one command without a name of its own is that command.
    """
    merged: click.Command | None = None
    for module in entry.present:
        inner: typer.Typer = importlib.import_module(module).app
        inner._add_completion = False  # else each group would offer to install it
        several = len(entry.modules) > 1
        found = typer.main.get_group(inner) if several else typer.main.get_command(inner)
        if merged is None:
            merged = found
        elif isinstance(merged, click.Group) and isinstance(found, click.Group):
            for command in found.commands.values():
                merged.add_command(command)
    if merged is None:
        raise click.UsageError(f"the command {name!r} is not in this build")
    merged.name = name
    merged.help = merged.help or entry.help
    _explain(merged)
    return merged


def _explain(command: click.Command) -> None:
    command.epilog = command.epilog or EPILOG
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _explain(inner)


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that exist in this build, in the order of the table."""
        return [name for name, entry in ENTRIES.items() if entry.present]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a stand-in that carries the help line, until the command is resolved to run."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        entry = ENTRIES.get(cmd_name)
        if entry is None or not entry.present:
            return None
        return click.Command(cmd_name, help=entry.help)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that ``args`` name."""
        entry = ENTRIES.get(args[0]) if args else None
        if entry is not None and entry.present and args[0] not in self.commands:
            self.add_command(load(args[0], entry), args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="storeweave",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="On-premises customer service that learns across stores without moving customers' words.",
    epilog=EPILOG,
)


def program_version() -> str:
    """Return the installed version."""
    try:
        return version("storeweave")
    except PackageNotFoundError:
        return "unknown"


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"storeweave {program_version()}\n")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    config: Path | None = typer.Option(  # noqa: B008 - typer's way
        None, help="The TOML file; default: storeweave.toml in the home folder."
    ),
    home: Path | None = typer.Option(  # noqa: B008 - typer's way
        None, help="The home folder; default: $STOREWEAVE_HOME, or the user's data folder."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object as the last line."),
    _version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    # A broken configuration must not keep anyone from reading the help.
    if ctx.obj is not _HELP_ONLY:
        ctx.obj = make_context(config=config, home=home, as_json=as_json)


def make_context(*, config: Path | None, home: Path | None, as_json: bool) -> Context:
    """Load the settings and return the context of one invocation.

    Raises:
        BadConfig: the configuration is missing or wrong.
    """
    from shared.config import home_folder, load_settings
    from shared.logging import configure_logging

    folder = home.expanduser().resolve() if home is not None else home_folder()
    # Children, and whatever asks for the home folder deeper down, must mean the same place.
    os.environ["STOREWEAVE_HOME"] = str(folder)
    settings = load_settings(config, home=folder)
    configure_logging(settings.performance.log_level)
    return Context(settings=settings, home=folder, json=as_json, config=config)


def hoist(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the common options moved in front of the command.

    Nothing after ``--`` is touched.
    """
    front: list[str] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word == "--json" or word.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            front.append(word)
        elif word in _WITH_VALUE and queue:
            front += [word, queue.pop(0)]
        else:
            rest.append(word)
    return front + rest


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error ends here, in one line."""
    words = hoist(arguments)
    as_json = "--json" in words[: words.index("--")] if "--" in words else "--json" in words
    try:
        asked = _HELP_ONLY if "--help" in words else None
        result = app(args=words, prog_name="storeweave", standalone_mode=False, obj=asked)
        code = int(result) if isinstance(result, int) else int(ExitCode.OK)
        if code == ExitCode.INTERRUPTED:
            # typer turns Ctrl-C into this code by itself.
            raise KeyboardInterrupt
        sys.stdout.flush()
    except StoreWeaveError as error:
        _say_error(str(error), error.as_dict(), as_json=as_json)
        code = int(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = int(ExitCode.USAGE)
    except click.ClickException as error:
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        where = ctx.command_path if ctx else "storeweave"
        _say_error(
            f"{where}: {error.format_message().rstrip(chr(46))} — see {where} --help",
            {"code": "usage", "message": error.format_message(), "where": where},
            as_json=as_json,
        )
        code = int(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        _say_error(
            "interrupted — state is consistent, run it again",
            {"code": "interrupted", "message": "interrupted"},
            as_json=as_json,
        )
        code = int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`… | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    except Exception as error:
        code = _crashed(error, as_json=as_json)
    return code


def main() -> None:
    """Entry point of the ``storeweave`` program."""
    sys.exit(run(sys.argv[1:]))


def _say_error(line: str, facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"error": facts}, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()
    else:
        sys.stderr.write(" ".join(line.split()) + "\n")


def _crashed(error: Exception, *, as_json: bool) -> int:
    """Write where it happened to a log, without any value: a message may quote a customer."""
    from shared.config import home_folder

    moment = datetime.now(UTC)
    path = home_folder() / "logs" / f"crash-{moment:%Y%m%dT%H%M%S%f}.log"
    lines = [f"{moment.isoformat()} storeweave {program_version()}"]
    link: BaseException | None = error
    while link is not None:
        lines.append(f"{type(link).__module__}.{type(link).__qualname__}")
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(link.__traceback__)
        ]
        link = link.__cause__ or link.__context__
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        place = f"details in {path}"
    except OSError:
        place = "the log could not be written: " + lines[-1].strip()
    name = type(error).__name__
    _say_error(
        f"storeweave: unexpected {name}, a bug of ours — {place}",
        {"code": "failure", "message": f"unexpected {name}", "log": str(path)},
        as_json=as_json,
    )
    return int(ExitCode.FAILURE)


if __name__ == "__main__":
    main()
