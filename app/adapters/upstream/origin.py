"""Scheme, host and port of the upstream, taken from its base_url (RFC 6454)."""

from typing import NamedTuple, Self
from urllib.parse import urlsplit

from app.config import InvalidConfig, Upstream

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """`host` is ASCII; an IPv6 address has no brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, settings: Upstream) -> Self:
        """Returns the origin of the base_url. Raises InvalidConfig if DNS cannot carry its host name (RFC 3490)."""
        try:
            url = urlsplit(settings.base_url)
            host = url.hostname or ""
            ascii_host = host if host.isascii() else host.encode("idna").decode()
            return cls(url.scheme, ascii_host, _DEFAULT_PORTS[url.scheme] if url.port is None else url.port)
        except UnicodeError as error:
            raise InvalidConfig(f"upstreams.{settings.name}: base_url: {error}") from None

    @property
    def authority(self) -> str:
        """The value of the Host header: it names the port unless it is the scheme's default (RFC 9110, 4.2.3, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"
