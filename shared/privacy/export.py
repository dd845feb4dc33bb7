"""The exported form of a ledger: one JSON-lines file that a stranger can verify.

First line: ``{"format", "owner", "keys", "length"}``, with the public key of the owner and of every
counterpart whose head was noted. Then the entries, one canonical line each. Last line:
``{"head": {"owner", "length", "hash", "key", "signature"}}``.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from shared.errors import BadInput
from shared.hashing import canonical_json
from shared.privacy.entries import FORMAT, SignedHead


def write_export(
    out: Path, *, head: SignedHead, keys: Mapping[str, str], lines: Iterable[bytes]
) -> None:
    """Write the file beside its place, then put it there, so that no half file is ever seen.

    Raises:
        BadInput: the place cannot be written.
    """
    first = {"format": FORMAT, "owner": head.owner, "keys": dict(keys), "length": head.length}
    last = {
        "head": {
            "owner": head.owner,
            "length": head.length,
            "hash": head.hash,
            "key": head.key,
            "signature": head.signature.hex(),
        }
    }
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(canonical_json(first) + b"\n")
            for line in lines:
                stream.write(line + b"\n")
            stream.write(canonical_json(last) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BadInput(
            f"cannot be written: {error.strerror}", where=str(out), remedy="choose another place"
        ) from None
