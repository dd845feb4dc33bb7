"""``storeweave store``: make a store, fill it, serve it, ask it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import Field

from deploy.cli_context import Context, context_of
from shared.errors import BadInput
from shared.exit_codes import ExitCode
from shared.formats import Lang, Row, parse_row
from shared.ids import new_id
from shared.languages import detect_language

if TYPE_CHECKING:
    from store_node.ports import Engine

app = typer.Typer(no_args_is_help=True)


class Kind(StrEnum):
    """What a file holds."""

    CATALOG = "catalog"
    CONVERSATIONS = "conversations"
    KNOWLEDGE = "knowledge"
    INTENTS = "intents"
    CUSTOMERS = "customers"
    ORDERS = "orders"


class TextLine(Row):
    """A line of ``store understand``."""

    text: str = Field(max_length=100_000)
    lang: Lang | None = None


class SearchLine(TextLine):
    """A line of ``store search``."""

    k: int = Field(default=5, ge=1, le=100)


_Line = TypeVar("_Line", bound=Row)
_NoModel = Annotated[bool, typer.Option("--no-model", help="Rules and knowledge only.")]


@app.command("init")
def init(
    ctx: typer.Context,
    store_id: Annotated[str, typer.Option("--id", help="The store's id: a-z, 0-9, '.', '_', '-'.")],
    name: Annotated[str, typer.Option(help="The store's name.")] = "",
    lang: Annotated[str, typer.Option(help="Language of words that do not tell theirs.")] = "en",
) -> None:
    """Make a store in the home folder: configuration, keys, empty database. Safe to repeat."""
    from deploy.store_home import CONFIG, make_home
    from shared.config import load_settings
    from store_node.wiring import opened

    context = context_of(ctx)
    new = make_home(context.home, store_id=store_id, name=name, lang=lang)
    settings = load_settings(context.home / CONFIG, home=context.home)
    with opened(settings, context.home):
        pass  # makes the database, the index and the customers' key
    said = f"{'made' if new else 'found'} the store {store_id} in {context.home}"
    context.answer({"store": store_id, "home": str(context.home), "new": new}, said)


@app.command("import")
def import_(
    ctx: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(help="JSON lines, UTF-8.")],
    replace: Annotated[
        bool,
        typer.Option(help="Delete what is not in the file (catalogue, or knowledge by language)."),
    ] = False,
) -> None:
    """Import a file, whole or not at all; importing it again changes nothing."""
    from store_node.adapters.imports import ImportKind
    from store_node.wiring import opened

    context = context_of(ctx)
    with opened(context.settings, context.home) as data:
        count = data.importer.read(ImportKind(kind.value), file, replace=replace)
    context.answer({"kind": kind.value, "rows": count}, f"imported {count} rows of {kind.value}")


@app.command("serve")
def serve(ctx: typer.Context, no_model: _NoModel = False) -> None:
    """Serve the store's API until SIGTERM or Ctrl-C; the port is in store.port in the home."""
    from store_node.api.app import check_listening
    from store_node.api.server import serve as run
    from store_node.wiring import build_store

    context = context_of(ctx)
    store = context.settings.store
    key = store.api_key
    check_listening(store.host, key.get_secret_value() if key is not None else None)
    engine = _engine(context, no_model=no_model)
    application = build_store(context.home, context.settings, engine)
    run(application, host=store.host, port=store.port, home=context.home, say=context.say)


@app.command("ask")
def ask(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="The question.")],
    user: Annotated[str | None, typer.Option(help="The customer who asks.")] = None,
    session: Annotated[str | None, typer.Option(help="The session to go on with.")] = None,
    no_model: _NoModel = False,
) -> None:
    """Ask the store one question, with no server running."""
    from store_node.api.rest import reply_of
    from store_node.chat.model import Question
    from store_node.wiring import make_service, opened

    context = context_of(ctx)
    question = Question(text=text, session_id=session or new_id("session"), user_id=user)
    with opened(context.settings, context.home) as data:

        async def answer(engine: "Engine") -> dict[str, Any]:
            service = make_service(context.settings, data, engine)
            return reply_of(await service.answer(question))

        reply = asyncio.run(_with_engine(context, answer, no_model=no_model))
    sources = [f"  [{s['position']}] {s['document_name']}" for s in reply["sources"]]
    context.answer(reply, "\n".join([reply["response"]["answer"], *sources]))


