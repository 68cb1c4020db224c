"""A transcript in the shapes that OpenAI's API answers with. Pure; knows `transcript` alone.

Shapes: json `{text, usage}`; verbose_json `{task, language, duration, text, segments?, words?, usage}`; text, srt and
vtt are plain text and tell no usage; neither does any translation. Usage is `{"type": "duration", "seconds": float}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.demo.transcript import Segment, Transcript, Word, joined

Task = Literal["transcribe", "translate"]
LANGUAGE = "english"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller asked for: `response_format` is a key of `FORMATS`, `granularities` of `word` and `segment`."""

    task: Task = "transcribe"
    response_format: str = "json"
    granularities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body and its content type."""

    body: str
    media_type: str


def render(transcript: Transcript, wanted: Wanted) -> Rendered:
    return FORMATS[wanted.response_format](transcript, wanted)


def usage(seconds: float) -> dict[str, object]:
    return {"type": "duration", "seconds": round(seconds, 3)}


def delta_frame(words: tuple[Word, ...], *, first: bool) -> str:
    """An SSE frame with new words; the deltas of an answer, put together, are the text of its `done`."""
    delta = joined(words) if first else " " + joined(words)
    return sse_frame({"type": "transcript.text.delta", "delta": delta})


def done_frame(transcript: Transcript) -> str:
    done = {"type": "transcript.text.done", "text": transcript.text, "usage": usage(transcript.seconds)}
    return sse_frame(done)


def sse_frame(event: Mapping[str, object]) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _json(transcript: Transcript, wanted: Wanted) -> Rendered:
    return _as_json({"text": transcript.text}, transcript, wanted)


def _verbose_json(transcript: Transcript, wanted: Wanted) -> Rendered:
    body: dict[str, Any] = {
        "task": wanted.task,
        "language": LANGUAGE,
        "duration": round(transcript.seconds, 3),
        "text": transcript.text,
    }
    if "segment" in wanted.granularities or not wanted.granularities:
        body["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments())]
    if "word" in wanted.granularities:
        body["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in transcript.words]
    return _as_json(body, transcript, wanted)


def _segment(number: int, segment: Segment) -> dict[str, object]:
    # Clients require the last six fields; what PocketSphinx has no counterpart of stays at a neutral value.
    return {
        "id": number,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "seek": 0,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def _as_json(body: dict[str, Any], transcript: Transcript, wanted: Wanted) -> Rendered:
    if wanted.task == "transcribe":
        body["usage"] = usage(transcript.seconds)
    return Rendered(json.dumps(body), "application/json")


def _text(transcript: Transcript, wanted: Wanted) -> Rendered:
    return Rendered(transcript.text + "\n", "text/plain")


def _srt(transcript: Transcript, wanted: Wanted) -> Rendered:
    cues = [f"{number}\n{_span(cue, ',')}\n{cue.text}\n\n" for number, cue in enumerate(transcript.segments(), start=1)]
    return Rendered("".join(cues), "text/plain")


def _vtt(transcript: Transcript, wanted: Wanted) -> Rendered:
    cues = [f"{_span(cue, '.')}\n{cue.text}\n\n" for cue in transcript.segments()]
    return Rendered("WEBVTT\n\n" + "".join(cues), "text/vtt")


def _span(segment: Segment, mark: str) -> str:
    return f"{timestamp(segment.start, mark)} --> {timestamp(segment.end, mark)}"


def timestamp(seconds: float, mark: str) -> str:
    """`HH:MM:SS,mmm`, with `mark` before the milliseconds: a comma in SubRip, a point in WebVTT."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"


FORMATS: Mapping[str, Callable[[Transcript, Wanted], Rendered]] = {
    "json": _json,
    "text": _text,
    "srt": _srt,
    "vtt": _vtt,
    "verbose_json": _verbose_json,
}
