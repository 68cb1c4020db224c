"""The curl commands of the provider's documentation work with the gateway's address."""

import json
from pathlib import Path

import pytest

from tests import audio
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.upstream import TOKENS, ScriptedUpstream, json_answer, sse_answer
from tests.system import tools

pytestmark = pytest.mark.system

MORE_THAN_CURL_SENDS_UNASKED = 3_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("clip") / "clip.mp3"
    file.write_bytes(audio.make("mp3", "libmp3lame", 2.0))
    return file


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("clip") / "long.wav"
    file.write_bytes(audio.make("wav", "pcm_s16le", MORE_THAN_CURL_SENDS_UNASKED / 32_000))
    return file


def test_a_transcription_with_the_bare_key(gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path) -> None:
    upstream.reply(json_answer("Hello, my name is Wolfgang.", usage=TOKENS))
    done = tools.run(
        "curl",
        *("--silent", "--show-error", "--fail-with-body"),
        f"{gateway.base_url}/speech/transcriptions",
        *("-H", f"Authorization: {gateway.key}"),
        *("-F", f"file=@{clip}"),
        *("-F", "model=gpt-4o-transcribe"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": "Hello, my name is Wolfgang.", "usage": TOKENS}
    exchange = upstream.journal[0]
    assert exchange.path == "/v1/audio/transcriptions"
    assert exchange.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert (exchange.file.filename, exchange.file.data) == ("audio.mp3", clip.read_bytes())
    row = gateway.rows("model = 'gpt-4o-transcribe'")[-1]
    assert (row["caller"], row["state"], row["total_tokens"]) == ("team", "settled", 59)


def test_a_translation(gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path) -> None:
    done = tools.run(
        "curl",
        *("--silent", "--show-error", "--fail-with-body"),
        *("--request", "POST"),
        f"{gateway.base_url}/audio/translations",
        *("--header", f"Authorization: {gateway.key}"),
        *("--header", "Content-Type: multipart/form-data"),
        *("--form", f"file=@{clip}"),
        *("--form", "model=whisper-1"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "hello"
    assert upstream.journal[0].path == "/v1/audio/translations"
    row = gateway.rows("task = 'translate'")[-1]
    assert (row["state"], row["source"]) == ("settled", "measured")
    assert row["audio_ms"] == pytest.approx(2000, abs=100)


def test_a_large_file_waits_for_100_continue(
    gateway: GatewayProcess, upstream: ScriptedUpstream, long_clip: Path
) -> None:
    done = tools.run(
        "curl",
        *("--silent", "--show-error", "--verbose"),
        f"{gateway.base_url}/audio/transcriptions",
        *("-H", f"Authorization: Bearer {gateway.key}"),
        *("-F", f"file=@{long_clip}"),
        *("-F", "model=whisper-1"),
    )
    assert long_clip.stat().st_size > MORE_THAN_CURL_SENDS_UNASKED
    assert done.stderr.index("> Expect: 100-continue") < done.stderr.index("< HTTP/1.1 100 Continue")
    assert json.loads(done.stdout)["text"] == "hello"
    assert upstream.journal[0].file.data == long_clip.read_bytes()


def test_a_refused_caller_sends_no_file(gateway: GatewayProcess, upstream: ScriptedUpstream, long_clip: Path) -> None:
    done = tools.run(
        "curl",
        *("--silent", "--show-error", "--write-out", "\n%{http_code} %{size_upload}"),
        f"{gateway.base_url}/audio/transcriptions",
        *("-H", "Authorization: Bearer sk-agw-wrong"),
        *("-F", f"file=@{long_clip}"),
        *("-F", "model=whisper-1"),
    )
    body, _, figures = done.stdout.rpartition("\n")
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert figures == "401 0"
    assert upstream.journal == []


def test_events_arrive_while_the_stream_is_open(
    gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path
) -> None:
    upstream.reply(sse_answer(["Hello", ", world"], TOKENS))
    done = tools.run(
        "curl",
        *("--silent", "--show-error", "--no-buffer", "--fail-with-body"),
        f"{gateway.base_url}/audio/transcriptions",
        *("-H", f"Authorization: Bearer {gateway.key}"),
        *("-F", "model=gpt-4o-mini-transcribe", "-F", "stream=true", "-F", f"file=@{clip}"),
    )
    assert done.returncode == 0, done.stderr
    frames = [
        json.loads(line.removeprefix("data: ")) for line in done.stdout.splitlines() if line.startswith("data: {")
    ]
    assert [frame["type"].rpartition(".")[2] for frame in frames] == ["delta", "delta", "done"]
    assert frames[-1]["usage"] == TOKENS


@pytest.mark.parametrize("more", [(), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")])
def test_an_http_2_upgrade_continues_as_http_1_1(
    gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path, more: tuple[str, ...]
) -> None:
    """Two uploads and a GET, on one connection."""
    upload = ("-H", f"Authorization: Bearer {gateway.key}", "-F", "model=whisper-1", "-F", f"file=@{clip}", *more)
    done = tools.run(
        "curl",
        *("--silent", "--show-error", "--verbose", "--http2", "--fail-with-body"),
        *(f"{gateway.base_url}/audio/transcriptions", *upload),
        *("--next", "--http2", "--fail-with-body", f"{gateway.base_url}/audio/transcriptions", *upload),
        *("--next", "--http2", "--fail-with-body", f"{gateway.host}/healthz"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("> Upgrade: h2c") >= 1
    assert done.stderr.count("< HTTP/1.1 200 OK") == 3
    assert [exchange.file.data for exchange in upstream.journal] == [clip.read_bytes()] * 2
