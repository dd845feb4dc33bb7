"""Certificates that TLS accepts, keys that only their owner reads."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from deploy.pki import CertificateFiles, issue, load_or_make_authority, load_or_make_node_keys
from shared.errors import BadConfig


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Let both sides shake hands over a socket pair; raise what the client finds wrong."""
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(left, server_side=True) as connection:
                connection.send(connection.recv(1))
        except (ssl.SSLError, OSError):
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as connection:
            connection.send(b"x")
            assert connection.recv(1) == b"x"
    finally:
        right.close()
        thread.join()


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def client_context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_server_is_trusted_at_its_names_only(tmp_path: Path) -> None:
    files = issue(load_or_make_authority(tmp_path), tmp_path, "server", ["localhost", "127.0.0.1"])
    for name in ("localhost", "127.0.0.1"):
        handshake(server_context(files), client_context(files), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_context(files), client_context(files), "elsewhere.example")


def test_server_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    ours = issue(load_or_make_authority(tmp_path / "a"), tmp_path / "a", "server")
    theirs = issue(load_or_make_authority(tmp_path / "b"), tmp_path / "b", "server")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_context(theirs), client_context(ours), "localhost")


def test_mutual_tls_with_client_certificates(tmp_path: Path) -> None:
    authority = load_or_make_authority(tmp_path)
    files = issue(authority, tmp_path, "server")
    mine = issue(authority, tmp_path, "store-berlin")
    server = server_context(files)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(files.authority)
    client = client_context(files)
    client.load_cert_chain(mine.certificate, mine.key)
    handshake(server, client, "localhost")


def test_keys_are_private_and_kept(tmp_path: Path) -> None:
    first = load_or_make_authority(tmp_path)
    assert load_or_make_authority(tmp_path).certificate == first.certificate
    line = load_or_make_node_keys(tmp_path).public_text
    assert load_or_make_node_keys(tmp_path).public_text == line
    assert line.startswith("ecdsa-sha2-nistp256 ")
    for name in ("ca.key", "node.key"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_half_an_authority_is_an_error(tmp_path: Path) -> None:
    load_or_make_authority(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(BadConfig, match="both"):
        load_or_make_authority(tmp_path)


def test_a_foreign_node_key_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_text("junk", "utf-8")
    with pytest.raises(BadConfig, match="OpenSSH"):
        load_or_make_node_keys(tmp_path)
