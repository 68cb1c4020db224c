"""The upstream gets the caller's request and the caller gets the upstream's response, for every kind of caller."""

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from openai.types.audio import TranscriptionVerbose

from tests.audio import make
from tests.behaviour.caller import (
    CLIP,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    async_sdk,
    connect,
    form,
    post,
    post_bytes,
    request_id,
    sdk,
)
from tests.sdk import curl, node
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import Part, multipart
from tests.stubs.upstream import (
    TOKENS,
    Reply,
    ScriptedUpstream,
    json_answer,
    sse_answer,
    text_answer,
    verbose_answer,
)

# Bytes that would not survive being parsed and written again.
ODD_JSON = '{ "text" :\t"h\\u00e9llo wörld" ,\r\n "usage": {"type":"duration","seconds":0.50} , "x": 1e2 }\n'.encode()
ODD_EVENTS = (
    b'\xef\xbb\xbf: a comment\r\n\r\ndata: {"type":"transcript.text.delta",\r\ndata: "delta":"h\xc3\xa9"}\r\n\r\n'
    b'id: 7\nevent: other\ndata: {"type": "x.unknown"}\n\n\n'
    b'data:{"type":"transcript.text.done","text":"h\xc3\xa9"}\r\rdata: [DONE]\n'
)

ANSWERS = {
    "json": Reply(headers=[("Content-Type", "application/json; charset=utf-8")], body=ODD_JSON),
    "verbose_json": verbose_answer("hello", 0.5, segments=[], words=[{"word": "hello", "start": 0.0, "end": 0.4}]),
    "diarized_json": json_answer(
        "hello", task="transcribe", duration=0.5, segments=[{"speaker": "A", "text": "hello"}]
    ),
    "text": text_answer("hello\n"),
    "srt": text_answer("1\n00:00:00,000 --> 00:00:00,500\nhello\n\n"),
    "vtt": text_answer("WEBVTT\n\n00:00.000 --> 00:00.500\nhello\n", "text/vtt; charset=utf-8"),
}


