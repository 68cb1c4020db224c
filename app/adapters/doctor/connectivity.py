"""Checks of the path to the provider that need no key: DNS, TLS, and the difference between the clocks."""

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
# With more, the days of budgets, the expiry of keys and the provider's bill no longer agree.
MAX_SKEW_SECONDS = 30
LOCAL = ("localhost", "127.0.0.1", "::1")


async def name(upstream: Upstream) -> Finding:
    """Checks that the host name has an address."""
    url = urlsplit(upstream.base_url)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            results = await asyncio.get_running_loop().getaddrinfo(url.hostname, _port(url))
    except (OSError, TimeoutError) as error:
        return Finding("dns", f"{url.hostname}: {_reason(error)}", "check base_url, and the resolver of this machine")
    addresses = dict.fromkeys(str(address[0]) for *_, address in results)
    return Finding("dns", f"{url.hostname}: {', '.join(addresses)}")


async def tls(upstream: Upstream) -> Finding:
    """Checks that the host has a certificate for its name that the gateway trusts."""
    base_url, url = upstream.base_url, urlsplit(upstream.base_url)
    if url.scheme == "http":
        advice = None if url.hostname in LOCAL else "the key crosses the network unencrypted: use https"
        return Finding("tls", f"{base_url}: not used", advice)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            days, version = await _handshake(url, client_tls_context(upstream))
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "tls",
            f"{url.hostname}: {error.verify_message}",
            "if you run a TLS proxy in between, trust its authority with ca_file; otherwise do not trust this host",
        )
    except (OSError, TimeoutError) as error:
        return Finding(
            "tls",
            f"{url.hostname}:{_port(url)}: {_reason(error)}",
            "check that no firewall or proxy keeps this machine from that host and port",
        )
    return Finding("tls", f"{url.hostname}: {version}, certificate valid for {days} more days")


async def clock(upstream: Upstream) -> Finding:
    """Compares this machine's time with the provider's Date header, which has whole seconds."""
    try:
        provider_time = await _provider_time(upstream.base_url, client_tls_context(upstream))
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        return Finding("clock", f"the provider does not respond: {_reason(error)}", "see dns and tls above")
    if provider_time is None:
        return Finding("clock", "the provider sends no Date header to compare with")
    skew = time.time() - provider_time
    if abs(skew) > MAX_SKEW_SECONDS:
        direction = "ahead of" if skew > 0 else "behind"
        return Finding("clock", f"{abs(skew):.0f} s {direction} the provider's", "synchronise it with NTP")
    return Finding("clock", f"within {max(1, round(abs(skew)))} s of the provider's")


async def _handshake(url: SplitResult, context: ssl.SSLContext) -> tuple[int, str]:
    """Returns the days until the certificate expires, and the TLS version."""
    _, writer = await asyncio.open_connection(url.hostname, _port(url), ssl=context)
    try:
        tls_connection = writer.get_extra_info("ssl_object")
        expires_at = ssl.cert_time_to_seconds(tls_connection.getpeercert()["notAfter"])
        return int(expires_at - time.time()) // 86_400, tls_connection.version()
    finally:
        writer.transport.abort()


async def _provider_time(base_url: str, context: ssl.SSLContext) -> float | None:
    """Returns the Unix time in a response of any status; None if it has no valid Date header."""
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        httpx.AsyncClient(verify=context, trust_env=False, timeout=TIMEOUT_SECONDS) as client,
        client.stream("GET", base_url) as response,
    ):
        date = response.headers.get("Date")
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _port(url: SplitResult) -> int:
    return url.port or (80 if url.scheme == "http" else 443)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no response within {TIMEOUT_SECONDS} s"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return re.sub(r"^\[Errno -?\d+\] ", "", text)
