"""The files of a release on disk: which may be there, and proof that they are the signed ones.

A registry folder holds ``<release_id>/release.json`` (the signed manifest, canonical JSON) beside
the files that it names. Headquarters and stores check with the same functions, and a store checks
again whatever headquarters says.
"""

import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path

from shared.errors import BadInput, NotVerified
from shared.hashing import digest_file
from shared.ids import check_id
from shared.keys import verify
from shared.releases import Release

MANIFEST = "release.json"
ALLOWED_SUFFIXES = frozenset({".safetensors", ".json", ".model", ".txt", ".jinja"})
"""Weights in safetensors and plain text; nothing that runs when it is loaded."""
_PIECE = 1 << 20


def parse_release(manifest: bytes) -> Release:
    """Return the release of a manifest.

    Raises:
        BadInput: not JSON, a field is missing or unknown, or the id has not the form of one.
    """
    try:
        release = Release.from_dict(json.loads(manifest))
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"not the manifest of a release ({type(error).__name__})",
            remedy="push a release that this version of StoreWeave built",
        ) from None
    check_id(release.release_id, "release id")
    return release


def check_signature(release: Release, trusted_key: str) -> None:
    """Raise unless the manifest is signed by ``trusted_key`` (Ed25519 public key, hex).

    Raises:
        NotVerified: no signature, another signer, or the signature does not hold.
    """
    where = release.release_id
    if not release.signature:
        raise NotVerified("the manifest is not signed", where=where, remedy="build it at HQ")
    if release.signer != trusted_key:
        raise NotVerified(
            "the manifest is signed by a key that is not trusted here",
            where=where,
            remedy="join the federation whose headquarters built it",
        )
    try:
        signature = bytes.fromhex(release.signature)
    except ValueError:
        signature = b""
    if not verify(trusted_key, release.signed_bytes(), signature):
        raise NotVerified(
            "the manifest's signature does not hold", where=where, remedy="fetch it again from HQ"
        )


def check_names(release: Release) -> None:
    """Raise unless every file is a plain name of an allowed kind and there are weights.

    Raises:
        NotVerified: a path, a hidden file, a kind that could run code, or no safetensors.
    """
    for name in release.files:
        plain = Path(name).name == name and not name.startswith(".") and name != MANIFEST
        if not plain or Path(name).suffix not in ALLOWED_SUFFIXES:
            raise NotVerified(
                f"the file {name!r} may not be in a release",
                where=release.release_id,
                remedy=f"allowed: {', '.join(sorted(ALLOWED_SUFFIXES))}, no folders",
            )
    if not any(name.endswith(".safetensors") for name in release.files):
        raise NotVerified("the release has no weights", where=release.release_id)


def check_files(release: Release, folder: Path) -> None:
    """Raise unless ``folder`` holds every file of the manifest with its digest.

    Raises:
        NotVerified: a file is missing or another one; names it.
    """
    check_names(release)
    for name, wanted in release.files.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise NotVerified(f"the file {name!r} is missing", where=release.release_id)
        if digest_file(path) != wanted:
            raise _changed(name, release)


def copy_checked(release: Release, source: Path, target: Path) -> Path:
    """Copy the release's files into a new folder ``target`` and return it; all of it or nothing.

    The digest is taken of the bytes that are written, so nothing can change between check and
    use. The manifest is written beside them.

    Raises:
        NotVerified: a file is missing or another one; nothing is left behind.
    """
    check_names(release)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    fresh.mkdir()
    try:
        for name, wanted in release.files.items():
            if _copy(source / name, fresh / name, release) != wanted:
                raise _changed(name, release)
        write_manifest(release, fresh)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target


def write_manifest(release: Release, folder: Path) -> None:
    """Write the manifest into ``folder``, durably."""
    with (folder / MANIFEST).open("wb") as stream:
        stream.write(manifest_bytes(release))
        stream.flush()
        os.fsync(stream.fileno())


def manifest_bytes(release: Release) -> bytes:
    """Return the manifest as it is stored and sent."""
    text = json.dumps(release.as_dict(), ensure_ascii=False, sort_keys=True, indent=1)
    return text.encode() + b"\n"


def _copy(source: Path, target: Path, release: Release) -> str:
    """Copy a file durably; return the SHA-256 of what was written."""
    state = hashlib.sha256()
    try:
        with source.open("rb") as stream, target.open("xb") as out:
            while piece := stream.read(_PIECE):
                state.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
    except FileNotFoundError:
        raise NotVerified(
            f"the file {source.name!r} is missing",
            where=release.release_id,
            remedy="check that the registry can be reached from here",
        ) from None
    return state.hexdigest()


def _changed(name: str, release: Release) -> NotVerified:
    return NotVerified(
        f"the file {name!r} is not the one that was signed",
        where=release.release_id,
        remedy="fetch it again from HQ; if it stays so, somebody changed the registry",
    )
