"""Providers that respond too early, or end their connections without notice."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.behaviour.caller import begin, connect, form, post
from tests.faults.answers import DONE, FIRST, HELLO, is_unknown, json_bytes, row_of, stream
from tests.stubs.certificate import certificate, serving
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import Reply, ScriptedUpstream, json_answer, sse_answer, text_answer

# -- a success before the form is complete ----------------------------------------------------------------------------

EARLY = {"whole": json_answer("hello"), "a stream": sse_answer(["a"]), "begun": json_answer("hello").but(cut_after=5)}


@pytest.mark.timeout(25)
@pytest.mark.parametrize("answer", EARLY)
def test_N223_an_early_success_that_ends_in_a_reset_is_reported_at_once(
    gateway: GatewayProcess, upstream: ScriptedUpstream, answer: str
) -> None:
    """The caller has sent a part of its file and waits. The response does not wait for a deadline of 30 s."""
    upstream.reply(EARLY[answer].but(when="after_bytes", after=4000, then="close"))
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        head = caller.read_until(b"\r\n\r\n").decode()
        assert b'"code": "upstream_error"' in caller.read_until(b"}}")
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    assert head.startswith("HTTP/1.1 502 ")
    assert "x-should-retry" not in lines
    row = gateway.wait_for_row(lines["x-request-id"], "released")
    assert (row["error"], row["cost_nano_usd"]) == ("upstream_error", 0)


# -- TLS that ends without close_notify -------------------------------------------------------------------------------


@contextmanager
def cutting(pem: Path, answer: bytes) -> Iterator[str]:
    """An upstream that sends this response over TLS, then closes TCP without close_notify or reset."""

    def serve() -> None:
        peer, _ = listener.accept()
        with serving(pem).wrap_socket(peer, server_side=True) as tls:
            came = b""
            while not came.endswith(b"0\r\n\r\n"):
                came += tls.recv(65536)
            tls.sendall(answer)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = Thread(target=serve)
        server.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        server.join(30)


def test_N224_a_response_without_close_notify_is_incomplete(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with (
        cutting(pem, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + HELLO) as url,
        GatewayProcess(tmp_path, url, upstream_settings=f'ca_file = "{pem}"') as gateway,
    ):
        assert is_unknown(gateway, post(gateway, form()), 502, "upstream_error")


def test_N224_a_stream_without_close_notify_is_incomplete(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with (
        cutting(pem, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + FIRST + DONE[:-2]) as url,
        GatewayProcess(tmp_path, url, upstream_settings=f'ca_file = "{pem}"') as gateway,
    ):
        answer = stream(gateway)
        assert (answer.complete, b'"upstream_cut"' in answer.body) == (False, True)
        assert b"transcript.text.done" not in answer.body


# -- transcripts and errors under status 200 -------------------------------------------------------------------------

# Each with the format that was requested, the answer, and what the caller gets of it.
PAID: dict[str, tuple[str, Reply, bytes]] = {
    "silence as text": ("text", text_answer(""), b""),
    "silence as srt": ("srt", Reply(), b""),
    "silence as vtt": ("vtt", text_answer("", "text/vtt"), b""),
    "a format that is not known": (
        "tsv",
        text_answer("start\tend\ttext\n0\t500\ta\n"),
        b"start\tend\ttext\n0\t500\ta\n",
    ),
    "a text that is called JSON": ("text", text_answer("hello", "application/json"), b"hello"),
    "a text that is called HTML": ("text", text_answer("hello", "text/html; charset=utf-8"), b"hello"),
    "a text in another encoding": ("text", text_answer("").but(body=b"caf\xe9"), b"caf\xe9"),
    "JSON with a byte that is not UTF-8": (
        "json",
        json_bytes(b'{"text": "caf\xc3"}'),
        '{"text": "caf\ufffd"}'.encode(),
    ),
    "another shape": ("json", json_bytes(b'{"spoken": "hello"}'), b'{"spoken": "hello"}'),
}


@pytest.mark.parametrize("answer", PAID)
def test_N225_a_possible_transcript_is_relayed_and_charged_by_measured_duration(
    gateway: GatewayProcess, upstream: ScriptedUpstream, answer: str
) -> None:
    response_format, reply, body = PAID[answer]
    upstream.reply(reply)
    found = post(gateway, form(fields=[("response_format", response_format)]))
    assert (found.status, found.body) == (200, body)
    assert "html" not in (found.header("content-type") or "")
    row = row_of(gateway, found)
    assert (row["state"], row["source"], row["audio_ms"]) == ("settled", "measured", 500)


@pytest.mark.parametrize("body", [b'{"detail": "busy"}', b'{"error": "busy"}', b'{"code": 50001, "message": "busy"}'])
@pytest.mark.parametrize("response_format", ["json", "text", "tsv"])
def test_N225_an_error_under_200_is_not_a_transcript_in_any_format(
    gateway: GatewayProcess, upstream: ScriptedUpstream, response_format: str, body: bytes
) -> None:
    upstream.reply(text_answer(body.decode()))
    answer = post(gateway, form(fields=[("response_format", response_format)]))
    assert is_unknown(gateway, answer, 502, "upstream_bad_response")
