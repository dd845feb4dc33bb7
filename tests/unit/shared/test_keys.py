"""Keys are private on disk, stay the same, and verify what they signed and nothing else."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadConfig
from shared.keys import SigningKey, secret_bytes, verify

KEY = SigningKey.generate()


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_holds_for_its_data_only(data: bytes, other: bytes) -> None:
    signature = KEY.sign(data)
    assert verify(KEY.public_hex, data, signature)
    assert verify(KEY.public_hex, other, signature) is (data == other)


@given(st.integers(0, 511))
def test_a_flipped_bit_breaks_it(bit: int) -> None:
    signature = bytearray(KEY.sign(b"round 1"))
    signature[bit // 8] ^= 1 << (bit % 8)
    assert not verify(KEY.public_hex, b"round 1", bytes(signature))


@pytest.mark.parametrize("public", ["", "zz" * 32, "ab" * 31, "00" * 32, "ff" * 32])
def test_a_malformed_key_verifies_nothing(public: str) -> None:
    assert not verify(public, b"data", KEY.sign(b"data"))


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ledger.key"
    made = SigningKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load_or_create(path).public_hex == made.public_hex


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    SigningKey.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(BadConfig, match="read by others"):
        SigningKey.load_or_create(path)


@pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_key_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadConfig, match="not an Ed25519 private key"):
        SigningKey.load_or_create(path)


def test_a_key_never_shows_itself() -> None:
    raw = KEY.private.private_bytes_raw().hex()
    assert raw not in repr(KEY)
    assert KEY.public_hex[:12] in repr(KEY)


def test_secret_bytes_are_made_once_and_guarded(tmp_path: Path) -> None:
    path = tmp_path / "customers.key"
    made = secret_bytes(path)
    assert len(made) == 32
    assert secret_bytes(path) == made
    with pytest.raises(BadConfig, match="not 16"):
        secret_bytes(path, 16)
    os.chmod(path, 0o644)
    with pytest.raises(BadConfig, match="read by others"):
        secret_bytes(path)
