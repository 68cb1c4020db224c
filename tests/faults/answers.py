"""Provider responses, and assertions about the caller's response and its ledger row."""

from typing import Any

from tests.behaviour.caller import error_of, form, post, request_id
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawResponse
from tests.stubs.upstream import TOKENS, Reply, sse_frame

HELLO = b'{"text": "hello"}'
HTML = "<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"

FIRST = sse_frame({"type": "transcript.text.delta", "delta": "hel"})
DONE = sse_frame({"type": "transcript.text.done", "text": "hel", "usage": TOKENS})
CUT = b'data: {"error": {"message": "The speech provider\'s stream broke off before the transcript was complete."'


def html(status: int) -> Reply:
    return Reply(status, [("Content-Type", "text/html")], HTML.encode())


def json_bytes(body: bytes, status: int = 200) -> Reply:
    return Reply(status, [("Content-Type", "application/json")], body)


def coded(coding: str, body: bytes) -> Reply:
    return json_bytes(body).but(headers=[("Content-Type", "application/json"), ("Content-Encoding", coding)])


def raw(*pieces: bytes) -> Reply:
    """These bytes in place of a response, then the end of the connection."""
    return Reply(framing="raw", raw=b"".join(pieces))


def sse(body: bytes, **more: Any) -> Reply:
    return Reply(headers=[("Content-Type", "text/event-stream")], body=body, framing="chunked", **more)


def stream(gateway: GatewayProcess) -> RawResponse:
    """The response to a request for a stream."""
    return post(gateway, form("gpt-4o-transcribe", fields=[("stream", "true")]))


def row_of(gateway: GatewayProcess, answer: RawResponse) -> dict[str, Any]:
    return gateway.row(request_id(answer))


def is_charged_at_its_hold(row: dict[str, Any]) -> bool:
    charged = (row["cost_nano_usd"], row["audio_ms"], row["source"])
    return charged == (row["bound_nano_usd"], row["bound_audio_ms"], "estimated")


def is_unknown(gateway: GatewayProcess, answer: RawResponse, status: int, code: str) -> bool:
    """Whether the request is `unknown`: charged at its reservation, and not retried by SDKs."""
    error, row = error_of(answer), row_of(gateway, answer)
    assert (answer.status, error["code"], error["type"]) == (status, code, "server_error")
    assert answer.header("x-should-retry") == "false"
    assert (row["state"], row["status"], row["error"]) == ("unknown", status, code)
    return is_charged_at_its_hold(row)


def is_released(gateway: GatewayProcess, answer: RawResponse, status: int, code: str, retry: str | None = None) -> bool:
    """Whether the request is `released`: free, and retryable unless `retry` says otherwise."""
    row = gateway.wait_for_row(request_id(answer), "released")
    assert (answer.status, error_of(answer)["code"]) == (status, code)
    assert answer.header("x-should-retry") == retry
    assert (row["status"], row["error"]) == (status, code)
    return (row["cost_nano_usd"], row["audio_ms"]) == (0, 0)
