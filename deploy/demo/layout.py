"""The demo's folders, settings and keys: what `store init`, `hq invite` and `store join` make."""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from deploy.children import free_port
from deploy.pki import issue, load_or_make_authority
from shared.errors import BadInput
from shared.formats import ConversationRow, IntentRow, read_rows
from shared.ids import check_id

LOOPBACK = "127.0.0.1"
HQ_DATA = "hq"
GATE_FILES = ("conversations.jsonl", "intents.jsonl")
TUNING_FILE = "tuning.jsonl"
"""Optional: chooses the merge weight."""
IMPORTS = ("catalog", "knowledge", "customers", "orders", "intents", "conversations")
"""In this order: orders name products and customers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreData:
    """One store of a data folder: who it is, and where its files lie."""

    store_id: str
    name: str
    lang: str
    public_customers: int
    folder: Path

    def files(self) -> list[tuple[str, Path]]:
        """Return the kinds that are there with their files, in order of import."""
        found = [(kind, self.folder / f"{kind}.jsonl") for kind in IMPORTS]
        return [(kind, path) for kind, path in found if path.is_file()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback ports of one start; free when they were chosen."""

    superlink: int
    hq: int
    inference: int

    @classmethod
    def choose(cls) -> "Ports":
        """Return three free ports."""
        return cls(superlink=free_port(), hq=free_port(), inference=free_port())


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything of a demo lies."""

    root: Path

    @property
    def hq(self) -> Path:
        """HQ's home."""
        return self.root / "hq"

    @property
    def inference(self) -> Path:
        """The inference service's home."""
        return self.root / "inference"

    def store(self, store_id: str) -> Path:
        """A store's home."""
        return self.root / "stores" / store_id

    @property
    def world(self) -> Path:
        """The synthetic data, where none was given."""
        return self.root / "data"

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.root / "report"


def read_stores(data: Path) -> list[StoreData]:
    """Return the stores of a data folder.

    Raises:
        BadInput: there is no store or no gate set, or a ``store.toml`` is wrong.
    """
    folders = sorted(path.parent for path in data.glob("*/store.toml"))
    if not folders:
        raise BadInput(
            "no store: no folder with a store.toml",
            where=str(data),
            remedy="see 'The data folder' in README.md",
        )
    for name in GATE_FILES:
        if not (data / HQ_DATA / name).is_file():
            raise BadInput(
                f"the gate set {name} is missing",
                where=str(data / HQ_DATA),
                remedy="put held-back rows there that are public or synthetic",
            )
    return [_store(folder) for folder in folders]


def _store(folder: Path) -> StoreData:
    path = folder / "store.toml"
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        return StoreData(
            store_id=check_id(str(found["id"]), "store id"),
            name=str(found.get("name", found["id"])),
            lang=str(found["lang"]),
            public_customers=int(found["public_customers"]),
            folder=folder,
        )
    except (OSError, ValueError, KeyError):
        raise BadInput(
            "not a store: id, lang and public_customers are needed",
            where=str(path),
            remedy="see 'The data folder' in README.md",
        ) from None


def write_settings(
    layout: Layout,
    stores: Iterable[StoreData],
    ports: Ports,
    base: str,
    shared: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write every home's ``storeweave.toml`` for this start.

    Args:
        layout: the demo's folders.
        stores: the stores.
        ports: of this start.
        base: the base model's folder.
        shared: sections that all sides share: ``[privacy]``, ``[rounds]``, ``[model]``, ….
    """
    model = {**shared.get("model", {}), "base": base}
    common = {**shared, "model": model}
    target = f"{LOOPBACK}:{ports.inference}"
    superlink = f"{LOOPBACK}:{ports.superlink}"
    hq = {"port": ports.hq, "superlink": superlink, "inference": [target]}
    _write(layout.hq, {**common, "hq": hq})
    serving = {**shared.get("serving", {}), "port": ports.inference}
    _write(layout.inference, {**common, "serving": serving})
    stores = list(stores)
    # Stores train at the same time; more threads than cores would only wait for each other.
    threads = max(1, (os.cpu_count() or 1) // max(1, len(stores)))
    mine = {**shared.get("performance", {}), "threads": threads}
    for store in stores:
        own = {
            "id": store.store_id,
            "name": store.name,
            "lang": store.lang,
            "port": 0,
            "inference": target,
        }
        _write(layout.store(store.store_id), {**common, "performance": mine, "store": own})


def write_keys(layout: Layout, stores: Iterable[StoreData], hq_key: str) -> None:
    """Issue certificates for mutual TLS from HQ's authority and tell the service whom to trust."""
    authority = load_or_make_authority(layout.hq / "pki")
    issue(authority, layout.hq / "pki", "hq")
    issue(authority, layout.inference, "server")
    certificate = authority.path.read_bytes()
    (layout.inference / "ca.crt").write_bytes(certificate)
    (layout.inference / "hq.json").write_text(json.dumps({"hq_key": hq_key}), "utf-8")
    for store in stores:
        home = layout.store(store.store_id)
        issue(authority, home, "client")
        (home / "ca.crt").write_bytes(certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question for a store, from the gate set: public or synthetic."""

    store_id: str
    lang: str
    text: str
    expected: str


def choose_questions(data: Path, stores: Iterable[StoreData], each: int = 3) -> list[Question]:
    """Return ``each`` questions a store in its language, spread over the gate set."""
    opening: dict[str, list[tuple[str, str]]] = {}
    for row in read_rows(data / HQ_DATA / GATE_FILES[0], ConversationRow):
        turns = [m for m in row.messages if m.role in {"user", "assistant"}]
        if len(turns) > 1 and turns[0].role == "user" and turns[1].role == "assistant":
            opening.setdefault(row.lang, []).append((turns[0].content, turns[1].content))
    for intent in read_rows(data / HQ_DATA / GATE_FILES[1], IntentRow):
        if intent.lang not in opening or len(opening[intent.lang]) < each:
            opening.setdefault(intent.lang, []).append((intent.text, ""))
    out: list[Question] = []
    for store in stores:
        rows = opening.get(store.lang, [])
        step = max(1, len(rows) // each)
        out += [
            Question(store_id=store.store_id, lang=store.lang, text=text, expected=expected)
            for text, expected in rows[::step][:each]
        ]
    return out


def _write(home: Path, value: Mapping[str, Any]) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = home / "storeweave.toml.new"
    fresh.write_text(tomli_w.dumps(dict(value)), "utf-8")
    fresh.replace(home / "storeweave.toml")
