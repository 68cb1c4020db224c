"""The HTTP/1.1 client for the upstream leg: it sends one kind of request, and reads responses with httptools' parser.

    client       the UpstreamClient: the fixed part of every request head, and the connection pool
    call         one request and its response, which may begin while the request is still being sent
    response     the incremental response parser, which enforces RFC 9112
    connection   the asyncio protocol: flow control in both directions
    pool         idle connections, and opening new ones
    connecting   from a host name to a connected socket (RFC 8305)
    origin       scheme, host and port of the upstream
    tls_context  the certificate authorities that TLS trusts

The client sends the provider's key to the configured host only. It follows no redirect, takes no proxy, .netrc, cookie
or certificate authority from the environment, and decompresses nothing.
"""

from app.adapters.upstream.client import HttpUpstreamClient
from app.adapters.upstream.tls_context import client_tls_context

__all__ = ["HttpUpstreamClient", "client_tls_context"]