def content_type(reply: Reply) -> str:
    return dict(reply.headers)["Content-Type"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    path.write_bytes(CLIP)
    return str(path)


# -- every kind of caller ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_format", ANSWERS)
def test_the_response_is_relayed_byte_for_byte(
    gateway: GatewayProcess, upstream: ScriptedUpstream, response_format: str
) -> None:
    upstream.reply(ANSWERS[response_format])
    answer = post(gateway, form(fields=[("response_format", response_format)]))
    assert (answer.status, answer.body, answer.complete) == (200, ANSWERS[response_format].body, True)
    assert answer.header("content-type") == content_type(ANSWERS[response_format])
    assert upstream.journal[0].field("response_format") == response_format
    row = gateway.row(request_id(answer))
    assert (row["state"], row["status"], row["response_format"]) == ("settled", 200, response_format)


@pytest.mark.parametrize("response_format", ANSWERS)
def test_the_python_sdk_reads_every_format(
    gateway: GatewayProcess, upstream: ScriptedUpstream, response_format: Literal["json", "text", "srt", "vtt"]
) -> None:
    upstream.default = reply = ANSWERS[response_format]
    assert isinstance(reply.body, bytes)
    create = sdk(gateway).audio.transcriptions.with_raw_response.create
    raw = create(file=("clip.wav", CLIP), model="whisper-1", response_format=response_format)
    assert (raw.status_code, raw.content, raw.headers["content-type"]) == (200, reply.body, content_type(reply))
    assert raw.request_id == raw.headers["x-request-id"]
    told: Any = raw.parse()
    assert (told if isinstance(told, str) else told.text) in ("hello", "héllo wörld", reply.body.decode())


def test_the_python_sdk_reads_word_times(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(ANSWERS["verbose_json"])
    told = sdk(gateway).audio.transcriptions.create(
        file=("clip.wav", CLIP),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert isinstance(told, TranscriptionVerbose)
    assert told.words is not None
    assert (told.duration, told.words[0].end) == (0.5, 0.4)
    assert upstream.journal[0].fields("timestamp_granularities[]") == ["word", "segment"]


def test_the_python_sdk_sends_a_file_without_a_name(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    told = sdk(gateway).audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe")
    assert told.text == "hello"
    assert told.usage is not None
    assert told.usage.type == "tokens"
    assert (upstream.journal[0].file.filename, upstream.journal[0].file.data) == ("audio.wav", CLIP)
    assert (told._request_id or "").startswith("req_")


def test_the_async_python_sdk_reads_responses_and_streams(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("hello", TOKENS), text_answer("hello\n"), sse_answer(["a", "b"], TOKENS, end_mark=True))

    async def calls() -> tuple[object, object, list[str]]:
        async with async_sdk(gateway) as client:
            create = client.audio.transcriptions.create
            told = await create(file=CLIP, model="gpt-4o-transcribe")
            text = await create(file=CLIP, model="whisper-1", response_format="text")
            events = await create(file=CLIP, model="gpt-4o-transcribe", stream=True)
            return told.text, text, [event.type async for event in events]

    kinds = ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]
    assert asyncio.run(calls()) == ("hello", "hello\n", kinds)


@pytest.mark.parametrize("end_mark", [False, True], ids=["", "DONE"])
def test_the_python_sdk_reads_a_stream(gateway: GatewayProcess, upstream: ScriptedUpstream, end_mark: bool) -> None:
    upstream.reply(sse_answer(["hel", "lo"], TOKENS, end_mark=end_mark))
    events = list(sdk(gateway).audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe", stream=True))
    *deltas, done = events
    assert "".join(event.delta for event in deltas if event.type == "transcript.text.delta") == "hello"
    assert done.type == "transcript.text.done"
    assert done.usage is not None
    assert done.usage.total_tokens == 59


def node_call(gateway: GatewayProcess, clip: str, **more: Any) -> list[dict[str, Any]]:
    return node.run({"baseURL": gateway.base_url, "apiKey": gateway.key, "file": clip, "model": "whisper-1", **more})


def test_openai_node_sends_the_file_first_and_chunked(
    gateway: GatewayProcess, upstream: ScriptedUpstream, clip: str
) -> None:
    upstream.reply(json_answer("hello", TOKENS))
    assert node_call(gateway, clip) == [{"ok": True, "result": {"text": "hello", "usage": TOKENS}}]
    (exchange,) = upstream.journal
    assert [part.name for part in exchange.form()] == ["file", "model"]
    assert (exchange.file.filename, exchange.file.data) == ("audio.wav", CLIP)


def test_openai_node_gets_text_translations_and_streams(
    gateway: GatewayProcess, upstream: ScriptedUpstream, clip: str
) -> None:
    upstream.reply(ANSWERS["srt"], json_answer("hello"), sse_answer(["a", "b"], TOKENS))
    (text,) = node_call(gateway, clip, response_format="srt")
    (translation,) = node_call(gateway, clip, translate=True, mode="bytes", order="file_last")
    *events, last = node_call(gateway, clip, model="gpt-4o-transcribe", stream=True)
    subtitles = ANSWERS["srt"].body
    assert isinstance(subtitles, bytes)
    assert text == {"ok": True, "result": subtitles.decode()}
    assert translation == {"ok": True, "result": {"text": "hello"}}
    assert [line["event"]["type"].rpartition(".")[2] for line in events] == ["delta", "delta", "done"]
    assert last == {"ok": True, "result": {"events": 3}}
    assert [exchange.path for exchange in upstream.journal] == [TRANSCRIPTIONS, TRANSLATIONS, TRANSCRIPTIONS]


@pytest.mark.parametrize("size", [0.5, 60], ids=["small", "announced with Expect"])
def test_the_bytes_of_the_providers_curl_examples(
    gateway: GatewayProcess, upstream: ScriptedUpstream, size: float
) -> None:
    audio = make("wav", "pcm_s16le", size)
    sent = curl.transcription(f"127.0.0.1:{gateway.port}", gateway.key, audio)
    assert sent.expects_continue == (size == 60)
    with connect(gateway) as caller:
        if sent.expects_continue:
            caller.send(sent.head)
            assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
            caller.send(sent.body)
        else:
            caller.send(sent.whole)
        assert caller.read_response().json() == {"text": "hello"}
        caller.send(curl.translation(f"127.0.0.1:{gateway.port}", gateway.key, CLIP).whole)
        assert caller.read_response().json() == {"text": "hello"}
    first, second = upstream.journal
    assert (first.path, second.path) == (TRANSCRIPTIONS, TRANSLATIONS)
    assert (first.file.data, second.file.data) == (audio, CLIP)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_stream_is_relayed_byte_for_byte(
    gateway: GatewayProcess, upstream: ScriptedUpstream, framing: Literal["length", "chunked", "close"]
) -> None:
    pieces = [(0.0, ODD_EVENTS[at : at + 7]) for at in range(0, len(ODD_EVENTS), 7)]
    upstream.reply(Reply(headers=[("Content-Type", "text/event-stream")], body=pieces, framing=framing))
    answer = post(gateway, form("gpt-4o-transcribe", fields=[("stream", "true")]))
    assert (answer.status, answer.body, answer.complete) == (200, ODD_EVENTS, True)
    assert answer.header("content-type") == "text/event-stream"
    assert answer.header("cache-control") == "no-cache"
    assert gateway.row(request_id(answer))["stream"] == 1


@pytest.mark.parametrize(
    ("path", "upstream_path"),
    [
        ("/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/speech/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/audio/translations", "/v1/audio/translations"),
        ("/v1/speech/translations", "/v1/audio/translations"),
    ],
)
def test_both_tasks_have_openais_path_and_an_alias(
    gateway: GatewayProcess, upstream: ScriptedUpstream, path: str, upstream_path: str
) -> None:
    answer = post(gateway, form(), path)
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    assert upstream.journal[0].path == upstream_path
    assert gateway.row(request_id(answer))["task"] == ("translate" if "translations" in path else "transcribe")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # as the SDK has it, until 2027-02-26
def test_the_python_sdk_translates(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    told = sdk(gateway).audio.translations.create(file=CLIP, model="whisper-1", prompt="formal", temperature=0.5)
    assert told.text == "hello"
    (exchange,) = upstream.journal
    assert exchange.path == TRANSLATIONS
    assert (exchange.field("prompt"), exchange.field("temperature")) == ("formal", "0.5")


# -- the headers of an answer -----------------------------------------------------------------------------------------


def test_the_upstreams_processing_time_and_request_id_are_relayed(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    reply = json_answer("hello").but(
        headers=[("Content-Type", "application/json"), ("OpenAI-Processing-MS", "1234"), ("X-Request-ID", "up-77")]
    )
    upstream.reply(reply)
    answer = post(gateway, form())
    assert answer.header("openai-processing-ms") == "1234"
    assert answer.header("x-upstream-request-id") == "up-77"
    assert request_id(answer) != "up-77"
    assert gateway.row(request_id(answer))["upstream_request_id"] == "up-77"
    assert gateway.wait_for_log(request_id(answer))["upstream_request_id"] == "up-77"


def test_without_an_upstream_processing_time_the_gateway_sends_its_own(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(json_answer("hello").but(delay=0.2))
    answer = post(gateway, form())
    assert 200 <= int(answer.header("openai-processing-ms") or "") < 5000
    assert answer.header("x-upstream-request-id") is None


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_no_other_upstream_header_is_relayed(
    gateway: GatewayProcess, upstream: ScriptedUpstream, streamed: bool
) -> None:
    reply = sse_answer(["a"], TOKENS) if streamed else json_answer("hello").but(framing="chunked")
    hostile = [
        ("Set-Cookie", "session=1"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=99"),
        ("Proxy-Authenticate", "Basic"),
        ("Trailer", "X-End"),
        ("Upgrade", "h2c"),
        ("Server", "scripted"),
        ("Via", "1.1 scripted"),
        ("X-RateLimit-Remaining-Requests", "3"),
        ("OpenAI-Organization", "org-secret"),
        ("X-Should-Retry", "true"),
        ("Access-Control-Allow-Origin", "*"),
        ("X-Accel-Redirect", "/etc/passwd"),
    ]
    upstream.reply(reply.but(headers=[*reply.headers, *hostile]))
    answer = post(gateway, form(fields=[("stream", "true")] if streamed else []))
    assert answer.status == 200
    ours = {"date", "content-type", "openai-processing-ms", "x-request-id"}
    framing = {"transfer-encoding", "cache-control", "x-accel-buffering"} if streamed else {"content-length"}
    assert {name.lower() for name, _ in answer.headers} == ours | framing
    assert answer.header("x-accel-buffering") == ("no" if streamed else None)


# -- what the upstream sees -------------------------------------------------------------------------------------------


def test_fields_keep_their_order_including_repeated_and_unknown_ones(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    before = [
        ("x-vendor", "1"),
        ("include[]", "logprobs"),
        ("model", "whisper-1"),
        ("prompt", "line one\r\n\tline two: ü 😀 --test-boundar"),
        ("include[]", "second"),
        ("known_speaker_references[]", "data:audio/wav;base64," + "A" * 300_000),
        ("empty", ""),
    ]
    behind = [("x-vendor", "2"), ("temperature", "0"), ("include[]", "third")]
    parts = [Part(name, value.encode()) for name, value in before]
    parts += [Part("file", CLIP, "clip.wav"), *(Part(name, value.encode()) for name, value in behind)]
    assert post(gateway, parts).status == 200
    sent = upstream.journal[0].form()
    assert [(part.name, part.data) for part in sent] == [(part.name, part.data) for part in parts]


def test_fields_after_a_file_that_precedes_the_model(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    parts = [
        Part("language", b"en"),
        Part("file", CLIP, "clip.wav", "audio/x-wav"),
        Part("x-vendor", b"1"),
        Part("model", b"whisper-1"),
        Part("x-vendor", b"2"),
    ]
    assert post(gateway, parts).status == 200
    sent = upstream.journal[0].form()
    assert [(part.name, part.data) for part in sent] == [(part.name, part.data) for part in parts]
    assert sent[1].content_type == "audio/wav"


# -- other settings of the upstream -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_gateway(
    shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that renames a model, sends the key without a scheme, and every body with its length."""
    models = """
[[models]]
id = "speech"
tasks = ["transcribe", "translate"]
upstream_model = "vendor/whisper-1"
price = "free"
"""
    about_upstream = """
auth_scheme = "none"
framing = "length"
transcriptions_path = "/speech/transcriptions"
translations_path = "/speech/translations"
"""
    folder = tmp_path_factory.mktemp("plain")
    with GatewayProcess(folder, shared_upstream.base_url, models, about_upstream) as process:
        yield process


def test_a_model_is_renamed_upstream(plain_gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    told = sdk(plain_gateway).audio.transcriptions.create(file=CLIP, model="speech")
    assert told.text == "hello"
    assert upstream.journal[0].field("model") == "vendor/whisper-1"
    row = plain_gateway.row(told._request_id or "")
    assert (row["model"], row["upstream_model"], row["upstream"]) == ("speech", "vendor/whisper-1", "scripted")


def test_a_key_without_a_scheme_and_custom_upstream_paths(
    plain_gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    assert post(plain_gateway, form("speech")).status == 200
    assert post(plain_gateway, form("speech"), TRANSLATIONS).status == 200
    first, second = upstream.journal
    assert (first.path, second.path) == ("/v1/speech/transcriptions", "/v1/speech/translations")
    assert first.header("authorization") == PROVIDER_KEY


@pytest.mark.parametrize("file_first", [False, True], ids=["file last", "file first"])
def test_length_framing_sends_the_same_form(
    plain_gateway: GatewayProcess, upstream: ScriptedUpstream, file_first: bool
) -> None:
    audio = make("wav", "pcm_s16le", 30)
    parts = [Part("model", b"speech"), Part("file", audio, "clip"), Part("include[]", b"a"), Part("include[]", b"b")]
    if file_first:
        parts.insert(0, parts.pop(1))
    with connect(plain_gateway) as caller:
        caller.send(post_bytes(plain_gateway, multipart(parts)))
        answer = caller.read_response()
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    (exchange,) = upstream.journal
    assert exchange.header("content-length") == str(exchange.size)
    assert exchange.header("transfer-encoding") is None
    assert [part.name for part in exchange.form()] == [part.name for part in parts]
    assert exchange.file.data == audio
    assert exchange.fields("include[]") == ["a", "b"]


def test_length_framing_sends_nothing_of_a_truncated_form(
    plain_gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with connect(plain_gateway) as caller:
        caller.send(post_bytes(plain_gateway, multipart(form("speech"), closing=False)))
        answer = caller.read_response()
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_multipart")
    assert upstream.journal == []
    assert plain_gateway.row(request_id(answer))["state"] == "released"


def test_a_row_stores_no_unneeded_text_of_the_caller(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("hello"))
    answer = post(gateway, form(fields=[("response_format", "x" * 100_000)]))
    assert answer.status == 200
    assert gateway.row(request_id(answer))["response_format"] == "other"
    assert len(str(gateway.wait_for_log(request_id(answer)))) < 2_000
