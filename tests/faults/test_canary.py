"""A provider that echoes the gateway's key in every encoding and place, with all logs at DEBUG: the key never shows.

Every other test is a run with the canary too: see `tests/stubs/canary.py`.
"""

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.behaviour.caller import connect, form, post, post_bytes, request_id
from tests.stubs import canary
from tests.stubs.form import multipart
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.raw import request
from tests.stubs.upstream import TOKENS, Reply, ScriptedUpstream, error_answer, json_answer, no_answer, sse_frame

LOUD = Path(__file__).parents[1] / "stubs" / "loud"
PATHS = ("/v1/models", "/v1/usage", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/admin/v1/callers")

ECHOES = {name: text.decode() for name, text in canary.ENCODINGS.items()}
STATUSES = (400, 401, 402, 403, 404, 408, 413, 429, 500, 503, 504, 600)


@pytest.fixture(scope="module")
def gateway(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with every logger at DEBUG and short timeouts."""
    settings = "[timeouts]\nfirst_byte = 0.5\nsse_idle = 0.5\nwrite_idle = 0.5"
    folder = tmp_path_factory.mktemp("loud")
    path = os.pathsep.join([str(LOUD), *filter(None, [os.environ.get("PYTHONPATH")])])
    with GatewayProcess(folder, shared_upstream.base_url, settings, admin_key=ADMIN_KEY, PYTHONPATH=path) as gateway:
        yield gateway


def bodies(status: int, echo: str) -> Iterator[Reply]:
    """This response in the shapes that providers use."""
    word = f"Incorrect API key provided: {echo}. Sent: Bearer {echo}"
    yield error_answer(status, "invalid_api_key", word, param=echo)
    yield error_answer(status, echo, word, headers=[("X-Request-ID", echo), ("WWW-Authenticate", f"Bearer {echo}")])
    for document in ({"detail": word}, {"message": {"key": echo}}, {"error": word}, [echo], echo):
        yield Reply(status, [("Content-Type", "application/json")], json.dumps(document).encode())
    yield Reply(status, [("Content-Type", "text/html")], f"<html>{word}".encode())
    yield Reply(status, [("Content-Type", "application/json"), ("X-Request-ID", echo)], word.encode()[:40])


@pytest.mark.parametrize("status", STATUSES)
def test_an_error_that_echoes_the_key(gateway: GatewayProcess, upstream: ScriptedUpstream, status: int) -> None:
    for echo in ECHOES.values():
        for reply in bodies(status, echo):
            upstream.reply(reply)
            answer = post(gateway, form())
            assert answer.complete
            assert answer.status >= 400


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_a_success_whose_headers_echo_the_key(gateway: GatewayProcess, upstream: ScriptedUpstream, echo: str) -> None:
    names = ("X-Request-ID", "OpenAI-Processing-MS", "Set-Cookie", "Location", "X-Api-Key", "Content-Language")
    plain = json_answer("hello", TOKENS)
    for value in (echo, f"Bearer {echo}"):
        upstream.reply(plain.but(headers=[*plain.headers, *((name, value) for name in names)]))
        answer = post(gateway, form())
        assert answer.status == 200
        assert gateway.wait_for_row(request_id(answer), "settled")["upstream_request_id"] != value


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_a_content_type_that_echoes_the_key(gateway: GatewayProcess, upstream: ScriptedUpstream, echo: str) -> None:
    upstream.reply(Reply(200, [("Content-Type", f"application/json; key={echo}")], b'{"text": "hello"}'))
    assert post(gateway, form()).status == 200


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_a_stream_whose_error_echoes_the_key(gateway: GatewayProcess, upstream: ScriptedUpstream, echo: str) -> None:
    frames: list[dict[str, Any]] = [
        {"error": {"message": f"bad key {echo}", "code": echo}},
        {"type": "error", "error": {"message": {"headers": [f"Bearer {echo}"]}}},
        {"error": f"Bearer {echo}"},
    ]
    for frame, cut in itertools.product(frames, (None, 150)):
        stream = Reply(headers=[("Content-Type", "text/event-stream")], body=sse_frame(frame), framing="chunked")
        upstream.reply(stream.but(cut_after=cut))
        answer = post(gateway, form("gpt-4o-transcribe", fields=[("stream", "true")]))
        assert answer.status == 200


def test_errors_on_the_provider_connection(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    key = canary.PROVIDER_KEY.encode()
    upstream.reply(
        no_answer("reset"),
        no_answer("close"),
        Reply(hang=True),
        Reply(framing="raw", raw=b"HTTP/1.1 " + key + b"\r\n\r\n"),
        Reply(framing="raw", raw=b"HTTP/1.1 200 OK\r\n" + key + b"\r\n\r\n"),
        Reply(framing="raw", raw=key + b" is not HTTP\r\n\r\n"),
        Reply(framing="raw", raw=b"HTTP/1.1 200 OK\r\nContent-Length: " + key + b"\r\n\r\n"),
        Reply(framing="raw", raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + key + b"\r\n"),
        Reply(302, [("Location", f"http://127.0.0.2/{canary.PROVIDER_KEY}")]),
        Reply(200, [("Content-Type", "application/json"), ("Content-Encoding", "gzip")], key),
    )
    statuses = [post(gateway, form()).status for _ in range(10)]
    assert set(statuses) <= {502, 504}, statuses


def test_error_responses_and_pages(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Unknown keys, malformed forms, and every page."""
    for path in PATHS:
        for key in (gateway.key, ADMIN_KEY, "sk-agw-none"):
            with connect(gateway) as caller:
                caller.send(request("GET", path, [("Authorization", f"Bearer {key}")]))
                assert caller.read_response().complete
    for body in (
        b"",
        b"--test-boundary--\r\n",
        b"\xff" * 100,
        multipart(form("no-such-model")),
        multipart(form())[:-40],
    ):
        with connect(gateway) as caller:
            caller.send(post_bytes(gateway, body))
            assert 400 <= caller.read_response().status < 500
    with connect(gateway) as caller:
        caller.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert caller.read_response().status == 400
    assert not any(exchange.complete for exchange in upstream.journal)


def test_arguments_files_ledger_reports_and_log(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Its arguments, its open files (spools have no name), its ledger, its reports and its log."""
    upstream.reply(error_answer(403, None, f"moderated {canary.PROVIDER_KEY}"))
    refused = post(gateway, form())
    assert refused.status == 403
    gateway.wait_for_row(request_id(refused), "released")
    canary.check("its arguments", (gateway.proc / "cmdline").read_bytes())
    for each in (gateway.proc / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            if re.match(r"/.*ledger|.*\(deleted\)", target := str(each.readlink())):
                canary.check(target, each.read_bytes())
    canary.check("its rows", repr(gateway.rows()))
    for arguments in (
        ("usage", "--format", "json"),
        ("usage", "export"),
        ("ledger", "unknown"),
        ("audit",),
        ("check",),
    ):
        assert gateway.command(*arguments).returncode == 0
    canary.check_folder(gateway.folder)


def test_the_logs_are_at_debug(gateway: GatewayProcess) -> None:
    """Asked of a process in the gateway's own environment, for no library says anything there today."""
    program = "import logging, sys; print({logging.getLogger(name).getEffectiveLevel() for name in sys.argv[1:]})"
    names = ("asyncio", "audio_gateway.relay", "python_multipart.multipart", "uvicorn.error")
    command = [sys.executable, "-c", program, *names]
    done = subprocess.run(command, env=gateway.environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "{10}\n"


def test_an_echo_would_be_found() -> None:
    for encoding in canary.ENCODINGS.values():
        with pytest.raises(AssertionError, match="provider's key is in"):
            canary.check("an answer", b"a" + encoding + b"b")
    with pytest.raises(AssertionError):
        canary.check("an answer", httpx.BasicAuth("a", canary.PROVIDER_KEY)._auth_header)
