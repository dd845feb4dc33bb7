"""Every implementation of port ``Registry`` keeps the same promises."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.adapters.registry import FolderRegistry
from coordinator.ports import Registry
from shared.errors import BadInput, NotVerified, Refused
from shared.keys import SigningKey
from tests.release_maker import make_release, sign

KEY = SigningKey.generate()
Make = Callable[[Path], Registry]


@pytest.fixture(params=["folder"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    makers: dict[str, Make] = {
        "folder": lambda path: FolderRegistry(path / "registry", trusted_key=KEY.public_hex)
    }
    return makers[request.param](tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return folder


def test_what_was_put_comes_back_and_again_is_harmless(registry: Registry, files: Path) -> None:
    assert registry.all() == []
    release = make_release(files, KEY, "rel-1")
    assert registry.put(release, files) == release
    assert registry.put(release, files) == release
    assert registry.get("rel-1") == release
    folder = registry.folder("rel-1")
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert registry.location


def test_a_release_never_changes(registry: Registry, files: Path) -> None:
    release = make_release(files, KEY, "rel-1")
    registry.put(release, files)
    with pytest.raises(Refused, match="another release"):
        registry.put(sign(replace(release, metrics={"better": 1}), KEY), files)
    (files / "config.json").write_text('{"other": 1}')
    with pytest.raises(Refused, match="another release"):
        registry.put(make_release(files, KEY, "rel-1"), files)
    assert registry.get("rel-1") == release


def test_newest_first(registry: Registry, files: Path) -> None:
    for number in (2, 3, 1):
        moment = f"2026-11-2{number}T00:00:00.000Z"
        registry.put(make_release(files, KEY, f"rel-{number}", created=moment), files)
    assert [release.release_id for release in registry.all()] == ["rel-3", "rel-2", "rel-1"]


def test_unknown_is_bad_input(registry: Registry) -> None:
    for name in ("rel-none", "../etc"):
        with pytest.raises(BadInput):
            registry.get(name)


def test_unsigned_foreign_and_mismatched_are_refused_and_leave_nothing(
    registry: Registry, files: Path
) -> None:
    release = make_release(files, KEY, "rel-1")
    for bad in (replace(release, signature=""), sign(release, SigningKey.generate())):
        with pytest.raises(NotVerified):
            registry.put(bad, files)
    (files / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(NotVerified, match=r"model\.safetensors"):
        registry.put(release, files)
    assert registry.all() == []


def test_tampering_shows(registry: Registry, files: Path) -> None:
    registry.put(make_release(files, KEY, "rel-1"), files)
    folder = registry.folder("rel-1")
    (folder / "model.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(NotVerified, match=r"model\.safetensors"):
        registry.folder("rel-1")
    manifest = folder / "release.json"
    manifest.write_text(manifest.read_text().replace('"tiny"', '"tidy"'))
    with pytest.raises(NotVerified, match="signature"):
        registry.get("rel-1")
