"""Reads the usage that a response reports, in a JSON body or in the last event of a stream. Any other shape is None.

    usage = {"type": "tokens", "input_tokens", "output_tokens", "total_tokens",
             "input_token_details"?: {"audio_tokens"?, "text_tokens"?}}
          | {"type": "duration", "seconds"}

Without it, the top-level `duration` in seconds of verbose_json and diarized_json counts.
Source: https://platform.openai.com/docs/api-reference/audio/json-object
"""

import json
import math

from app.units import Tokens, Usage, to_ms
from app.wire.sse import Event

DONE_TYPE = "transcript.text.done"

# A year of audio; ten thousand million tokens. Larger numbers are provider errors, not usage.
_MAX_SECONDS = 366 * 86_400
_MAX_TOKENS = 10_000_000_000

# The parts of an event cost more than its length. Reading this many takes 50 ms on the event loop.
_MAX_PARTS = 500_000
_PARTS = (b"data:", b",", b"[", b"{")
_MAX_MARKER_BYTES = 1024

# A document takes about 60 bytes of memory for each value; a hostile provider writes a value in two bytes.
_SMALL_BYTES = 1024 * 1024
_MAX_VALUES = 3_000_000


class NotJson(ValueError):
    """The bytes are not a JSON document."""


def document(body: bytes) -> object:
    """The JSON document in these bytes; raises NotJson for anything else, and for too much nesting or too many values.

    Bytes that are not UTF-8 become U+FFFD: some engines split a character at the end of a segment.
    """
    if len(body) > _SMALL_BYTES and sum(map(body.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise NotJson
    try:
        try:
            return json.loads(body)
        except UnicodeDecodeError:
            return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise NotJson from error


def document_of(event: Event) -> object:
    """The JSON document in an event; raises NotJson also for an event with too many parts."""
    if len(event.raw) > _MAX_PARTS and sum(map(event.raw.count, _PARTS)) > _MAX_PARTS:
        raise NotJson
    return document(event.data)


def usage_of(response: object) -> Usage | None:
    """The usage that a response's JSON document reports, or None."""
    if not isinstance(response, dict):
        return None
    reported = response.get("usage")
    usage = _tokens(reported) or _duration(reported.get("seconds")) if isinstance(reported, dict) else None
    return usage or _duration(response.get("duration"))


def final_document(event: Event) -> dict[str, object] | None:
    """The JSON document of a `transcript.text.done` event; None for every other event."""
    if DONE_TYPE.encode() not in event.raw:
        return None
    try:
        final = document_of(event)
    except NotJson:
        return None
    return final if isinstance(final, dict) and final.get("type") == DONE_TYPE else None


def is_end_marker(event: Event) -> bool:
    """Whether this is the `data: [DONE]` event that some providers send last."""
    raw = event.raw
    return b"[DONE]" in raw and len(raw) <= _MAX_MARKER_BYTES and event.data.strip() == b"[DONE]"


def _tokens(usage: dict[str, object]) -> Usage | None:
    input_tokens, output_tokens = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if input_tokens is None or output_tokens is None:
        return None
    total = _count(usage.get("total_tokens")) or 0
    details = usage.get("input_token_details")
    details = details if isinstance(details, dict) else {}
    return Usage(
        tokens=Tokens(
            input=input_tokens,
            output=output_tokens,
            total=max(total, input_tokens + output_tokens),
            audio=_count(details.get("audio_tokens")),
            text=_count(details.get("text_tokens")),
        )
    )


def _duration(seconds: object) -> Usage | None:
    if not isinstance(seconds, int | float | str) or isinstance(seconds, bool):
        return None
    try:
        length = float(seconds)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(length) or not 0 <= length <= _MAX_SECONDS:
        return None
    return Usage(audio=to_ms(length))


def _count(number: object) -> int | None:
    return number if type(number) is int and 0 <= number <= _MAX_TOKENS else None
