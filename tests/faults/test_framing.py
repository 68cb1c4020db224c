"""A: what is no request, or could be read as two different ones."""

import pytest

from app.wire import apikey
from tests.behaviour.caller import (
    CLIP,
    FORM,
    TRANSCRIPTIONS,
    begin,
    connect,
    error_of,
    form,
    held_row,
    post,
    post_bytes,
    request_id,
)
from tests.faults.outcomes import counts_refusals, refused, refused_and_closed
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.raw import Headers, RawResponse, chunked, multipart, request
from tests.stubs.upstream import ScriptedUpstream, json_answer

UNKNOWN_KEY = apikey.mint(bytes(range(24)))
WHOLE = multipart(form())
STREAMING = multipart(form(), closing=False)
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
    "A11-h2c": audio(("Connection", "Upgrade"), ("Upgrade", "h2c"), body=HEALTH),
    "A11-websocket": head(GET, HOST, b"Connection: Upgrade", b"Upgrade: websocket"),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_head_that_cannot_be_read(gateway: GatewayProcess, upstream: ScriptedUpstream, data: bytes) -> None:
    with connect(gateway) as caller:
        caller.send(data)
        refused_and_closed(caller, 400, "bad_request")
    assert upstream.journal == []


@pytest.mark.parametrize(
    "value",
    [
        "xchunked",
        "chunkedx",
        "gzip, chunked",
        "gzip",
        "identity",
        "deflate,chunked",
        ",chunked",
        "chunked;q=1",
        '"chunked"',
        "chunked identity",
        "chunked\xa0",
    ],
)
def test_A3_another_transfer_coding(gateway: GatewayProcess, upstream: ScriptedUpstream, value: str) -> None:
    with connect(gateway) as caller:
        caller.send(coding(value))
        refused_and_closed(caller, 501, "unsupported_transfer_encoding")
    assert upstream.journal == []


def test_A1_A2_A3_A7_A8_A11_what_cannot_be_read_is_not_in_the_ledger(gateway: GatewayProcess) -> None:
    with counts_refusals(gateway):
        for data in UNREADABLE.values():
            with connect(gateway) as caller:
                caller.send(data)
                assert caller.read_response().status == 400


@pytest.mark.parametrize("size", [5_000_000, 20_000_000])
def test_A1_a_caller_reads_the_refusal_however_much_it_still_sends(gateway: GatewayProcess, size: int) -> None:
    both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    with connect(gateway) as caller:
        caller.send(audio(*both) + bytes(size))
        refused_and_closed(caller, 400, "bad_request")


@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED", "chunked ", "\tchunked"])
def test_A3_chunked_in_every_dress(gateway: GatewayProcess, upstream: ScriptedUpstream, value: str) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, chunked([WHOLE]), headers=[("Transfer-Encoding", value)]))
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


# -- chunks and trailers ----------------------------------------------------------------------------------------------

BAD_CHUNKS: dict[str, bytes] = {
    "hexadecimal": b"0x5\r\nhello\r\n",
    "minus": b"-1\r\nhello\r\n",
    "plus": b"+5\r\nhello\r\n",
    "17-digits": b"F" * 17 + b"\r\nhello",
    "empty": b"\r\nhello\r\n",
    "letter": b"g\r\nhello\r\n",
    "underscore": b"1_0\r\nhello\r\n",
    "blank-before": b" 5\r\nhello\r\n",
    "blank-behind": b"5 \r\nhello\r\n",
    "tab-behind": b"5\t\r\nhello\r\n",
    "lf": b"5\nhello\r\n",
    "cr": b"5\rhello\r\n",
    "lf-behind-data": b"5\r\nhello\n0\r\n\r\n",
    "longer-than-said": b"5\r\nhello!\r\n",
    "nul-in-extension": b"5;a=\0\r\nhello\r\n",
    "cr-in-extension": b"5;a=\rb\r\nhello\r\n",
    "lf-in-extension": b"5;a=b\nhello\r\n",
    "lf-end": b"0\n\n",
    "trailer-without-colon": b"0\r\nX\r\n\r\n",
    "trailer-with-nul": b"0\r\nX: \0\r\n\r\n",
    "trailer-with-fold": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer-with-length": b"0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_A4_a_bad_chunk_before_anything_is_reserved(
    gateway: GatewayProcess, upstream: ScriptedUpstream, chunk: bytes
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunk)
        refused_and_closed(caller, 400, "bad_request")
    assert upstream.journal == []


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_A4_a_bad_chunk_ends_the_upload_and_frees_its_hold(
    gateway: GatewayProcess, upstream: ScriptedUpstream, chunk: bytes
) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([STREAMING], last=b""))
        exchange = upstream.wait_for(1)
        held = held_row(gateway)
        caller.send(chunk)
        refused_and_closed(caller, 400, "bad_request")
    upstream.wait_until(lambda: exchange.aborted)
    assert gateway.wait_for_row(held["id"], "released")["cost_nano_usd"] == 0


