"""``storeweave store desensitize`` and ``storeweave store samples``."""

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from deploy.cli_context import Context, context_of
from shared.errors import BadInput
from shared.exit_codes import ExitCode
from shared.keys import secret_bytes

if TYPE_CHECKING:
    from store_node.samples.desensitize import Desensitizer

app = typer.Typer(no_args_is_help=True)
samples_app = typer.Typer(no_args_is_help=True, help="The store's training samples.")
app.add_typer(samples_app, name="samples")


def desensitizer_of(context: Context, names: Iterable[str] = ()) -> "Desensitizer":
    """Return what masks texts of this store; ``names`` (of products) are not taken for people's."""
    from store_node.samples.desensitize import Desensitizer

    name = context.settings.store.name
    key = secret_bytes(context.home / "keys" / "customers.key")
    return Desensitizer(key, allow=[text for text in (name, *names) if text])


def mask_lines(lines: Iterable[bytes], desensitizer: "Desensitizer", context: Context) -> int:
    """Answer each line of JSON in turn; return how many were wrong, each told on standard error."""
    from shared.text import RawText

    wrong = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text, lang = _read(line, number)
        except BadInput as error:
            sys.stderr.write(f"{error}\n")
            wrong += 1
            continue
        # Each line stands for itself: the same line gives the same answer wherever it stands.
        masked, spans, _ = desensitizer.desensitize(
            RawText(text), lang, conversation_key="command-line"
        )
        found = [{"start": s.start, "end": s.end, "label": s.label} for s in spans]
        context.emit({"text": masked.text, "spans": found})
    return wrong


def _read(line: bytes, number: int) -> tuple[str, str | None]:
    where = f"line {number}"
    remedy = 'each line is {"text": "…", "lang": "en"}; "lang" may be left out'
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise BadInput("not JSON in UTF-8", where=where, remedy=remedy) from None
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise BadInput('"text" is missing or not a string', where=where, remedy=remedy)
    unknown = sorted(set(value) - {"text", "lang"})
    if unknown:
        raise BadInput(f"unknown field {unknown[0]!r}", where=where, remedy=remedy)
    lang = value.get("lang")
    if lang is not None and not isinstance(lang, str):
        raise BadInput('"lang" is not a string', where=where, remedy=remedy)
    try:
        value["text"].encode()
    except UnicodeEncodeError:
        raise BadInput('"text" holds half a character', where=where, remedy=remedy) from None
    return value["text"], lang or None


@app.command("desensitize")
def desensitize(ctx: typer.Context) -> None:
    """Mask names, phones, addresses and the like: JSON lines in, JSON lines out.

    Reads {"text", "lang"?} from standard input and writes {"text", "spans"}; spans are positions in
    the text that was given. A bad line is named on standard error; the others are still answered.
    """
    context = context_of(ctx)
    if mask_lines(sys.stdin.buffer, desensitizer_of(context), context):
        raise typer.Exit(int(ExitCode.BAD_INPUT))


@samples_app.command("stats")
def stats(ctx: typer.Context) -> None:
    """Count the training samples of this store, by language and kind."""
    from store_node.wiring import open_data

    context = context_of(ctx)
    data = open_data(context.settings, context.home)
    try:
        counts = dict(data.samples.stats())
    finally:
        data.close()
    context.answer(counts, "\n".join(f"{name:<16}{count}" for name, count in counts.items()))
