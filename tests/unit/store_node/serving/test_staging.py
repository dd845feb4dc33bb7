"""Tests of fetching and verifying releases."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import BadConfig, BadInput, NotVerified, Refused, Unavailable
from shared.keys import SigningKey
from shared.release_files import manifest_bytes
from shared.releases import Release
from store_node.serving.staging import SlotFolders
from tests.release_maker import make_release, sign
from tests.tiny_model import make_tiny_model

KEY = SigningKey.generate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "hq.json").write_text(json.dumps({"hq_key": KEY.public_hex, "federation": "f"}))
    return home


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    make_tiny_model(tmp_path / "registry" / "rel-1")
    return tmp_path / "registry"


@pytest.fixture
def release(registry: Path) -> Release:
    return make_release(registry / "rel-1", KEY, "rel-1")


def test_a_good_release_is_copied_and_remembered(
    home: Path, registry: Path, release: Release
) -> None:
    folders = SlotFolders(home)
    assert folders.remembered() is None
    fetched = folders.fetch(manifest_bytes(release), registry.as_uri())
    assert fetched.release == release
    assert {path.name for path in fetched.folder.iterdir()} == {*release.files, "release.json"}
    assert folders.fetch(manifest_bytes(release), str(registry)) == fetched
    folders.remember("rel-1")
    again = SlotFolders(home).remembered()
    assert again is not None
    assert again.release == release
    folders.remember("")
    assert SlotFolders(home).remembered() is None


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_is_refused_and_leaves_nothing(
    home: Path, registry: Path, release: Release, name: str
) -> None:
    path = registry / "rel-1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(NotVerified, match=name):
        SlotFolders(home).fetch(manifest_bytes(release), str(registry))
    assert not list((home / "slots").iterdir())


def test_a_missing_file_is_refused(home: Path, registry: Path, release: Release) -> None:
    (registry / "rel-1" / "model.safetensors").unlink()
    with pytest.raises(NotVerified, match="missing"):
        SlotFolders(home).fetch(manifest_bytes(release), str(registry))


def test_only_what_the_trusted_signer_signed_is_taken(
    home: Path, registry: Path, release: Release
) -> None:
    folders = SlotFolders(home)
    bad = {
        "not signed": replace(release, signature="", signer=""),
        "not trusted": sign(release, SigningKey.generate()),
        "does not hold": replace(release, metrics={"quality": 1}),
        "signature does not": replace(release, signature="zz"),
    }
    for message, one in bad.items():
        with pytest.raises(NotVerified, match=message):
            folders.fetch(manifest_bytes(one), str(registry))
    (home / "hq.json").unlink()
    with pytest.raises(BadConfig, match="trusted"):
        folders.fetch(manifest_bytes(release), str(registry))


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "sub/model.json", ".hidden.json", "model.bin", "release.json"]
)
def test_files_that_could_hurt_are_refused(
    home: Path, registry: Path, release: Release, name: str
) -> None:
    odd = sign(replace(release, files={**release.files, name: "0" * 64}), KEY)
    with pytest.raises(NotVerified, match="may not be"):
        SlotFolders(home).fetch(manifest_bytes(odd), str(registry))


def test_a_release_without_passed_gates_is_refused(
    home: Path, registry: Path, release: Release
) -> None:
    for gates in ({}, {"passed": False}, {"passed": "yes"}):
        with pytest.raises(Refused, match="gates"):
            SlotFolders(home).fetch(
                manifest_bytes(sign(replace(release, gates=gates), KEY)), str(registry)
            )


def test_bad_addresses_and_manifests_are_named(
    home: Path, registry: Path, release: Release
) -> None:
    folders = SlotFolders(home)
    with pytest.raises(BadInput, match="manifest"):
        folders.fetch(b"{}", str(registry))
    with pytest.raises(BadInput, match="not a folder"):
        folders.fetch(manifest_bytes(release), "s3://bucket/x")
    with pytest.raises(Unavailable, match="registry"):
        folders.fetch(manifest_bytes(release), str(registry / "elsewhere"))


def test_a_kept_copy_that_was_changed_is_fetched_again_and_refused_at_start(
    home: Path, registry: Path, release: Release
) -> None:
    folders = SlotFolders(home)
    fetched = folders.fetch(manifest_bytes(release), str(registry))
    folders.remember("rel-1")
    with (fetched.folder / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(NotVerified, match=r"model\.safetensors"):
        SlotFolders(home).remembered()
    assert folders.fetch(manifest_bytes(release), str(registry)).folder == fetched.folder
    assert SlotFolders(home).remembered() is not None
    shutil.rmtree(registry)
