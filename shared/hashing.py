"""Digests and canonical JSON."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return RFC 8785 canonical JSON (UTF-8).

    Raises:
        rfc8785.CanonicalizationError: a value JSON cannot carry, such as NaN or an integer beyond
        2**53.
    """
    return bytes(rfc8785.dumps(value))


def digest_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the SHA-256 of the canonical JSON of ``value``."""
    return sha256_hex(canonical_json(value))


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(
    path: Path, names: tuple[str, ...] = ("*.safetensors", "*.json", "*.model")
) -> str:
    """Return one digest of a model folder: the SHA-256 of its sorted ``name sha256`` lines."""
    files = sorted({file for name in names for file in path.glob(name) if file.is_file()})
    lines = "".join(f"{file.name} {digest_file(file)}\n" for file in files)
    return sha256_hex(lines.encode())


def digest_arrays(arrays: Mapping[str, NDArray[np.float32]]) -> str:
    """Return one digest of named arrays.

    It covers name, dtype, shape and little-endian bytes of each, in order of name.
    """
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        state.update(f"{name}|{array.dtype.name}|{','.join(map(str, array.shape))}|".encode())
        state.update(little.tobytes())
    return state.hexdigest()


def remembered_digest(folder: Path, memory: Path) -> str:
    """Return :func:`digest_folder`, from ``memory`` while names, sizes and times of files stand.

    Args:
        folder: a model folder.
        memory: a JSON file that remembers; written anew when the folder changed.
    """
    stats = {f.name: f.stat() for f in sorted(folder.iterdir()) if f.is_file()}
    facts = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    seen = {"folder": str(folder), "facts": facts}
    if memory.is_file():
        known = json.loads(memory.read_text("utf-8"))
        if known.get("seen") == seen:
            return str(known["digest"])
    digest = digest_folder(folder)
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_name(f".{memory.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"seen": seen, "digest": digest}), "utf-8")
    fresh.replace(memory)
    return digest
