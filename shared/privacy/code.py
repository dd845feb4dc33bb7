"""The digest of the code that decides what is promised."""

from functools import cache
from pathlib import Path

from shared.hashing import digest_file, sha256_hex

_PARTS = ("shared", "strategies", "store_node/training", "store_node/samples")


@cache
def code_digest() -> str:
    """Return one digest of the installed Python files that train, add noise and account.

    The SHA-256 of the sorted ``path sha256`` lines of ``shared``, ``strategies`` and the store's
    ``training`` and ``samples``. Store and HQ install the same code, so both name the same digest.
    """
    root = Path(__file__).resolve().parents[2]
    files = sorted(file for part in _PARTS for file in (root / part).rglob("*.py"))
    lines = "".join(f"{file.relative_to(root).as_posix()} {digest_file(file)}\n" for file in files)
    return sha256_hex(lines.encode())
