"""The connection to the provider: a small HTTP/1.1 client for one kind of request, over httptools' parser.

    client      the Provider: what stands in every head, and the pool
    post        one form and its answer, which may come while the form is still being sent
    answer      the answer, read as it comes, and strictly (RFC 9112)
    connection  the socket: flow control both ways, and last words
    pool        connections at rest, and how a new one is opened
    origin      where that is
    dialing     names to addresses to a socket (RFC 8305)
    trust       whom TLS believes

It sends the provider's key to the configured host and to no other: no redirect is followed, and no proxy, .netrc,
cookie or authority is taken from the environment. Nothing is decompressed.
"""

from app.adapters.upstream.client import HttpUpstreamClient
from app.adapters.upstream.tls_context import trusting

__all__ = ["HttpUpstreamClient", "trusting"]
