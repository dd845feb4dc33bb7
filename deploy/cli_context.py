"""What every command is handed: settings, the home folder, and how to speak to whoever called.

Results go to standard output, everything else (progress, remarks, errors) to standard error, so
that a pipe carries nothing but results. With ``--json`` the last line of standard output is one
JSON object.

A command takes ``ctx: typer.Context`` and calls :func:`context_of` to get at this::

    app = typer.Typer(no_args_is_help=True)

    @app.command("show")
    def show(ctx: typer.Context) -> None:
        context = context_of(ctx)
        context.answer({"left": 1.2}, "1.2 left of 2.0")
"""

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import BadConfig

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from shared.config import Settings


@cache
def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Context:
    """One invocation of the program."""

    settings: "Settings"
    home: Path
    json: bool = False
    config: Path | None = None
    """The file that ``--config`` named."""

    @property
    def console(self) -> "Console":
        """The rich console for progress and remarks, on standard error."""
        return _console()

    def emit(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print ``value`` as one JSON line on standard output, in every mode, at once."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print a line for people: on standard output, or standard error under ``--json``."""
        stream = sys.stderr if self.json else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def answer(self, value: Any, text: str) -> None:  # noqa: ANN401 - any JSON value
        """Give the command's result: ``value`` as JSON under ``--json``, else ``text``."""
        if self.json:
            self.emit(value)
        else:
            self.say(text)


def context_of(ctx: "typer.Context") -> Context:
    """Return the :class:`Context` that the program's entry put into typer's context.

    Raises:
        BadConfig: the command was called without the program's entry.
    """
    found = ctx.find_object(Context)
    if found is None:
        raise BadConfig("the command has no context", remedy="run it through `storeweave`")
    return found
