"""Tests of the TLS files that HQ issues."""

import json
from pathlib import Path

import pytest
from cryptography import x509

from deploy.cli import run
from shared.exit_codes import ExitCode


def issued(home: Path, out: Path, *hosts: str) -> int:
    names = [part for host in hosts for part in ("--host", host)]
    return run(["--home", str(home), "--json", "hq", "certificates", str(out), *names])


def test_a_folder_for_a_service_and_its_stores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tls"
    assert issued(tmp_path / "hq", out, "10.1.0.7", "models.example") == ExitCode.OK
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["files"] == ["ca.crt", "client.crt", "client.key", "server.crt", "server.key"]
    authority = x509.load_pem_x509_certificate((out / "ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((out / "server.crt").read_bytes())
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["models.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.1.0.7"]
    assert all((out / f"{name}.key").stat().st_mode & 0o077 == 0 for name in ("server", "client"))
    assert (tmp_path / "hq" / "pki" / "hq.crt").is_file()
    assert issued(tmp_path / "hq", out, "10.1.0.7") == ExitCode.BAD_INPUT
