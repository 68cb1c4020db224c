import json

import pytest

from app.demo.engine.formats import OutputFormat, delta_frame, done_frame, render, timestamp
from app.demo.engine.transcript import Transcript, Word

HELLO = Word("hello", 0.12, 0.64)
WORLD = Word("world", 0.7, 1.1)
AGAIN = Word("again", 3661.0, 3661.5)
SPEECH = Transcript((HELLO, WORLD, AGAIN), 3662.00049)
SILENCE = Transcript((), 2.0)


def body(transcript: Transcript, output: OutputFormat) -> dict[str, object]:
    rendered = render(transcript, output)
    assert rendered.media_type == "application/json"
    document: dict[str, object] = json.loads(rendered.body)
    return document


def test_json_is_text_and_usage() -> None:
    usage = {"type": "duration", "seconds": 3662.0}
    assert body(SPEECH, OutputFormat()) == {"text": "hello world again", "usage": usage}
    assert body(SILENCE, OutputFormat()) == {"text": "", "usage": {"type": "duration", "seconds": 2.0}}


def test_a_translation_has_no_usage() -> None:
    assert body(SPEECH, OutputFormat("translate")) == {"text": "hello world again"}
    assert "usage" not in body(SPEECH, OutputFormat("translate", "verbose_json"))


@pytest.mark.parametrize(
    ("granularities", "present"),
    [
        ((), {"segments"}),
        (("segment",), {"segments"}),
        (("word",), {"words"}),
        (("word", "segment"), {"segments", "words"}),
    ],
)
def test_verbose_json_has_the_requested_timestamps(granularities: tuple[str, ...], present: set[str]) -> None:
    document = body(SPEECH, OutputFormat("transcribe", "verbose_json", frozenset(granularities)))
    assert {"segments", "words"} & document.keys() == present
    assert document["task"] == "transcribe"
    assert document["language"] == "english"
    assert document["duration"] == 3662.0
    assert document["usage"] == {"type": "duration", "seconds": 3662.0}


def test_verbose_json_words_and_segments() -> None:
    document = body(SPEECH, OutputFormat("transcribe", "verbose_json", frozenset({"word", "segment"})))
    assert document["words"] == [
        {"word": "hello", "start": 0.12, "end": 0.64},
        {"word": "world", "start": 0.7, "end": 1.1},
        {"word": "again", "start": 3661.0, "end": 3661.5},
    ]
    segments = document["segments"]
    assert isinstance(segments, list)
    assert [(segment["id"], segment["start"], segment["end"], segment["text"]) for segment in segments] == [
        (0, 0.12, 1.1, "hello world"),
        (1, 3661.0, 3661.5, "again"),
    ]


def test_text() -> None:
    rendered = render(SPEECH, OutputFormat("transcribe", "text"))
    assert (rendered.body, rendered.media_type) == ("hello world again\n", "text/plain")


def test_srt() -> None:
    rendered = render(SPEECH, OutputFormat("transcribe", "srt"))
    assert rendered.media_type == "text/plain"
    assert rendered.body == (
        "1\n00:00:00,120 --> 00:00:01,100\nhello world\n\n2\n01:01:01,000 --> 01:01:01,500\nagain\n\n"
    )


def test_vtt() -> None:
    rendered = render(SPEECH, OutputFormat("transcribe", "vtt"))
    assert rendered.media_type == "text/vtt"
    assert rendered.body == (
        "WEBVTT\n\n00:00:00.120 --> 00:00:01.100\nhello world\n\n01:01:01.000 --> 01:01:01.500\nagain\n\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "00:00:00,000"), (59.9996, "00:01:00,000"), (3599.9994, "00:59:59,999"), (360_000.0, "100:00:00,000")],
)
def test_timestamp(seconds: float, text: str) -> None:
    assert timestamp(seconds, ",") == text


def test_joined_delta_frames_are_the_text_of_the_done_frame() -> None:
    frames = [delta_frame((HELLO,), first=True), delta_frame((WORLD, AGAIN), first=False), done_frame(SPEECH)]
    assert all(frame.startswith("data: ") and frame.endswith("\n\n") for frame in frames)
    first, second, done = (json.loads(frame.removeprefix("data: ")) for frame in frames)
    assert first["type"] == second["type"] == "transcript.text.delta"
    assert done["type"] == "transcript.text.done"
    assert first["delta"] + second["delta"] == done["text"] == "hello world again"
    assert done["usage"] == {"type": "duration", "seconds": 3662.0}
