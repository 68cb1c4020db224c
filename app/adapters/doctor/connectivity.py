"""The provider as seen from here, without a key: its name, its certificate, its clock."""

import asyncio
import re
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import httpx

from app.adapters.doctor.finding import Finding
from app.adapters.upstream import client_tls_context
from app.config import Upstream

TIMEOUT_SECONDS = 10
# More than this, and budgets' days, keys' ends and the provider's bill no longer fit each other.
MOST_SKEW_SECONDS = 30
LOCAL = ("localhost", "127.0.0.1", "::1")


async def name(upstream: Upstream) -> Finding:
    """Whether the host has an address."""
    url = urlsplit(upstream.base_url)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(url.hostname, _port(url))
    except (OSError, TimeoutError) as error:
        return Finding("dns", f"{url.hostname}: {_words(error)}", "check base_url, and the resolver of this machine")
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return Finding("dns", f"{url.hostname}: {', '.join(addresses)}")


async def tls(upstream: Upstream) -> Finding:
    """Whether the host shows a certificate of its name that the gateway trusts."""
    base_url, url = upstream.base_url, urlsplit(upstream.base_url)
    if url.scheme == "http":
        told = f"{base_url}: not used"
        return Finding(
            "tls", told, None if url.hostname in LOCAL else "the key crosses the network as it is: use https"
        )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            days, version = await _handshake(url, client_tls_context(upstream))
    except ssl.SSLCertVerificationError as error:
        told = f"{url.hostname}: {error.verify_message}"
        return Finding(
            "tls", told, "if a proxy of yours stands between, trust its authority with ca_file; else trust nobody here"
        )
    except (OSError, TimeoutError) as error:
        told = f"{url.hostname}:{_port(url)}: {_words(error)}"
        return Finding(
            "tls", told, "let this machine reach that host and port: a firewall, or a proxy, may stand between"
        )
    return Finding("tls", f"{url.hostname}: {version}, a certificate for {days} days more")


async def clock(upstream: Upstream) -> Finding:
    """How far this machine's time is from the provider's; HTTP tells whole seconds."""
    try:
        told = await _date(upstream.base_url, client_tls_context(upstream))
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        return Finding("clock", f"the provider cannot be asked: {_words(error)}", "see dns and tls above")
    if told is None:
        return Finding("clock", "the provider tells no time to compare with")
    skew = time.time() - told
    if abs(skew) > MOST_SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        return Finding("clock", f"{abs(skew):.0f} s {way} the provider's", "set it by NTP")
    return Finding("clock", f"within {max(1, round(abs(skew)))} s of the provider's")


async def _handshake(url: SplitResult, trust: ssl.SSLContext) -> tuple[int, str]:
    """For how many days the certificate is good, and the version of TLS."""
    _, writer = await asyncio.open_connection(url.hostname, _port(url), ssl=trust)
    try:
        shown = writer.get_extra_info("ssl_object")
        ends = ssl.cert_time_to_seconds(shown.getpeercert()["notAfter"])
        return int(ends - time.time()) // 86_400, shown.version()
    finally:
        writer.transport.abort()


async def _date(base_url: str, trust: ssl.SSLContext) -> float | None:
    """The provider's time, of any answer at all."""
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        httpx.AsyncClient(verify=trust, trust_env=False, timeout=TIMEOUT_SECONDS) as client,
        client.stream("GET", base_url) as answer,
    ):
        date = answer.headers.get("Date")
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _port(url: SplitResult) -> int:
    return url.port or (80 if url.scheme == "http" else 443)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS} s"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return re.sub(r"^\[Errno -?\d+\] ", "", text)