@app.command("understand")
def understand(ctx: typer.Context, no_model: _NoModel = False) -> None:
    """Understand sentences: JSON lines in ({"text","lang"?}), JSON lines out."""
    from store_node.wiring import make_understander, opened

    context = context_of(ctx)
    with opened(context.settings, context.home) as data:

        async def run(engine: "Engine") -> int:
            understander = make_understander(data, engine)

            async def one(line: TextLine) -> dict[str, Any]:
                found = await understander.understand(
                    line.text, default_lang=context.settings.store.lang, lang=line.lang
                )
                return {
                    "lang": found.lang,
                    "intent": found.intent,
                    "confidence": found.confidence,
                    "entities": [span.as_dict() for span in found.entities],
                }

            return await _each_line(context, TextLine, one)

        wrong = asyncio.run(_with_engine(context, run, no_model=no_model))
    if wrong:
        raise typer.Exit(int(ExitCode.BAD_INPUT))


@app.command("search")
def search(ctx: typer.Context) -> None:
    """Search the knowledge: JSON lines in ({"text","lang"?,"k"?}), JSON lines out."""
    from store_node.wiring import opened

    context = context_of(ctx)
    with opened(context.settings, context.home) as data:

        async def one(line: SearchLine) -> dict[str, Any]:
            lang = line.lang or detect_language(line.text, context.settings.store.lang)
            hits = data.index.search(line.text, lang, line.k)
            return {
                "hits": [
                    {"id": hit.document_id, "score": hit.score, "lang": hit.lang} for hit in hits
                ]
            }

        wrong = asyncio.run(_each_line(context, SearchLine, one))
    if wrong:
        raise typer.Exit(int(ExitCode.BAD_INPUT))


@app.command("doctor")
def doctor(ctx: typer.Context) -> None:
    """Check the store's configuration, keys, database, knowledge and engine."""
    from deploy.store_home import examine

    context = context_of(ctx)
    findings = examine(context.settings, context.home)
    healthy = all(finding.ok for finding in findings if finding.needed)
    facts = [{"check": f.check, "ok": f.ok, "detail": f.detail} for f in findings]
    lines = [f"{'ok  ' if f.ok else 'BAD '} {f.check:<10} {f.detail}" for f in findings]
    context.answer({"healthy": healthy, "checks": facts}, "\n".join(lines))
    if not healthy:
        raise typer.Exit(int(ExitCode.BAD_CONFIG))


def _engine(context: Context, *, no_model: bool) -> "Engine | None":
    """Return the engine that this process runs itself; ``None``: the one that wiring makes."""
    from store_node.adapters.deferred_engine import DeferredEngine, NoEngine

    if no_model:
        return NoEngine()
    settings = context.settings
    if settings.store.inference:
        return None

    def load() -> "Engine":
        from deploy.base_model import resolve_base
        from store_node.serving.engine import EmbeddedEngine

        base = resolve_base(settings.model, context.console.log)
        return EmbeddedEngine.open(
            base.folder,
            base.digest,
            home=context.home,
            serving=settings.serving,
            performance=settings.performance,
        )

    return DeferredEngine(load)


_Result = TypeVar("_Result")


async def _with_engine(
    context: Context, use: "Callable[[Engine], Awaitable[_Result]]", *, no_model: bool
) -> _Result:
    from store_node.adapters.deferred_engine import DeferredEngine, close_engine
    from store_node.wiring import make_engine

    engine = _engine(context, no_model=no_model) or make_engine(context.settings, context.home)
    try:
        if isinstance(engine, DeferredEngine) and not await engine.loaded():
            context.console.print("the model could not be loaded: rules answer")
        return await use(engine)
    finally:
        await close_engine(engine)


async def _each_line(
    context: Context, kind: type[_Line], answer: Callable[[_Line], Awaitable[dict[str, Any]]]
) -> int:
    """Answer every line of standard input; return how many were wrong, each told on its own."""
    wrong = 0
    lines: Iterable[bytes] = sys.stdin.buffer
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise BadInput("not UTF-8", where=where, remedy="write UTF-8") from None
            context.emit(await answer(parse_row(text, kind, where=where)))
        except BadInput as error:
            wrong += 1
            sys.stderr.write(f"{error}\n")
    return wrong
