"""The only place that builds the store's adapters and hands them to those who need them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from shared.clock import Clock, SystemClock
from shared.config import Settings
from shared.errors import BadConfig, Unavailable
from store_node.adapters.conversations import SqlConversations
from store_node.adapters.customer_keys import CustomerKeys
from store_node.adapters.database import Database, sqlite_url
from store_node.adapters.deferred_engine import DeferredEngine, NoEngine, close_engine
from store_node.adapters.dialogues import SqlDialogues
from store_node.adapters.fts import FtsIndex
from store_node.adapters.imports import Importer
from store_node.adapters.samples import SqlSamples
from store_node.adapters.shop import SqlShop
from store_node.api.app import AppParts, make_app
from store_node.api.metrics import Metrics
from store_node.chat.answer import ChatLimits, ChatParts, ChatService
from store_node.chat.grounding import Grounder
from store_node.chat.observer import Observer, Unwatched
from store_node.chat.understanding import Understander
from store_node.ports import Engine

DATABASE_FILE = "store.db"
KNOWLEDGE_FILE = "knowledge.db"
CUSTOMERS_KEY = Path("keys") / "customers.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreData:
    """Everything a store keeps, opened; close it at the end."""

    database: Database
    keys: CustomerKeys
    index: FtsIndex
    shop: SqlShop
    conversations: SqlConversations
    dialogues: SqlDialogues
    samples: SqlSamples
    importer: Importer

    def close(self) -> None:
        """Close the files and connections."""
        self.index.close()
        self.database.close()


def open_data(settings: Settings, home: Path, clock: Clock | None = None) -> StoreData:
    """Open a store's data, bringing the schema up to date.

    Raises:
        BadConfig: no store was made in ``home``.
        Unavailable: the database cannot be used.
    """
    if not settings.store.id:
        raise BadConfig(
            "there is no store here", where=str(home), remedy="run `storeweave store init --id ID`"
        )
    clock = clock or SystemClock()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not settings.store.database:
        _keep_private(home / DATABASE_FILE)
    _keep_private(home / KNOWLEDGE_FILE)
    database = Database(settings.store.database or sqlite_url(home / DATABASE_FILE))
    database.upgrade()
    keys = CustomerKeys.load_or_create(home / CUSTOMERS_KEY)
    index = FtsIndex(home / KNOWLEDGE_FILE)
    return StoreData(
        database=database,
        keys=keys,
        index=index,
        shop=SqlShop(database),
        conversations=SqlConversations(database, clock),
        dialogues=SqlDialogues(database, keys, clock),
        samples=SqlSamples(database),
        importer=Importer(database, index, keys, clock),
    )


def _keep_private(path: Path) -> None:
    """Make the file where there is none, so that only its owner can read it.

    SQLite gives the files beside it (``-wal``, ``-shm``) the same mode.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise Unavailable(
            f"cannot be opened: {error.strerror}", where=str(path), remedy="check the folder"
        ) from None


@contextmanager
def opened(settings: Settings, home: Path) -> Iterator[StoreData]:
    """Open a store's data for a block."""
    data = open_data(settings, home)
    try:
        yield data
    finally:
        data.close()


@contextmanager
def open_samples(settings: Settings, home: Path) -> Iterator[SqlSamples]:
    """Open the store's training samples for a block."""
    with opened(settings, home) as data:
        yield data.samples


def make_engine(settings: Settings, home: Path) -> Engine:
    """Return the engine that the settings name: an inference service, or none."""
    if not settings.store.inference:
        return NoEngine()
    # Late: grpc takes a while to import, and most commands do not need it.
    from shared.wire.tls import TlsFiles  # noqa: PLC0415
    from store_node.adapters.grpc_engine import GrpcEngine  # noqa: PLC0415

    files = TlsFiles(ca=home / "ca.crt", cert=home / "client.crt", key=home / "client.key")
    return GrpcEngine(settings.store.inference, tls=files if files.cert.is_file() else None)


def make_understander(data: StoreData, engine: Engine) -> Understander:
    """Return what turns words into intent and entities."""
    return Understander(engine=engine, labels=data.conversations, shop=data.shop)


def make_service(
    settings: Settings, data: StoreData, engine: Engine, observer: Observer | None = None
) -> ChatService:
    """Return the answer path over opened data."""
    return ChatService(
        ChatParts(
            engine=engine,
            understander=make_understander(data, engine),
            dialogues=data.dialogues,
            grounder=Grounder(shop=data.shop, orders=data.shop, knowledge=data.index),
            observer=observer or Unwatched(),
        ),
        ChatLimits(
            default_lang=settings.store.lang, max_new_tokens=settings.serving.max_new_tokens
        ),
    )


def build_store(home: Path, settings: Settings, engine: Engine | None = None) -> FastAPI:
    """Return the store's application; it closes its data when the server stops.

    Args:
        home: the store's home folder.
        settings: its settings.
        engine: ``None``: :func:`make_engine`; a :class:`DeferredEngine` is started here.
    """
    data = open_data(settings, home)
    model = engine if engine is not None else make_engine(settings, home)
    metrics = Metrics(settings.store.id)
    key = settings.store.api_key

    async def start() -> None:
        if isinstance(model, DeferredEngine):
            model.start()

    async def stop() -> None:
        await close_engine(model)
        data.close()

    parts = AppParts(
        service=make_service(settings, data, model, metrics),
        metrics=metrics,
        base=settings.model.base or "packaged:gemma-3-270m",
        api_key=key.get_secret_value() if key is not None else None,
    )
    return make_app(parts, on_start=start, on_stop=stop)
