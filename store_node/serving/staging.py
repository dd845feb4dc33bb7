"""Releases on the disk of an inference service: fetched, verified, remembered over a restart."""

import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.errors import BadConfig, BadInput, NotVerified, Refused, Unavailable
from shared.release_files import MANIFEST, check_files, check_signature, copy_checked, parse_release
from shared.releases import Release

_STATE = "state.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A verified release and the local folder of its files."""

    release: Release
    folder: Path


class SlotFolders:
    """``slots/`` in the home of an inference service: one folder a release, and which is stable."""

    def __init__(self, home: Path) -> None:
        """Use ``home/slots``; the trusted signer is ``hq_key`` in ``home/hq.json``."""
        self._home = home
        self._slots = home / "slots"

    def trusted_key(self) -> str:
        """Return the public key that releases must be signed with.

        Raises:
            BadConfig: there is no ``hq.json``, or it names none.
        """
        path = self._home / "hq.json"
        try:
            key = json.loads(path.read_bytes())["hq_key"]
        except (OSError, ValueError, KeyError, TypeError):
            key = None
        if not isinstance(key, str):
            raise BadConfig(
                "no trusted release signer", where=str(path), remedy="join the federation first"
            )
        return key

    def fetch(self, manifest: bytes, registry: str) -> Fetched:
        """Verify a manifest, copy its files from the registry, verify every byte.

        Raises:
            BadInput: not a manifest, or the registry's form is unknown.
            BadConfig: no trusted signer is known here.
            NotVerified: signature or digest does not hold; nothing is kept.
            Refused: the release did not pass its gates.
            Unavailable: the registry cannot be reached.
        """
        release = parse_release(manifest)
        check_signature(release, self.trusted_key())
        if release.gates.get("passed") is not True:
            raise Refused("the release did not pass its gates", where=release.release_id)
        target = self._slots / release.release_id
        if target.exists():
            # Left from an earlier try; what does not verify is fetched again.
            with suppress(NotVerified, BadInput):
                kept = self._read(release.release_id)
                if kept is not None and kept.release == release:
                    return kept
            shutil.rmtree(target)
        source = registry_folder(registry) / release.release_id
        if not source.is_dir():
            raise Unavailable(
                "the registry does not hold the release, or cannot be reached from here",
                where=registry,
                remedy="mount HQ's registry folder on the inference machine",
            )
        return Fetched(release=release, folder=copy_checked(release, source, target))

    def remember(self, release_id: str) -> None:
        """Note which release is stable; empty: the base model. Durable."""
        self._slots.mkdir(parents=True, exist_ok=True)
        fresh = self._slots / f".{_STATE}.{secrets.token_hex(6)}"
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump({"stable": release_id}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._slots / _STATE)

    def remembered(self) -> Fetched | None:
        """Return the release that was stable when the service stopped, verified again.

        Raises:
            NotVerified: its files are no longer the signed ones.
        """
        try:
            stable = json.loads((self._slots / _STATE).read_bytes())["stable"]
        except FileNotFoundError:
            return None
        return self._read(stable) if stable else None

    def drop(self, release_id: str) -> None:
        """Remove a release's files, if they are there."""
        shutil.rmtree(self._slots / release_id, ignore_errors=True)

    def _read(self, release_id: str) -> Fetched | None:
        folder = self._slots / release_id
        if not (folder / MANIFEST).is_file():
            return None
        release = parse_release((folder / MANIFEST).read_bytes())
        check_signature(release, self.trusted_key())
        check_files(release, folder)
        return Fetched(release=release, folder=folder)


def registry_folder(registry: str) -> Path:
    """Return the local folder that ``registry`` names: a path or a ``file:`` URL.

    Raises:
        BadInput: another kind of address.
    """
    parts = urlsplit(registry)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme or not registry:
        raise BadInput(
            f"registry {registry!r} is not a folder",
            remedy="give an absolute path or a file: URL",
        )
    return Path(registry)
