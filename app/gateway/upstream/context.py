"""What all attempts at one upstream have in common."""

import asyncio
from dataclasses import dataclass, field

from app.config import TimeoutSettings
from app.gateway.ports import Spools, UpstreamClient
from app.policy.quota import Quota


@dataclass(frozen=True, slots=True)
class UpstreamContext:
    """An upstream and what its attempts share.

    `framing` is `chunked`, or `length` for an upstream that needs a Content-Length. `responses` is the memory for
    responses that are held. One large response is parsed at a time, under `parsing`: its document takes several times
    its memory.
    """

    name: str
    client: UpstreamClient
    framing: str
    timeouts: TimeoutSettings
    spools: Spools
    responses: Quota
    parsing: asyncio.Lock = field(default_factory=asyncio.Lock)
