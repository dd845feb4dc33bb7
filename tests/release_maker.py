"""Makes signed releases of tiny models for tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.hashing import digest_file, digest_folder
from shared.keys import SigningKey
from shared.releases import Release


def sign(release: Release, key: SigningKey) -> Release:
    """Return the release signed by ``key``."""
    named = replace(release, signer=key.public_hex, signature="")
    return replace(named, signature=key.sign(named.signed_bytes()).hex())


def make_release(folder: Path, key: SigningKey, release_id: str, **other: Any) -> Release:  # noqa: ANN401
    """Return a signed release of the files in ``folder`` whose gates passed."""
    fields: dict[str, Any] = {
        "release_id": release_id,
        "created": "2026-11-23T10:00:00.000Z",
        "base": "tiny",
        "base_digest": digest_folder(folder),
        "parent": "",
        "run_id": "run-1",
        "round_id": "run-1.r1",
        "ledger_head": "0" * 64,
        "ledger_entries": ("1" * 64,),
        "data_scope": ("s1:all",),
        "adapter_digest": "2" * 64,
        "files": {path.name: digest_file(path) for path in sorted(folder.iterdir())},
        "metrics": {},
        "gates": {"passed": True},
        "epsilon": {},
    }
    return sign(Release(**{**fields, **other}), key)