@pytest.mark.parametrize(
    "opening",
    [b"%x\r\n", b"%X\r\n", b"0000%x\r\n", b"%x;a=b\r\n", b'%x;a="b;c\\"d"\r\n', b"%x;a=" + b"x" * 60_000 + b"\r\n"],
    ids=["plain", "upper-case", "zeros", "extension", "quoted-extension", "long-extension"],
)
def test_A4_a_good_chunk_in_another_dress(gateway: GatewayProcess, upstream: ScriptedUpstream, opening: bytes) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(opening % len(WHOLE) + WHOLE + b"\r\n0\r\n\r\n")
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


@pytest.mark.parametrize(
    "last",
    [
        [("Authorization", f"Bearer {UNKNOWN_KEY}")],
        [("X-Gateway-Tag", "project=other"), ("Expect", "100-continue"), ("Cookie", "a=b")],
        [("Host", "b"), ("Content-Type", "text/plain")],
        [(f"X-{number}", "1") for number in range(200)],
    ],
    ids=["key", "headers", "host", "many"],
)
def test_A6_trailers_change_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, last: list[tuple[str, str]]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in last)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([WHOLE], f"0\r\n{lines}\r\n".encode()))
        answer = caller.read_response()
        assert answer.status == 200
        caller.send(HEALTH)
        assert caller.read_response().status == 200
    row = gateway.wait_for_row(request_id(answer), "settled")
    assert (row["caller"], row["tags"]) == ("team", "{}")
    (exchange,) = upstream.journal
    assert exchange.trailers == []
    assert not {name.lower() for name, _ in exchange.headers} & {"cookie", "x-gateway-tag", "expect", "x-0"}


def test_A6_a_trailer_that_ends_the_connection_ends_it(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([WHOLE], b"0\r\nConnection: close\r\n\r\n"))
        answer = caller.read_response()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert caller.closed()


def test_A6_a_key_in_a_trailer_is_none(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    last = f"0\r\nAuthorization: Bearer {gateway.key}\r\n\r\n".encode()
    with connect(gateway) as caller:
        caller.send(audio(FORM, ("Transfer-Encoding", "chunked"), body=chunked([WHOLE], last)))
        refused(caller.read_response(), 401, "invalid_api_key")
    assert upstream.journal == []


# -- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "opening",
    [GET + b"\r\nHost: a\r\nX: ", GET + b"\r\nHost: a\r\nX", b"GET /", b"0\r\nX: ", b"5;a="],
    ids=["A7-value", "A7-name", "A9-url", "A6-trailer", "A4-extension"],
)
def test_what_does_not_end_is_bounded(gateway: GatewayProcess, opening: bytes) -> None:
    with connect(gateway) as caller:
        if not opening.startswith(b"GET"):
            begin(gateway, caller)
        caller.send(opening)
        for _ in range(100):
            caller.send(b"x" * 6000)
        refused_and_closed(caller, 431, "request_headers_too_large")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"X-%d: 1" % number for number in range(99)], 200),
        ([b"X-%d: 1" % number for number in range(100)], 431),
        ([b"X: " + b"x" * 65_000], 200),
        ([b"X: " + b"x" * 65 * 1024], 431),
        ([b"X-%d: " % number + b"x" * 7000 for number in range(10)], 431),
    ],
    ids=["100", "101", "64-kib", "65-kib", "70-kb-in-ten"],
)
def test_A7_fields_and_bytes_of_a_head(gateway: GatewayProcess, lines: list[bytes], status: int) -> None:
    with connect(gateway) as caller:
        caller.send(head(GET, HOST, *lines))
        answer = caller.read_response()
    assert answer.status == status
    if status != 200:
        refused(answer, 431, "request_headers_too_large")


# -- paths and hosts --------------------------------------------------------------------------------------------------

