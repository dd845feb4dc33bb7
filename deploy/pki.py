"""A certificate authority on the spot: TLS certificates and Flower node keys, EC P-256.

For one machine, a trial or a chain without its own authority; who has one uses its files instead.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import BadConfig

LOOPBACK = ("localhost", "127.0.0.1")
_AUTHORITY_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=397)
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority that signs for one installation."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    path: Path
    """The authority's certificate in PEM, to hand to those who verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Paths of a certificate, its private key (mode 0600), and the authority to trust."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """A Flower node's key pair in OpenSSH form."""

    private: Path
    public: Path

    @property
    def public_text(self) -> str:
        """The public key as one line, as HQ enrols it."""
        return self.public.read_text("ascii").strip()


def load_or_make_authority(folder: Path) -> Authority:
    """Return the authority kept in ``folder`` (``ca.crt``, ``ca.key``), made where there is none.

    Raises:
        BadConfig: one of the two files is missing or not what it should be.
    """
    path, key_path = folder / "ca.crt", folder / "ca.key"
    if path.exists() != key_path.exists():
        raise BadConfig(
            "ca.crt and ca.key must both be there, or neither",
            where=str(folder),
            remedy="restore the missing file, or remove both and enrol the stores again",
        )
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(key_path, _pem(key))
        path.write_bytes(_self_signed(key).public_bytes(Encoding.PEM))
    loaded = load_pem_private_key(key_path.read_bytes(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise BadConfig("not an EC private key", where=str(key_path), remedy="restore the file")
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return Authority(certificate=certificate, key=loaded, path=path)


def issue(
    authority: Authority, folder: Path, name: str, hosts: Sequence[str] = LOOPBACK
) -> CertificateFiles:
    """Write ``<name>.crt`` and ``<name>.key`` for a server at ``hosts`` or a client ``name``.

    Both uses are allowed by the certificate, so one serves for mutual TLS. An existing certificate
    is replaced: a restart renews it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, authority.certificate.subject, key, _LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(_authority_id(authority.key), critical=False)
    )
    certificate = builder.sign(authority.key, SHA256())
    files = CertificateFiles(
        certificate=folder / f"{name}.crt", key=folder / f"{name}.key", authority=authority.path
    )
    _write_private(files.key, _pem(key))
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    return files


def load_or_make_node_keys(folder: Path) -> NodeKeys:
    """Return the Flower node's keys in ``folder``, made where there are none.

    Raises:
        BadConfig: ``node.key`` is not an EC private key in OpenSSH form.
    """
    keys = NodeKeys(private=folder / "node.key", public=folder / "node.pub")
    if not keys.private.exists():
        fresh = ec.generate_private_key(ec.SECP256R1())
        pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        _write_private(keys.private, pem)
    try:
        private = load_ssh_private_key(keys.private.read_bytes(), password=None)
    except ValueError:
        private = None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise BadConfig(
            "not an EC private key in OpenSSH form", where=str(keys.private), remedy="restore it"
        )
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    keys.public.write_bytes(line + b"\n")
    return keys


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = "StoreWeave local authority"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(name, subject, key, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )
    return builder.sign(key, SHA256())


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_id(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
