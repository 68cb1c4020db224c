"""What an answer tells of its usage: a JSON body, or the last event of a stream. Anything that does not fit is None.

    usage = {"type": "tokens", "input_tokens", "output_tokens", "total_tokens",
             "input_token_details"?: {"audio_tokens"?, "text_tokens"?}}
          | {"type": "duration", "seconds"}

and, for want of it, the `duration` in seconds that verbose_json and diarized_json have at their top.
Source: https://platform.openai.com/docs/api-reference/audio/json-object
"""

import json
import math

from app.units import Tokens, Usage, to_ms
from app.wire.sse import Event

DONE_TYPE = "transcript.text.done"

# A year of audio; ten thousand million tokens. Above these a number is a fault of the provider's, not a usage.
_MOST_SECONDS = 366 * 86_400
_MOST_TOKENS = 10_000_000_000

# What takes long about an event is not its length but its parts. Reading so many takes 50 ms, on the event loop.
_MOST_PARTS = 500_000
_PARTS = (b"data:", b",", b"[", b"{")
_MOST_MARKER_BYTES = 1024


# A document takes some 60 bytes of memory for each of its values, which take a hostile provider two bytes to write.
_SMALL_BYTES = 1024 * 1024
_MOST_VALUES = 3_000_000


class NotJson(ValueError):
    """The bytes are no JSON document."""


def document(body: bytes) -> object:
    """The JSON document in these bytes; NotJson for anything else, nesting and values without end included.

    A byte that is not UTF-8 becomes U+FFFD: some engines cut a character in two at the end of a segment.
    """
    if len(body) > _SMALL_BYTES and sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise NotJson
    try:
        try:
            return json.loads(body)
        except UnicodeDecodeError:
            return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise NotJson from error


def document_of(event: Event) -> object:
    """The JSON document that an event carries; NotJson also for one of too many parts."""
    if len(event.raw) > _MOST_PARTS and sum(map(event.raw.count, _PARTS)) > _MOST_PARTS:
        raise NotJson
    return document(event.data)


def usage_of(answer: object) -> Usage | None:
    """The usage that an answer's JSON document tells, or None."""
    if not isinstance(answer, dict):
        return None
    told = answer.get("usage")
    usage = _tokens(told) or _duration(told.get("seconds")) if isinstance(told, dict) else None
    return usage or _duration(answer.get("duration"))


def closing_answer(event: Event) -> dict[str, object] | None:
    """The document of a `transcript.text.done` event; None for every other event."""
    if DONE_TYPE.encode() not in event.raw:
        return None
    try:
        answer = document_of(event)
    except NotJson:
        return None
    return answer if isinstance(answer, dict) and answer.get("type") == DONE_TYPE else None


def is_end_marker(event: Event) -> bool:
    """Whether this is the `data: [DONE]` that some providers send last."""
    raw = event.raw
    return b"[DONE]" in raw and len(raw) <= _MOST_MARKER_BYTES and event.data.strip() == b"[DONE]"


def _tokens(told: dict[str, object]) -> Usage | None:
    given, made = _count(told.get("input_tokens")), _count(told.get("output_tokens"))
    if given is None or made is None:
        return None
    total = _count(told.get("total_tokens")) or 0
    details = told.get("input_token_details")
    details = details if isinstance(details, dict) else {}
    return Usage(
        tokens=Tokens(
            input=given,
            output=made,
            total=max(total, given + made),
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
    if not math.isfinite(length) or not 0 <= length <= _MOST_SECONDS:
        return None
    return Usage(audio=to_ms(length))


def _count(number: object) -> int | None:
    return number if type(number) is int and 0 <= number <= _MOST_TOKENS else None
