"""Whether what comes with the status of a success is an error all the same: one rule, for bodies and for events.

An object is an error if it names one and holds no transcript:

    error, errors                   anything in them, and no words in `text`
    detail, message, code, ...      anything in them, and nothing under any name that a transcript has

An event is one if its name or its `type` says so, or if its data is such an object. What is neither, such as a shape
that is not known yet, counts as a transcript: it may have been paid for.
"""

import re

from app.wire.sse import Event
from app.wire.usage import NotJson, document_of

_TRANSCRIPTS = (
    "text",
    "transcript",
    "transcription",
    "segments",
    "words",
    "chunks",
    "utterances",
    "results",
    "result",
    "data",
    "output",
    "delta",
)
_ERRORS = (
    "error",
    "errors",
    "detail",
    "details",
    "message",
    "msg",
    "title",
    "code",
    "err_code",
    "err_msg",
    "err_no",
    "error_code",
    "error_message",
    "error_msg",
)
_FAILED = frozenset({"error", "failed", "failure"})

_PART_OF_A_TRANSCRIPT = re.compile(rb'"type": ?"transcript\.text\.(?:delta|segment|done)"')
_NAME = re.compile(rb"(?:^|[\r\n])event: ?([^\r\n]{0,256})")
_NAME_OF_A_FAILURE = re.compile(r"(?:.*[._-])?(?:error|failed|failure)", re.IGNORECASE)


def is_error(document: object) -> bool:
    """Whether the JSON document of a success is an error."""
    if not isinstance(document, dict):
        return False
    if document.get("error") or document.get("errors"):
        return not document.get("text")
    if document.get("text") is not None:
        return False
    named = {name.lower(): value for name, value in document.items()}
    if any(named.get(name) for name in _TRANSCRIPTS):
        return False
    return named.get("success") is False or _has_failed(named) or any(named.get(name) for name in _ERRORS)


def is_failure_event(event: Event) -> bool:
    """Whether an event says that the transcript has failed."""
    raw = event.raw
    if _PART_OF_A_TRANSCRIPT.search(raw):
        return False
    name = _NAME.search(raw)
    if name is not None and _NAME_OF_A_FAILURE.fullmatch(name[1].decode("latin-1").strip()):
        return True
    if b"{" not in raw:
        return False
    try:
        told = document_of(event)
    except NotJson:
        return False
    if not isinstance(told, dict):
        return False
    kind = told.get("type")
    if isinstance(kind, str) and not told.get("error"):
        return _NAME_OF_A_FAILURE.fullmatch(kind) is not None or _has_failed(told)
    return is_error(told)


def is_error_event(event: Event) -> bool:
    """Whether this is a `data: {"error": ...}` event, on which the SDKs raise."""
    if b'"error"' not in event.raw:
        return False
    try:
        told = document_of(event)
    except NotJson:
        return False
    return isinstance(told, dict) and bool(told.get("error"))


def _has_failed(told: dict[str, object]) -> bool:
    status = told.get("status")
    return isinstance(status, str) and status.lower() in _FAILED