STRANGE_PATHS = (
    "/",
    "/v1",
    "/v1/audio",
    "/v1/audio/speech",
    "/v1/chat/completions",
    "/v1/audio/transcriptions/",
    "/v1/audio/transcriptions;x=1",
    "/v1/audio/transcriptions%00",
    "/v1/audio/transcriptions%3f",
    "/v1/audio/%74ranscriptions",
    "/v1/audio%2ftranscriptions",
    "/v1/audio/../audio/transcriptions",
    "/v1/./audio/transcriptions",
    "/v1/%2e%2e/v1/audio/transcriptions",
    "/v1//audio/transcriptions",
    "//v1/audio/transcriptions",
    "///v1/audio/transcriptions",
    "/V1/audio/transcriptions",
    "/v1/audio/transcriptions\\",
    "/@evil",
    "/%61dmin/v1/callers",
    "/admin%2fv1/callers",
    "/admin",
    "http://evil.example/",
    "*",
)
METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH", "TRACE")


def ask(gateway: GatewayProcess, method: str, path: str, headers: Headers | None = None) -> RawResponse:
    with connect(gateway) as caller:
        caller.send(request(method, path, [("Authorization", gateway.key)] if headers is None else headers))
        return caller.read_response(method)


@pytest.mark.parametrize("path", STRANGE_PATHS)
def test_A9_a_path_is_matched_as_it_is(gateway: GatewayProcess, upstream: ScriptedUpstream, path: str) -> None:
    for method in METHODS:
        answer = ask(gateway, method, path)
        assert (answer.status, answer.header("content-type")) == (404, "application/json"), method
        assert request_id(answer)
        if method != "HEAD":
            refused(answer, 404, "unknown_url")
            assert error_of(answer)["message"].startswith(f"Unknown request URL: {method} ")
    assert upstream.journal == []


@pytest.mark.parametrize("address", ["http://evil.example", "https://user:secret@evil.example:1", "HTTP://[::1]"])
def test_A9_a_whole_url_is_its_path(gateway: GatewayProcess, upstream: ScriptedUpstream, address: str) -> None:
    assert ask(gateway, "GET", f"{address}/v1/models").status == 200
    refused(ask(gateway, "GET", f"{address}/v1/models", []), 401, "invalid_api_key")
    refused(ask(gateway, "GET", f"{address}/admin/v1/callers"), 401, "invalid_api_key")
    assert post(gateway, form(), f"{address}{TRANSCRIPTIONS}").status == 200
    assert upstream.journal[0].header("host") == f"127.0.0.1:{upstream.port}"


def test_A9_the_name_of_a_model_may_be_encoded(gateway: GatewayProcess) -> None:
    assert ask(gateway, "GET", "/v1/models/whisper%2d1").json()["id"] == "whisper-1"
    refused(ask(gateway, "GET", "/v1/models/%2e%2e%2fusage"), 404, "model_not_found", "model")
    refused(ask(gateway, "GET", "/v1/models/whisper-1%00"), 404, "model_not_found", "model")


@pytest.mark.parametrize(
    "host", ["gateway.test", "a.b-c_d:8080", "127.0.0.1:1", "[::1]:80", "a:", "admin", "xn--a.example."]
)
def test_A8_a_host_decides_nothing(gateway: GatewayProcess, host: str) -> None:
    assert ask(gateway, "GET", "/healthz", [("Host", host)]).status == 200
    refused(ask(gateway, "GET", "/v1/models", [("Host", host)]), 401, "invalid_api_key")
    keys = {gateway.key: 401, ADMIN_KEY: 200}
    for key, status in keys.items():
        answer = ask(gateway, "GET", "/admin/v1/callers", [("Host", host), ("Authorization", f"Bearer {key}")])
        assert answer.status == status


def test_A8_a_bad_host_opens_no_way_to_the_admin_api(gateway: GatewayProcess) -> None:
    for path in ("/admin/v1/callers", "/v1/models"):
        for key in (gateway.key, ADMIN_KEY):
            answer = ask(gateway, "GET", path, [("Host", "a/#@b"), ("Authorization", f"Bearer {key}")])
            refused(answer, 400, "bad_request")


