"""How openai-node behaves on the wire. A new version that changes it fails these tests."""

from pathlib import Path
from typing import Any

import pytest

from tests.sdk import node
from tests.stubs.upstream import TOKENS, ScriptedUpstream, error_answer, sse_answer


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF" + bytes(200_000))
    return str(path)


def call(upstream: ScriptedUpstream, clip: str, **more: Any) -> list[dict[str, Any]]:
    return node.run({"baseURL": upstream.base_url, "apiKey": "key", "file": clip, "model": "whisper-1", **more})


def test_a_read_stream_goes_chunked_with_the_file_first(clip: str) -> None:
    with ScriptedUpstream() as upstream:
        assert call(upstream, clip) == [{"ok": True, "result": {"text": "hello", "usage": TOKENS}}]
        exchange = upstream.journal[0]
    assert (exchange.header("transfer-encoding"), exchange.header("content-length")) == ("chunked", None)
    assert exchange.header("authorization") == "Bearer key"
    assert [part.name for part in exchange.form()] == ["file", "model"]
    assert (exchange.file.filename, len(exchange.file.data)) == ("clip.wav", 200_004)


@pytest.mark.parametrize(("mode", "tries"), [("stream", 1), ("bytes", 3)])
def test_the_sdk_retries_only_uploads_from_bytes(clip: str, mode: str, tries: int) -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = error_answer(503, "busy", "busy", headers=[("retry-after-ms", "1"), ("x-request-id", "r1")])
        (line,) = call(upstream, clip, mode=mode)
        assert [exchange.header("x-stainless-retry-count") for exchange in upstream.journal] == list("012")[:tries]
    assert (line["error"]["class"], line["error"]["code"]) == ("InternalServerError", "busy")
    assert line["error"]["request_id"] == "r1"


def test_events_of_a_stream_arrive_one_by_one(clip: str) -> None:
    with ScriptedUpstream() as upstream:
        upstream.reply(sse_answer(["a", "b"], TOKENS))
        *events, last = call(upstream, clip, stream=True, mode="bytes", order="file_last")
        assert [part.name for part in upstream.journal[0].form()] == ["model", "stream", "file"]
    assert [line["event"]["type"].rpartition(".")[2] for line in events] == ["delta", "delta", "done"]
    assert last == {"ok": True, "result": {"events": 3}}
