"""The registry of releases as a folder that HQ writes and inference services read."""

from pathlib import Path

from shared.errors import BadInput, Refused
from shared.ids import check_id
from shared.release_files import (
    MANIFEST,
    check_files,
    check_signature,
    copy_checked,
    parse_release,
)
from shared.releases import Release


class FolderRegistry:
    """``<folder>/<release_id>/``: the signed manifest and the files that it names by digest.

    A release appears as a whole or not at all, and once there it never changes.
    """

    def __init__(self, folder: Path, *, trusted_key: str) -> None:
        """Use ``folder``; only manifests signed by ``trusted_key`` (hex) enter or leave."""
        self._folder = folder
        self._trusted_key = trusted_key

    def put(self, release: Release, files: Path) -> Release:
        """Write the folder's files and the signed manifest; the same release again is harmless.

        Raises:
            NotVerified: the signature does not hold, or a file is not the one that was signed.
            Refused: another release has this id.
        """
        check_id(release.release_id, "release id")
        check_signature(release, self._trusted_key)
        target = self._folder / release.release_id
        if not target.exists():
            try:
                copy_checked(release, files, target)
            except OSError:
                # Another writer may have been first: then what counts is what it wrote.
                if not target.exists():
                    raise
        held = self.get(release.release_id)
        if held != release:
            raise Refused(
                "another release is registered under this id",
                where=release.release_id,
                remedy="build it again under an id of its own",
            )
        return held

    def get(self, release_id: str) -> Release:
        """Return a release, its signature verified.

        Raises:
            BadInput: there is none of this id.
            NotVerified: its manifest was changed.
        """
        check_id(release_id, "release id")
        path = self._folder / release_id / MANIFEST
        if not path.is_file():
            raise BadInput(
                f"there is no release {release_id!r}",
                where=str(self._folder),
                remedy="list the releases",
            )
        release = parse_release(path.read_bytes())
        check_signature(release, self._trusted_key)
        if release.release_id != release_id:
            raise BadInput(f"the manifest is that of {release.release_id!r}", where=str(path))
        return release

    def folder(self, release_id: str) -> Path:
        """Return the folder of the release's files, every digest verified.

        Raises:
            BadInput: there is none of this id.
            NotVerified: the manifest or a file was changed.
        """
        folder = self._folder / release_id
        check_files(self.get(release_id), folder)
        return folder

    def all(self) -> list[Release]:
        """Return all releases, newest first.

        Raises:
            NotVerified: a manifest was changed.
        """
        if not self._folder.is_dir():
            return []
        names = [path.parent.name for path in self._folder.glob(f"*/{MANIFEST}")]
        found = [self.get(name) for name in names if not name.startswith(".")]
        return sorted(
            found, key=lambda release: (release.created, release.release_id), reverse=True
        )

    @property
    def location(self) -> str:
        """The folder as a ``file:`` URL; an inference service must see the same folder."""
        return self._folder.resolve().as_uri()
