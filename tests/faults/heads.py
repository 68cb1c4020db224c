"""Invalid request heads by the rows of the catalogue that they cover, and the functions that build them."""

from tests.behaviour.caller import TRANSCRIPTIONS
from tests.stubs.raw import chunked, request

HEALTH = request("GET", "/healthz")

GET = b"GET /healthz HTTP/1.1"
HOST = b"Host: a"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def audio(*headers: tuple[str, str], body: bytes = b"") -> bytes:
    return request("POST", TRANSCRIPTIONS, headers, body)


def length(value: str) -> bytes:
    return audio(("Content-Length", value), body=b"hello")


def coding(*values: str) -> bytes:
    return audio(*(("Transfer-Encoding", value) for value in values), body=chunked([b"hello"]))


def named(name: bytes) -> bytes:
    return head(GET, HOST, name + b": 1")


def valued(value: bytes) -> bytes:
    return head(GET, HOST, b"X: a" + value + b"b")


def hosted(*hosts: bytes) -> bytes:
    return head(GET, *(b"Host: " + host for host in hosts))


UNREADABLE: dict[str, bytes] = {
    "A1-length-then-chunked": audio(("Content-Length", "5"), ("Transfer-Encoding", "chunked"), body=chunked([])),
    "A1-chunked-then-length": audio(("Transfer-Encoding", "chunked"), ("Content-Length", "5"), body=chunked([])),
    "A1-length-of-zero": audio(("Content-Length", "0"), ("Transfer-Encoding", "chunked"), body=chunked([])),
    "A1-in-1.0": audio(("Content-Length", "5"), ("Transfer-Encoding", "chunked")).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "A2-differing": audio(("Content-Length", "5"), ("Content-Length", "6"), body=b"hello"),
    "A2-equal-duplicates": audio(("Content-Length", "5"), ("Content-Length", "5"), body=b"hello"),
    "A2-list": length("5, 5"),
    "A2-comma": length("5,"),
    "A2-plus": length("+5"),
    "A2-minus": length("-5"),
    "A2-minus-zero": length("-0"),
    "A2-hexadecimal": length("0x5"),
    "A2-digits": length("1" * 31),
    "A2-zeros": length("0" * 30 + "5"),
    "A2-beyond-64-bits": length("18446744073709551616"),
    "A2-exponent": length("5e0"),
    "A2-fraction": length("5.0"),
    "A2-two-words": length("5 5"),
    "A2-empty": length(""),
    "A2-other-digits": length("\xb2"),
    "A2-space-before-colon": head(b"POST /v1/audio/transcriptions HTTP/1.1", HOST, b"Content-Length : 5") + b"hello",
    "A3-chunked-twice": coding("chunked", "chunked"),
    "A3-chunked-list": coding("chunked, chunked"),
    "A3-chunked-then-identity": coding("chunked, identity"),
    "A3-comma": coding("chunked,"),
    "A3-empty": coding(""),
    "A3-empty-then-chunked": coding("", "chunked"),
    "A3-in-1.0": coding("chunked").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "A3-space-before-colon": head(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding : chunked") + chunked([]),
    "A3-fold": head(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding:", b" chunked") + chunked([]),
    "A3-control": coding("\x0bchunked"),
    "A7-lf-only": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "A7-lf-first-line": b"GET /healthz HTTP/1.1\nHost: a\r\n\r\n",
    "A7-lf-header": b"GET /healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "A7-lf-end": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\n",
    "A7-cr-only": b"GET /healthz HTTP/1.1\rHost: a\r\r",
    "A7-fold": head(GET, HOST, b"X: a", b" b"),
    "A7-fold-tab": head(GET, HOST, b"X: a", b"\tb"),
    "A7-fold-first": head(GET, b" X: a", HOST),
    "A7-space-before-colon": head(GET, b"Host : a"),
    "A7-tab-before-colon": head(GET, b"Host\t: a"),
    "A7-no-colon": head(GET, HOST, b"X"),
    "A7-no-name": named(b""),
    "A7-space-in-name": named(b"X Y"),
    "A7-bracket-in-name": named(b"X("),
    "A7-slash-in-name": named(b"X/Y"),
    "A7-quote-in-name": named(b'X"'),
    "A7-nul-in-name": named(b"X\0"),
    "A7-high-byte-in-name": named(b"X\xe9"),
    "A7-nul": valued(b"\0"),
    "A7-cr": valued(b"\r"),
    "A7-escape": valued(b"\x1b"),
    "A7-vertical-tab": valued(b"\x0b"),
    "A7-delete": valued(b"\x7f"),
    "A8-none": head(GET),
    "A8-two": hosted(b"a", b"b"),
    "A8-two-equal": hosted(b"a", b"a"),
    "A8-two-in-1.0": hosted(b"a", b"a").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "A8-empty": hosted(b""),
    "A8-list": hosted(b"a, b"),
    "A8-path-and-user": hosted(b"a/#@b"),
    "A8-path": hosted(b"a/v1/models"),
    "A8-user": hosted(b"user@a"),
    "A8-query": hosted(b"a?b"),
    "A8-backslash": hosted(b"a\\b"),
    "A8-blank": hosted(b"a b"),
    "A8-port": hosted(b"a:b"),
    "A8-bracket": hosted(b"[::1"),
    "A8-high-byte": hosted(b"\xe9"),
    "A8-bad-in-1.0": hosted(b"a/#@b").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "A9-fragment": head(b"GET /healthz#x HTTP/1.1", HOST),
    "A9-no-slash": head(b"GET @evil/healthz HTTP/1.1", HOST),
    "A9-port-of-none": head(b"GET http://:x/ HTTP/1.1", HOST),
    "A9-high-byte": head(b"GET /v1/\xc3\xa9 HTTP/1.1", HOST),
    "A9-control": head(b"GET /v1/\x01 HTTP/1.1", HOST),
    "A9-empty": head(b"GET  HTTP/1.1", HOST),
    "A11-garbage": b"\x00\xff garbage\r\n\r\n",
    "A11-zeros": bytes(200),
    "A11-tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "A11-http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "A11-http-2-version": head(b"GET /healthz HTTP/2.0", HOST),
    "A11-http-1.2": head(b"GET /healthz HTTP/1.2", HOST),
    "A11-http-1.11": head(b"GET /healthz HTTP/1.11", HOST),
    "A11-http-0.9": b"GET /healthz\r\n\r\n",
    "A11-http-0.9-said": head(b"GET /healthz HTTP/0.9", HOST),
    "A11-lower-case-version": head(b"GET /healthz http/1.1", HOST),
    "A11-lower-case-method": head(b"get /healthz HTTP/1.1", HOST),
    "A11-unknown-method": head(b"BREW /healthz HTTP/1.1", HOST),
    "A11-long-method": head(b"A" * 70_000 + b" /healthz HTTP/1.1", HOST),
    "A11-tabs": head(b"GET\t/healthz\tHTTP/1.1", HOST),
    "A11-words-behind": head(b"GET /healthz HTTP/1.1 x", HOST),
    "A11-ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "A11-smtp": b"EHLO a\r\n",
    "A11-proxy-protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HEALTH,
    "A11-answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "A11-connect": head(b"CONNECT a:443 HTTP/1.1", b"Host: a:443") + HEALTH,
}