def test_A11_http_1_0_is_answered_and_closed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Without a Host, and whatever it asks of the connection; it knows no 100 Continue."""
    more = [("Connection", "keep-alive"), ("Expect", "100-continue")]
    data = post_bytes(gateway, WHOLE, headers=more).replace(b" HTTP/1.1\r\nHost: gateway.test", b" HTTP/1.0")
    with connect(gateway) as caller:
        caller.send(data)
        answer = caller.read_response()
        assert (answer.status, answer.interim, answer.header("connection")) == (200, [], "close")
        assert caller.closed()
    assert upstream.journal[0].file.data == CLIP


# -- one connection, several requests ---------------------------------------------------------------------------------


def test_A12_requests_in_one_send_are_answered_in_their_order(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """Each with a key of its own: none inherits that of the one before."""
    upstream.default = lambda exchange: json_answer(exchange.fields("prompt")[0])
    first, second = (post_bytes(gateway, multipart(form(fields=[("prompt", name)]))) for name in ("one", "two"))
    stranger = post_bytes(gateway, WHOLE, headers=[("Authorization", UNKNOWN_KEY)])
    keyless = audio(FORM, body=WHOLE)
    with connect(gateway) as caller:
        caller.send(first + second + request("GET", "/v1/models") + stranger + keyless)
        told = [caller.read_response() for _ in range(4)]
    assert [answer.status for answer in told] == [200, 200, 401, 401]
    assert [answer.json()["text"] for answer in told[:2]] == ["one", "two"]
    assert [gateway.row(request_id(answer))["state"] for answer in told[:2]] == ["settled"] * 2
    assert len(upstream.journal) == 2


def test_A12_a_chunked_request_ends_where_it_says(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    chunks = [("Transfer-Encoding", "chunked")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, chunked([WHOLE]), headers=chunks) + request("GET", "/v1/models"))
        assert [caller.read_response().status for _ in range(2)] == [200, 401]


@pytest.mark.parametrize(
    "second",
    [
        b"extra bytes",
        b"\x00garbage",
        head(b"GET http://:x/ HTTP/1.1", HOST),
        audio(("Transfer-Encoding", "chunked")) + b"zz\r\n",
        audio(("Content-Length", "5"), ("Transfer-Encoding", "chunked")),
    ],
    ids=["words", "garbage", "url", "chunk", "A1"],
)
def test_A12_a_fault_is_not_the_answer_to_the_request_before(
    gateway: GatewayProcess, upstream: ScriptedUpstream, second: bytes
) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, WHOLE) + second)
        answer = caller.read_response()
        assert answer.status == 200
        assert caller.closed()
    assert gateway.row(request_id(answer))["state"] == "settled"
    assert len(upstream.journal) == 1


def test_A12_what_follows_the_last_request_is_not_read(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz", [("Connection", "close")]) + HEALTH)
        assert caller.read_response().header("connection") == "close"
        assert caller.closed()


# -- Expect -----------------------------------------------------------------------------------------------------------


def spent_key(gateway: GatewayProcess) -> str:
    """The key of a caller whose budget is spent by one request."""
    key = gateway.create_caller(f"spent-{len(gateway.rows())}", budgets=["0.000001usd/month"])
    assert gateway.transcribe(key, CLIP).status_code == 200
    return key


EARLY: dict[str, tuple[int, str, list[tuple[str, str]]]] = {
    "key": (401, "invalid_api_key", [("Authorization", f"Bearer {UNKNOWN_KEY}")]),
    "size": (413, "request_too_large", [("Content-Length", str(27 * 1024 * 1024))]),
    "type": (415, "invalid_content_type", [("Content-Type", "application/json")]),
    "encoding": (415, "unsupported_content_encoding", [("Content-Encoding", "gzip")]),
    "boundary": (400, "invalid_multipart", [("Content-Type", "multipart/form-data")]),
}


@pytest.mark.parametrize(("status", "code", "headers"), EARLY.values(), ids=EARLY.keys())
def test_A14_a_caller_who_asks_first_and_is_refused_sends_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, status: int, code: str, headers: list[tuple[str, str]]
) -> None:
    size = [] if headers[0][0] == "Content-Length" else [("Content-Length", "1000000")]
    trace = counts_refusals(gateway, *([] if status == 401 else [code]))
    with trace, connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[*headers, *size, ("Expect", "100-continue")]))
        answer = refused_and_closed(caller, status, code, "file" if status == 413 else None)
        assert answer.interim == []
    assert upstream.journal == []


def test_A14_a_caller_whose_budget_is_spent_sends_nothing(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    more = [("Authorization", spent_key(gateway)), ("Content-Length", "1000000"), ("Expect", "100-continue")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=more))
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"], answer.interim) == (429, "insufficient_quota", [])
        assert (answer.header("connection"), answer.header("x-should-retry")) == ("close", "false")
        assert caller.closed()
    assert len(upstream.journal) == 1


def test_A15_a_caller_who_asks_first_is_told_to_go_on(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        more = [("Content-Length", str(len(WHOLE))), ("Expect", "100-continue")]
        caller.send(post_bytes(gateway, b"", headers=more))
        assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        assert upstream.journal == []
        caller.send(WHOLE)
        answer = caller.read_response()
    assert (answer.status, answer.interim) == (200, [])
    assert upstream.journal[0].header("expect") is None
    assert gateway.row(request_id(answer))["state"] == "settled"


@pytest.mark.parametrize("value", ["200-ok", "100", "100-continue, 200-ok", "", "x" * 5000])
def test_A16_another_expectation_is_ignored(gateway: GatewayProcess, upstream: ScriptedUpstream, value: str) -> None:
    answer = post(gateway, form(), headers=[("Expect", value)])
    assert (answer.status, answer.interim) == (200, [])


def test_A16_a_caller_with_another_expectation_reads_its_refusal_amid_the_body(gateway: GatewayProcess) -> None:
    more = [("Authorization", UNKNOWN_KEY), ("Expect", "200-ok")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, bytes(5_000_000), headers=more))
        refused(caller.read_response(), 401, "invalid_api_key")


# -- methods and types ------------------------------------------------------------------------------------------------

GET_PATHS = ("/v1/models", "/v1/models/whisper-1", "/v1/usage", "/healthz", "/readyz", "/docs")
POST_PATHS = tuple(f"/v1/{noun}/{task}" for noun in ("audio", "speech") for task in ("transcriptions", "translations"))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [*((path, "GET") for path in GET_PATHS), *((path, "POST") for path in POST_PATHS), ("/openapi.json", "GET, HEAD")],
)
def test_A17_a_wrong_method_is_told_the_right_one(gateway: GatewayProcess, path: str, allowed: str) -> None:
    for method in (*METHODS, "QUERY", "PROPFIND"):
        if method in allowed:
            continue
        answer = ask(gateway, method, path)
        assert (answer.status, answer.header("allow")) == (405, allowed), method
        assert answer.header("content-type") == "application/json"
        assert request_id(answer)
        if method != "HEAD":
            refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=test-boundary",
        "multipart/form-database; boundary=test-boundary",
        "text/plain; multipart/form-data; boundary=test-boundary",
        "multipart/form-data, multipart/form-data; boundary=test-boundary",
        "",
    ],
)
def test_A17_a_body_of_another_type(gateway: GatewayProcess, upstream: ScriptedUpstream, content_type: str) -> None:
    with counts_refusals(gateway, "invalid_content_type"):
        refused(post(gateway, form(), headers=[("Content-Type", content_type)]), 415, "invalid_content_type")
    assert upstream.journal == []


def test_A17_a_body_of_no_type(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        caller.send(audio(("Authorization", gateway.key), body=b'{"model": "whisper-1"}'))
        refused(caller.read_response(), 415, "invalid_content_type")
    assert upstream.journal == []


@pytest.mark.parametrize("second", ["application/json", FORM[1]])
def test_A17_two_types_are_none(gateway: GatewayProcess, upstream: ScriptedUpstream, second: str) -> None:
    refused(post(gateway, form(), headers=[FORM, ("Content-Type", second)]), 400, "bad_request")
    assert upstream.journal == []


@pytest.mark.parametrize("values", [["gzip"], ["br"], ["x"], ["identity, gzip"], ["identity", "gzip"]])
def test_A18_an_encoded_body(gateway: GatewayProcess, upstream: ScriptedUpstream, values: list[str]) -> None:
    with counts_refusals(gateway, "unsupported_content_encoding"):
        answer = post(gateway, form(), headers=[("Content-Encoding", value) for value in values])
        refused(answer, 415, "unsupported_content_encoding")
    assert upstream.journal == []


def test_A18_an_encoding_that_changes_nothing(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    assert post(gateway, form(), headers=[("Content-Encoding", "Identity")]).status == 200


def test_A4_a_chunk_of_sixteen_digits_never_ends(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """It can be counted, so it is no fault; the body's deadline ends it."""
    with connect(hasty) as caller:
        begin(hasty, caller)
        caller.send(b"F" * 16 + b"\r\n" + STREAMING)
        exchange = upstream.wait_for(1)
        refused_and_closed(caller, 408, "request_timeout")
    upstream.wait_until(lambda: exchange.aborted)
