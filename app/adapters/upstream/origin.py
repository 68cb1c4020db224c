"""Where the provider is, out of its base_url: scheme, host and port (RFC 6454)."""

from typing import NamedTuple, Self
from urllib.parse import urlsplit

from app.config import InvalidConfig, Upstream

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """The host in ASCII, an IPv6 address without its brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, settings: Upstream) -> Self:
        """InvalidConfig if the base_url names a host that DNS cannot carry (RFC 3490)."""
        try:
            url = urlsplit(settings.base_url)
            host = url.hostname or ""
            ascii_host = host if host.isascii() else host.encode("idna").decode()
            return cls(url.scheme, ascii_host, _PORTS[url.scheme] if url.port is None else url.port)
        except UnicodeError as error:
            raise InvalidConfig(f"upstreams.{settings.name}: base_url: {error}") from None

    @property
    def authority(self) -> str:
        """As the Host header names it: the port only where it is not the scheme's own (RFC 9110, 4.2.3 and 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"
