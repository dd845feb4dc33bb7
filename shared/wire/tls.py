"""Files of a TLS endpoint, and gRPC credentials of them; both sides show a certificate."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from shared.errors import BadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of one endpoint: the authority that both sides trust, own certificate, own key."""

    ca: Path
    cert: Path
    key: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Return the bytes of ``ca``, ``cert`` and ``key``.

        Raises:
            BadConfig: one of the files cannot be read.
        """
        out = []
        for path in (self.ca, self.cert, self.key):
            try:
                out.append(path.read_bytes())
            except OSError as error:
                raise BadConfig(
                    f"the TLS file cannot be read: {error.strerror}",
                    where=str(path),
                    remedy="give the files of the authority, the certificate and its key",
                ) from None
        return out[0], out[1], out[2]


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials of a server that refuses a client without a certificate of ``ca``."""
    ca, cert, key = files.read()
    return grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Return credentials of a client that trusts ``ca`` alone and shows its certificate."""
    ca, cert, key = files.read()
    return grpc.ssl_channel_credentials(ca, key, cert)
