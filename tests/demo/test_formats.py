import json

import pytest

from app.demo.formats import Wanted, delta_frame, done_frame, render, timestamp
from app.demo.transcript import Transcript, Word

HELLO = Word("hello", 0.12, 0.64)
WORLD = Word("world", 0.7, 1.1)
AGAIN = Word("again", 3661.0, 3661.5)
HEARD = Transcript((HELLO, WORLD, AGAIN), 3662.00049)
SILENCE = Transcript((), 2.0)


def body(transcript: Transcript, wanted: Wanted) -> dict[str, object]:
    rendered = render(transcript, wanted)
    assert rendered.media_type == "application/json"
    answer: dict[str, object] = json.loads(rendered.body)
    return answer


def test_json_is_text_and_usage() -> None:
    usage = {"type": "duration", "seconds": 3662.0}
    assert body(HEARD, Wanted()) == {"text": "hello world again", "usage": usage}
    assert body(SILENCE, Wanted()) == {"text": "", "usage": {"type": "duration", "seconds": 2.0}}


def test_a_translation_tells_no_usage() -> None:
    assert body(HEARD, Wanted("translate")) == {"text": "hello world again"}
    assert "usage" not in body(HEARD, Wanted("translate", "verbose_json"))


@pytest.mark.parametrize(
    ("granularities", "present"),
    [
        ((), {"segments"}),
        (("segment",), {"segments"}),
        (("word",), {"words"}),
        (("word", "segment"), {"segments", "words"}),
    ],
)
def test_verbose_json_has_the_times_that_were_asked_for(granularities: tuple[str, ...], present: set[str]) -> None:
    answer = body(HEARD, Wanted("transcribe", "verbose_json", frozenset(granularities)))
    assert {"segments", "words"} & answer.keys() == present
    assert answer["task"] == "transcribe"
    assert answer["language"] == "english"
    assert answer["duration"] == 3662.0
    assert answer["usage"] == {"type": "duration", "seconds": 3662.0}


def test_verbose_json_words_and_segments() -> None:
    answer = body(HEARD, Wanted("transcribe", "verbose_json", frozenset({"word", "segment"})))
    assert answer["words"] == [
        {"word": "hello", "start": 0.12, "end": 0.64},
        {"word": "world", "start": 0.7, "end": 1.1},
        {"word": "again", "start": 3661.0, "end": 3661.5},
    ]
    segments = answer["segments"]
    assert isinstance(segments, list)
    assert [(segment["id"], segment["start"], segment["end"], segment["text"]) for segment in segments] == [
        (0, 0.12, 1.1, "hello world"),
        (1, 3661.0, 3661.5, "again"),
    ]


def test_text() -> None:
    rendered = render(HEARD, Wanted("transcribe", "text"))
    assert (rendered.body, rendered.media_type) == ("hello world again\n", "text/plain")


def test_srt() -> None:
    rendered = render(HEARD, Wanted("transcribe", "srt"))
    assert rendered.media_type == "text/plain"
    assert rendered.body == (
        "1\n00:00:00,120 --> 00:00:01,100\nhello world\n\n2\n01:01:01,000 --> 01:01:01,500\nagain\n\n"
    )


def test_vtt() -> None:
    rendered = render(HEARD, Wanted("transcribe", "vtt"))
    assert rendered.media_type == "text/vtt"
    assert rendered.body == (
        "WEBVTT\n\n00:00:00.120 --> 00:00:01.100\nhello world\n\n01:01:01.000 --> 01:01:01.500\nagain\n\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "00:00:00,000"), (59.9996, "00:01:00,000"), (3599.9994, "00:59:59,999"), (360_000.0, "100:00:00,000")],
)
def test_timestamp(seconds: float, shown: str) -> None:
    assert timestamp(seconds, ",") == shown


def test_delta_frames_put_together_are_the_text_of_the_done_frame() -> None:
    frames = [delta_frame((HELLO,), first=True), delta_frame((WORLD, AGAIN), first=False), done_frame(HEARD)]
    assert all(frame.startswith("data: ") and frame.endswith("\n\n") for frame in frames)
    first, second, done = (json.loads(frame.removeprefix("data: ")) for frame in frames)
    assert first["type"] == second["type"] == "transcript.text.delta"
    assert done["type"] == "transcript.text.done"
    assert first["delta"] + second["delta"] == done["text"] == "hello world again"
    assert done["usage"] == {"type": "duration", "seconds": 3662.0}
