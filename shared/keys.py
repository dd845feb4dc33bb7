"""Ed25519 keys: made, kept in a file that only its owner can read, used to sign and to verify."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from shared.errors import BadConfig


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private Ed25519 key; its ``repr`` shows the public half only."""

    private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's secure source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the PEM file, or make it with mode 0600 where there is none.

        Raises:
            BadConfig: the file is not an Ed25519 private key, or others may read it.
        """
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            key = cls.generate()
            pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(pem)
                stream.flush()
                os.fsync(stream.fileno())
            return key
        if path.stat().st_mode & 0o077:
            raise BadConfig(
                "the private key can be read by others",
                where=str(path),
                remedy="chmod 600 the file",
            )
        try:
            private = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise BadConfig(
                "not an Ed25519 private key in PEM", where=str(path), remedy="restore it"
            )
        return cls(private)

    @property
    def public_hex(self) -> str:
        """The public key, 64 hexadecimal digits."""
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of ``data``."""
        return self.private.sign(data)

    def __repr__(self) -> str:
        """Name the public key only."""
        return f"SigningKey(public={self.public_hex[:12]}…)"


def secret_bytes(path: Path, length: int = 32) -> bytes:
    """Read a file of random bytes, or make it with mode 0600 where there is none.

    Raises:
        BadConfig: the file has another length, or others may read it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return secret_bytes(path, length)
        with os.fdopen(handle, "wb") as stream:
            stream.write(os.urandom(length))
            stream.flush()
            os.fsync(stream.fileno())
    if path.stat().st_mode & 0o077:
        raise BadConfig(
            "the secret can be read by others", where=str(path), remedy="chmod 600 the file"
        )
    found = path.read_bytes()
    if len(found) != length:
        raise BadConfig(
            f"the secret has {len(found)} bytes, not {length}", where=str(path), remedy="restore it"
        )
    return found


def verify(public_hex: str, data: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` is that of ``data`` under the key.

    A malformed key verifies nothing.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
