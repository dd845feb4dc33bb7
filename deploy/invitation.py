"""How a store and headquarters come to know each other: an invitation one way, an enrolment back.

Both are small JSON files that people carry by a way they trust. The invitation holds HQ's public
key and certificate authority; the enrolment holds the store's public keys and what it declares.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from deploy.federation import CONNECTION
from deploy.pki import load_or_make_authority, load_or_make_node_keys
from shared.config import Settings
from shared.errors import BadConfig, BadInput, Refused
from shared.formats import Row, parse_row
from shared.keys import SigningKey

FEDERATION = "storeweave"


class Invitation(Row):
    """What HQ tells a store."""

    federation: Annotated[str, Field(min_length=1, max_length=200)]
    hq_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """HQ's Ed25519 public key, hex: signs plans, orders and releases."""
    superlink: Annotated[str, Field(pattern=r"^\S+:\d+$")]
    authority: Annotated[str, Field(pattern=r"^-----BEGIN CERTIFICATE-----")]
    """Certificate, PEM, of the authority that HQ's servers are known by."""


def invite(home: Path, settings: Settings) -> Invitation:
    """Return HQ's invitation; its key and authority are made where there are none yet.

    Raises:
        BadConfig: nobody has said where the SuperLink listens.
    """
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    authority = load_or_make_authority(home / "pki")
    return Invitation(
        federation=FEDERATION,
        hq_key=key.public_hex,
        superlink=_superlink(home, settings),
        authority=authority.path.read_text("ascii"),
    )


def _superlink(home: Path, settings: Settings) -> str:
    if settings.hq.superlink:
        return settings.hq.superlink
    path = home / "flower" / "config.toml"
    if path.is_file():
        return str(tomllib.loads(path.read_text("utf-8"))["superlink"][CONNECTION]["address"])
    raise BadConfig(
        "the SuperLink has no address yet",
        where="[hq] superlink",
        remedy="set it to host:port as stores reach it, or start `storeweave hq serve` first",
    )


def join(
    home: Path, settings: Settings, file: Path, *, customers: int, cohort: str
) -> dict[str, Any]:
    """Make the store a member of the federation that ``file`` invites to; return its enrolment.

    Joining again with the same HQ is harmless, and changes what the store declares.

    Args:
        home: the store's home.
        settings: the store's; ``[store] id`` is needed.
        file: the invitation.
        customers: number of customers that the store declares publicly.
        cohort: name of the set of people in the store's data; stores that share customers share it.

    Raises:
        BadInput: the invitation cannot be read or is not one.
        BadConfig: the store has no id.
        Refused: the store is a member with another HQ.
    """
    store = settings.store
    if not store.id:
        raise BadConfig(
            "the store has no id", where=str(home), remedy="run `storeweave store init --id ID`"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot be read ({type(error).__name__})", where=str(file), remedy="check the path"
        ) from None
    found = parse_row(text, Invitation, where=str(file))
    path = home / "hq.json"
    if path.is_file() and json.loads(path.read_text("utf-8")).get("hq_key") != found.hq_key:
        raise Refused(
            "the store is a member with another HQ",
            where=str(path),
            remedy="two HQs would spend one budget; remove the file only if the other one is gone",
        )
    key = SigningKey.load_or_create(home / "keys" / "ledger.key")
    nodes = load_or_make_node_keys(home / "keys")
    (home / "ca.crt").write_text(found.authority, "ascii")
    member = {
        "hq_key": found.hq_key,
        "federation": found.federation,
        "cohort": cohort,
        "superlink": found.superlink,
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(member, indent=2) + "\n", "utf-8")
    fresh.replace(path)
    return {
        "store_id": store.id,
        "name": store.name or store.id,
        "lang": store.lang,
        "cohort": cohort,
        "ledger_key": key.public_hex,
        "node_key": nodes.public_text,
        "public_customers": customers,
    }
