"""Writes a transcript in the response formats of OpenAI's API. Pure.

json is `{text, usage}`; verbose_json is `{task, language, duration, text, segments?, words?, usage}`; text, srt and vtt
are plain text. `usage` is `{"type": "duration", "seconds": float}`; plain text and translations have none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.demo.engine.transcript import Segment, Transcript, Word, joined

Task = Literal["transcribe", "translate"]
LANGUAGE = "english"


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The requested output: `response_format` is a key of `FORMATS`; `granularities` are of `word` and `segment`."""

    task: Task = "transcribe"
    response_format: str = "json"
    granularities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A response body and its content type."""

    body: str
    media_type: str


def render(transcript: Transcript, output: OutputFormat) -> Rendered:
    return FORMATS[output.response_format](transcript, output)


def usage(seconds: float) -> dict[str, object]:
    return {"type": "duration", "seconds": round(seconds, 3)}


def delta_frame(words: tuple[Word, ...], *, first: bool) -> str:
    """An SSE frame with new words. All deltas of a response joined are the text of its `done` frame."""
    delta = joined(words) if first else " " + joined(words)
    return sse_frame({"type": "transcript.text.delta", "delta": delta})


def done_frame(transcript: Transcript) -> str:
    done = {"type": "transcript.text.done", "text": transcript.text, "usage": usage(transcript.seconds)}
    return sse_frame(done)


def sse_frame(event: Mapping[str, object]) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _json(transcript: Transcript, output: OutputFormat) -> Rendered:
    return _as_json({"text": transcript.text}, transcript, output)


def _verbose_json(transcript: Transcript, output: OutputFormat) -> Rendered:
    body: dict[str, Any] = {
        "task": output.task,
        "language": LANGUAGE,
        "duration": round(transcript.seconds, 3),
        "text": transcript.text,
    }
    if "segment" in output.granularities or not output.granularities:
        body["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments())]
    if "word" in output.granularities:
        body["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in transcript.words]
    return _as_json(body, transcript, output)


def _segment(number: int, segment: Segment) -> dict[str, object]:
    # Clients require the last six fields; PocketSphinx has no counterpart, so they have neutral values.
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


def _as_json(body: dict[str, Any], transcript: Transcript, output: OutputFormat) -> Rendered:
    if output.task == "transcribe":
        body["usage"] = usage(transcript.seconds)
    return Rendered(json.dumps(body), "application/json")


def _text(transcript: Transcript, output: OutputFormat) -> Rendered:
    return Rendered(transcript.text + "\n", "text/plain")


def _srt(transcript: Transcript, output: OutputFormat) -> Rendered:
    cues = [f"{number}\n{_span(cue, ',')}\n{cue.text}\n\n" for number, cue in enumerate(transcript.segments(), start=1)]
    return Rendered("".join(cues), "text/plain")


def _vtt(transcript: Transcript, output: OutputFormat) -> Rendered:
    cues = [f"{_span(cue, '.')}\n{cue.text}\n\n" for cue in transcript.segments()]
    return Rendered("WEBVTT\n\n" + "".join(cues), "text/vtt")


def _span(segment: Segment, mark: str) -> str:
    return f"{timestamp(segment.start, mark)} --> {timestamp(segment.end, mark)}"


def timestamp(seconds: float, mark: str) -> str:
    """`HH:MM:SS,mmm`, with `mark` before the milliseconds: a comma in SubRip, a full stop in WebVTT."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"


FORMATS: Mapping[str, Callable[[Transcript, OutputFormat], Rendered]] = {
    "json": _json,
    "text": _text,
    "srt": _srt,
    "vtt": _vtt,
    "verbose_json": _verbose_json,
}
