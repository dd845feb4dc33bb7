"""A store's home folder: made by ``store init``, looked over by ``store doctor``."""

import asyncio
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from shared.config import Settings
from shared.errors import BadConfig, StoreWeaveError
from shared.ids import check_id
from shared.keys import SigningKey
from store_node.adapters.deferred_engine import close_engine
from store_node.wiring import make_engine, opened

CONFIG = "storeweave.toml"


def make_home(home: Path, *, store_id: str, name: str, lang: str) -> bool:
    """Make a store's folder with its configuration and ledger key; return whether it is new.

    Raises:
        BadInput: ``store_id`` has not the form of an identifier.
        BadConfig: the folder holds another store, or its configuration cannot be read.
    """
    check_id(store_id, "store id")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / CONFIG
    try:
        found = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (OSError, ValueError):
        raise BadConfig("cannot be read as TOML", where=str(path), remedy="mend it") from None
    there = found.get("store", {}).get("id", "")
    if there and there != store_id:
        raise BadConfig(
            f"this folder holds the store {there!r}",
            where=str(home),
            remedy="name another folder with --home, or leave the id as it is",
        )
    if not there:
        found["store"] = {"id": store_id, "name": name, "lang": lang, **found.get("store", {})}
        fresh = path.with_suffix(".new")
        fresh.write_text(tomli_w.dumps(found), "utf-8")
        fresh.replace(path)
    SigningKey.load_or_create(home / "keys" / "ledger.key")
    return not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check saw; ``needed`` ones must hold for the store to work at all."""

    check: str
    ok: bool
    detail: str
    needed: bool = True


def examine(settings: Settings, home: Path) -> list[Finding]:
    """Check a store's home; never raises for what it finds."""
    return [_checked(name, check) for name, check in _checks(settings, home)]


def _checks(settings: Settings, home: Path) -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield "store", lambda: _identity(settings, home)
    yield "keys", lambda: _keys(home)
    yield "database", lambda: _database(settings, home)
    yield "knowledge", lambda: _knowledge(settings, home)
    yield "engine", lambda: _engine(settings, home)


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except StoreWeaveError as error:
        return Finding(check=name, ok=False, detail=str(error))


def _identity(settings: Settings, home: Path) -> Finding:
    if not settings.store.id:
        raise BadConfig("there is no store here", where=str(home), remedy="run `store init --id`")
    return Finding(check="store", ok=True, detail=f"{settings.store.id}, {settings.store.lang}")


def _keys(home: Path) -> Finding:
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    return Finding(check="keys", ok=True, detail=f"ledger key {key.public_hex[:12]}…")


def _database(settings: Settings, home: Path) -> Finding:
    with opened(settings, home) as data:
        version = data.database.version()
        counts = data.importer.counts()
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Finding(check="database", ok=True, detail=f"schema {version}; {told}")


def _knowledge(settings: Settings, home: Path) -> Finding:
    with opened(settings, home) as data:
        kept, indexed = data.importer.passages(), dict(data.index.counts())
    behind = sorted(lang for lang in kept if kept[lang] != indexed.get(lang, 0))
    if behind:
        detail = f"the index is behind for {', '.join(behind)} — import the knowledge again"
        return Finding(check="knowledge", ok=False, detail=detail)
    told = ", ".join(f"{count} {lang}" for lang, count in kept.items()) or "no passages"
    return Finding(check="knowledge", ok=True, detail=told)


def _engine(settings: Settings, home: Path) -> Finding:
    if not settings.store.inference:
        detail = "in the store's process, loaded when it serves"
        return Finding(check="engine", ok=True, detail=detail, needed=False)

    async def ask() -> bool:
        engine = make_engine(settings, home)
        try:
            return await engine.ready()
        finally:
            await close_engine(engine)

    ready = asyncio.run(ask())
    detail = f"{settings.store.inference} is {'ready' if ready else 'not ready: rules answer'}"
    return Finding(check="engine", ok=ready, detail=detail, needed=False)
