"""The server's certificate. A reload replaces it and keeps open connections."""

import ssl
from pathlib import Path

from app.config import InvalidConfig, TlsSettings


class ServerCertificate:
    """The certificate for new connections. `context` never changes: the server gets it once, at its start."""

    def __init__(self, first: ssl.SSLContext) -> None:
        self._current = first
        self.context = first
        # OpenSSL calls it for every connection, with None for a client that sends no server name.
        self.context.sni_callback = self._set_current

    def renew(self, new: ssl.SSLContext) -> None:
        """Uses this certificate from the next connection on. Open connections keep theirs."""
        self._current = new

    def _set_current(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self._current


def read(settings: TlsSettings) -> ssl.SSLContext | None:
    """Returns a context with the settings' certificate and key; None without TLS. Raises InvalidConfig."""
    if settings.certificate_file is None or settings.key_file is None:
        return None
    _require_readable("tls.certificate_file", settings.certificate_file)
    _require_readable("tls.key_file", settings.key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without the empty password OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        files = f"{settings.certificate_file} and {settings.key_file}"
        raise InvalidConfig(f"tls: {files} are not a certificate and its key: {error}") from None
    return context


def _require_readable(setting: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise InvalidConfig(f"{setting}: {file} cannot be read: {error.strerror}") from None
