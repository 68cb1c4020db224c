"""P: requests with an Upgrade header. The gateway ignores the offer and serves the request."""

import pytest

from tests.behaviour.caller import CLIP, FORM, begin, connect, fence, form, post_bytes, request_id
from tests.faults.heads import HEALTH
from tests.faults.outcomes import refused, refused_and_closed
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Headers, chunked, multipart, request
from tests.stubs.upstream import ScriptedUpstream

WHOLE = multipart(form())
H2C: Headers = [
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABk"),
]
CHUNKS = ("Transfer-Encoding", "chunked")

OFFERS: dict[str, Headers] = {
    "h2c": H2C,
    "lower-case": [("connection", "upgrade,http2-settings"), ("upgrade", "H2C"), ("http2-settings", "")],
    "websocket": [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ],
    "two": [("Connection", "keep-alive, Upgrade"), ("Upgrade", "TLS/1.0"), ("Upgrade", "h2c")],
    "not-connection": [("Upgrade", "h2c")],
    "no-upgrade": [("Connection", "Upgrade")],
    "proxy-connection": [("Proxy-Connection", "Upgrade"), ("Upgrade", "h2c")],
}
HOP_BY_HOP: dict[str, Headers] = {
    "te": [("Connection", "TE"), ("TE", "trailers, deflate;q=0.5")],
    "keep-alive": [("Connection", "Keep-Alive"), ("Keep-Alive", "timeout=5, max=1000")],
    "proxy-connection": [("Proxy-Connection", "Keep-Alive")],
    "named": [("Connection", "close, Content-Length, Authorization")],
    "none": [("Connection", "")],
}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
def test_P255_an_upload_with_an_offer_is_served(
    gateway: GatewayProcess, upstream: ScriptedUpstream, offer: Headers, framing: str
) -> None:
    """The connection then continues with HTTP/1.1."""
    body, more = (WHOLE, []) if framing == "length" else (chunked([WHOLE[:99], WHOLE[99:]]), [CHUNKS])
    with connect(gateway) as caller:
        for _ in range(2):
            caller.send(post_bytes(gateway, body, headers=[*offer, *more]))
            answer = caller.read_response()
            assert (answer.status, answer.json(), answer.header("upgrade")) == (200, {"text": "hello"}, None)
            assert gateway.row(request_id(answer))["state"] == "settled"
        caller.send(HEALTH)
        assert caller.read_response().status == 200
    assert [exchange.file.data for exchange in upstream.journal] == [CLIP] * 2
    assert {name.lower() for name, _ in upstream.journal[0].headers} & {"upgrade", "http2-settings"} == set()


@pytest.mark.parametrize("headers", HOP_BY_HOP.values(), ids=HOP_BY_HOP.keys())
def test_P255_other_hop_by_hop_headers_change_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, headers: Headers
) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, WHOLE, headers=headers))
        assert caller.read_response().status == 200
    assert upstream.journal[0].file.data == CLIP


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_P255_the_request_may_be_split_anywhere(
    gateway: GatewayProcess, upstream: ScriptedUpstream, framing: str
) -> None:
    body, more = (WHOLE, []) if framing == "length" else (chunked([WHOLE]), [CHUNKS])
    data = post_bytes(gateway, body, headers=[*H2C, *more])
    end = data.index(b"\r\n\r\n") + 4
    for cut in (10, end - 60, end - 4, end - 1, end, end + 1, len(data) - 1):
        with connect(gateway) as caller:
            caller.send(data[:cut])
            fence(gateway)
            caller.send(data[cut:])
            assert caller.read_response().status == 200
    assert {exchange.file.data for exchange in upstream.journal} == {CLIP}


def test_P255_pipelined_requests_with_offers(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    one, two = request("GET", "/v1/models", H2C), post_bytes(gateway, chunked([WHOLE]), headers=[*H2C, CHUNKS])
    with connect(gateway) as caller:
        caller.send(one + two + HEALTH + two + one)
        assert [caller.read_response().status for _ in range(5)] == [401, 200, 200, 200, 401]
    assert len(upstream.journal) == 2


def test_P255_an_offer_with_expect_gets_100_continue(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    more = [*H2C, ("Content-Length", str(len(WHOLE))), ("Expect", "100-continue")]
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=more))
        assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        caller.send(WHOLE)
        assert caller.read_response().status == 200


def test_P255_a_get_with_an_offer_and_with_connection_close(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz", H2C))
        assert caller.read_response().status == 200
        caller.send(request("GET", "/healthz", [("Connection", "close, Upgrade"), ("Upgrade", "h2c")]) + HEALTH)
        assert caller.read_response().header("connection") == "close"
        assert caller.closed(20)


def test_P255_an_offer_of_http_1_0_is_ignored(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz", H2C).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = caller.read_response()
        assert (answer.status, answer.header("connection")) == (200, "close")


@pytest.mark.parametrize("offer", [H2C, OFFERS["websocket"], OFFERS["two"]], ids=["h2c", "websocket", "two"])
@pytest.mark.parametrize(
    ("framing", "status", "code"),
    [
        ([("Content-Length", "5"), CHUNKS], 400, "bad_request"),
        ([CHUNKS, CHUNKS], 400, "bad_request"),
        ([("Content-Length", "5"), ("Content-Length", "5")], 400, "bad_request"),
        ([("Content-Length", "+5")], 400, "bad_request"),
        ([("Transfer-Encoding", "gzip, chunked")], 501, "unsupported_transfer_encoding"),
        ([("Transfer-Encoding", "identity")], 501, "unsupported_transfer_encoding"),
        ([("Host", "a"), ("Host", "b")], 400, "bad_request"),
    ],
    ids=["both", "chunked-twice", "length-twice", "plus", "gzip", "identity", "hosts"],
)
def test_P255_an_offer_does_not_allow_a_second_framing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, offer: Headers, framing: Headers, status: int, code: str
) -> None:
    with connect(gateway) as caller:
        caller.send(request("POST", "/v1/audio/transcriptions", [FORM, *offer, *framing], chunked([b"hello"]) + HEALTH))
        refused_and_closed(caller, status, code)
    assert upstream.journal == []


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"5\nhello\r\n", b"5\r\nhello!\r\n"])
def test_P255_the_body_after_an_offer_is_framed_strictly(gateway: GatewayProcess, chunk: bytes) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller, headers=H2C)
        caller.send(chunk)
        refused_and_closed(caller, 400, "bad_request")


def test_P255_a_body_after_an_offer_is_not_a_request(gateway: GatewayProcess) -> None:
    inner = request("GET", "/v1/models", [("Authorization", gateway.key)])
    with connect(gateway) as caller:
        caller.send(request("GET", "/healthz", [*H2C, ("Content-Length", str(len(inner)))]) + inner + HEALTH)
        assert [caller.read_response().json() for _ in range(2)] == [{"status": "ok"}] * 2


def test_P255_a_websocket_is_an_unknown_url(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(request("GET", "/v1/realtime", OFFERS["websocket"]))
        refused(caller.read_response(), 404, "unknown_url")
