"""The engine as a process, through the OpenAI SDK and httpx."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from app.demo import SAMPLE
from tests.demo.clips import ENCODINGS, SECONDS, WORDS, clip, silence
from tests.demo.engine.process import KEY, EngineProcess

MODEL = "gpt-4o-mini-transcribe"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}


def post(engine: str, file: bytes, **fields: str) -> httpx.Response:
    files = {"file": ("clip", file)}
    return httpx.post(
        f"{engine}/audio/transcriptions", headers=AUTHORIZED, data={"model": MODEL, **fields}, files=files
    )


def test_json(sdk: OpenAI) -> None:
    response = sdk.audio.transcriptions.create(model=MODEL, file=SAMPLE)
    assert response.text == WORDS
    assert response.usage is not None
    assert response.usage.type == "duration"
    assert response.usage.seconds == pytest.approx(SECONDS, abs=0.05)


def test_verbose_json_with_words_and_segments(sdk: OpenAI) -> None:
    response = sdk.audio.transcriptions.create(
        model="whisper-1", file=SAMPLE, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (response.text, response.language) == (WORDS, "english")
    assert response.duration == pytest.approx(SECONDS, abs=0.05)
    assert response.usage is not None
    assert response.usage.seconds == response.duration
    assert [word.word for word in response.words or []] == WORDS.split()
    assert all(0 <= word.start < word.end <= response.duration for word in response.words or [])
    assert " ".join(segment.text for segment in response.segments or []) == WORDS


def test_text_srt_and_vtt(sdk: OpenAI) -> None:
    assert sdk.audio.transcriptions.create(model="whisper-1", file=SAMPLE, response_format="text") == WORDS + "\n"
    srt = sdk.audio.transcriptions.create(model="whisper-1", file=SAMPLE, response_format="srt")
    assert srt.startswith("1\n00:00:00,")
    vtt = sdk.audio.transcriptions.create(model="whisper-1", file=SAMPLE, response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.")
    for subtitles in (srt, vtt):
        assert [line for line in subtitles.splitlines() if line[:1].isalpha() and line != "WEBVTT"] == [WORDS]


@pytest.mark.parametrize(
    ("response_format", "content_type"),
    [
        ("json", "application/json"),
        ("verbose_json", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("srt", "text/plain; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
    ],
)
def test_content_types_and_headers(engine: str, response_format: str, content_type: str) -> None:
    response = post(engine, silence(0.5), response_format=response_format)
    assert response.headers["content-type"] == content_type
    assert response.headers["x-request-id"].startswith("req_")
    assert int(response.headers["openai-processing-ms"]) >= 0


# The SDK calls translations deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_translation_is_english_into_english(sdk: OpenAI) -> None:
    assert sdk.audio.translations.create(model="whisper-1", file=SAMPLE).text == WORDS
    verbose = sdk.audio.translations.create(
        model="whisper-1", file=("silence.wav", silence(1)), response_format="verbose_json"
    )
    assert (verbose.text, verbose.language, verbose.duration) == ("", "english", 1.0)


def test_a_stream_sends_deltas_that_add_up_to_the_text(sdk: OpenAI) -> None:
    deltas: list[str] = []
    for event in sdk.audio.transcriptions.create(model=MODEL, file=SAMPLE, stream=True):
        if isinstance(event, TranscriptionTextDeltaEvent):
            deltas.append(event.delta)
    assert isinstance(event, TranscriptionTextDoneEvent)
    assert "".join(deltas) == event.text == WORDS
    assert len(deltas) > 3


def test_the_stream_is_server_sent_events_and_ends_with_usage(engine: str) -> None:
    response = post(engine, SAMPLE.read_bytes(), stream="true")
    assert response.headers["content-type"].startswith("text/event-stream")
    *_, last, rest = response.text.split("\n\n")
    assert rest == ""
    done = json.loads(last.removeprefix("data: "))
    assert done["type"] == "transcript.text.done"
    assert done["usage"] == {"type": "duration", "seconds": pytest.approx(SECONDS, abs=0.05)}


@pytest.mark.parametrize("extension", ENCODINGS)
def test_each_container_is_transcribed(sdk: OpenAI, extension: str) -> None:
    response = sdk.audio.transcriptions.create(model=MODEL, file=(f"clip.{extension}", clip(extension)))
    assert response.text == WORDS


def test_silence_is_an_empty_text(sdk: OpenAI) -> None:
    assert sdk.audio.transcriptions.create(model=MODEL, file=("silence.wav", silence(1))).text == ""
    events = list(sdk.audio.transcriptions.create(model=MODEL, file=("silence.wav", silence(1)), stream=True))
    assert [event.type for event in events] == ["transcript.text.done"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_file_without_audio_is_a_bad_request(sdk: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.audio.transcriptions.create(model=MODEL, file=("a.wav", b"no audio" * 100), stream=stream)
    assert (raised.value.param, raised.value.code) == ("file", "invalid_file_format")
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id is not None


def test_a_wrong_key_is_unauthorized(engine: str) -> None:
    stranger = OpenAI(base_url=engine, api_key="another-key", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as raised:
        stranger.audio.transcriptions.create(model=MODEL, file=SAMPLE)
    assert raised.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"timestamp_granularities[]": "letter"}, "timestamp_granularities[]"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
def test_an_invalid_field_is_named(engine: str, fields: dict[str, str], param: str) -> None:
    response = post(engine, silence(0.5), **fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_a_form_without_a_file_is_a_bad_request(engine: str) -> None:
    response = httpx.post(f"{engine}/audio/transcriptions", headers=AUTHORIZED, data={"model": MODEL})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "file"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/audio/transcriptions", 405)]
)
def test_unknown_paths_and_methods_get_the_error_envelope(engine: str, method: str, path: str, status: int) -> None:
    response = httpx.request(method, engine + path, headers=AUTHORIZED)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.headers["x-request-id"]


def test_models(sdk: OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["pocketsphinx-en-us"]


def test_more_requests_than_threads_are_all_answered(sdk: OpenAI) -> None:
    def text(_: int) -> str:
        return sdk.audio.transcriptions.create(model=MODEL, file=io.BytesIO(SAMPLE.read_bytes())).text

    with ThreadPoolExecutor(3) as callers:
        assert list(callers.map(text, range(3))) == [WORDS] * 3


def test_clients_that_disconnect_mid_stream_block_no_other(engine: str, sdk: OpenAI) -> None:
    long = {"file": ("long.mp3", clip("mp3") * 60)}
    for _ in range(3):
        fields = {"model": MODEL, "stream": "true"}
        with httpx.stream(
            "POST", f"{engine}/audio/transcriptions", headers=AUTHORIZED, data=fields, files=long
        ) as response:
            assert "delta" in next(response.iter_lines())
    # One of them transcribed to its end would take longer than this.
    assert sdk.with_options(timeout=30).audio.transcriptions.create(model=MODEL, file=SAMPLE).text == WORDS


def test_an_engine_without_a_key_requires_none() -> None:
    with EngineProcess() as process:
        assert httpx.get(f"{process.base_url}/models").status_code == 200
