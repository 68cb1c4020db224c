"""The certificate of the server, which a reload renews without a connection lost."""

import ssl
from pathlib import Path

from app.config import InvalidConfig, TlsSettings


class ServerCertificate:
    """What new connections are shown. `context` stays one and the same: the server has it from its start."""

    def __init__(self, first: ssl.SSLContext) -> None:
        self._current = first
        self.context = first
        # Called for every connection, with None for a caller who names no host.
        self.context.sni_callback = self._hand_over

    def renew(self, fresh: ssl.SSLContext) -> None:
        """Show this from the next connection on; those that are open keep what they have."""
        self._current = fresh

    def _hand_over(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def read(settings: TlsSettings) -> ssl.SSLContext | None:
    """Certificate and key of the settings as a whole; None without TLS. InvalidConfig if they cannot be used."""
    if settings.certificate_file is None or settings.key_file is None:
        return None
    _must_be_readable("tls.certificate_file", settings.certificate_file)
    _must_be_readable("tls.key_file", settings.key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An empty password: OpenSSL would otherwise ask for one on the terminal.
        context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        files = f"{settings.certificate_file} and {settings.key_file}"
        raise InvalidConfig(f"tls: {files} are no certificate and its key: {error}") from None
    return context


def _must_be_readable(setting: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise InvalidConfig(f"{setting}: {file} cannot be read: {error.strerror}") from None
