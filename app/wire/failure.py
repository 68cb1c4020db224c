"""Recognises errors in responses with a success status: one rule, for bodies and for events.

A JSON object is an error if it names one and holds no transcript:

    error, errors                   not empty, and `text` is empty
    detail, message, code, ...      not empty, and every field that a transcript has is empty

An event is an error if its name or its `type` says so, or if its data is such an object. Everything else, such as an
unknown shape, counts as a transcript: the provider may bill it.
"""

import re

from app.wire.sse import Event
from app.wire.usage import NotJson, document_of

_TRANSCRIPT_FIELDS = (
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
_ERROR_FIELDS = (
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

_TRANSCRIPT_EVENT = re.compile(rb'"type": ?"transcript\.text\.(?:delta|segment|done)"')
_EVENT_NAME = re.compile(rb"(?:^|[\r\n])event: ?([^\r\n]{0,256})")
_FAILURE_NAME = re.compile(r"(?:.*[._-])?(?:error|failed|failure)", re.IGNORECASE)


def is_error(document: object) -> bool:
    """Whether a JSON document with a success status is an error."""
    if not isinstance(document, dict):
        return False
    if document.get("error") or document.get("errors"):
        return not document.get("text")
    if document.get("text") is not None:
        return False
    fields = {name.lower(): value for name, value in document.items()}
    if any(fields.get(name) for name in _TRANSCRIPT_FIELDS):
        return False
    return fields.get("success") is False or _has_failed(fields) or any(fields.get(name) for name in _ERROR_FIELDS)


def is_failure_event(event: Event) -> bool:
    """Whether an event reports that the transcription failed."""
    raw = event.raw
    if _TRANSCRIPT_EVENT.search(raw):
        return False
    name = _EVENT_NAME.search(raw)
    if name is not None and _FAILURE_NAME.fullmatch(name[1].decode("latin-1").strip()):
        return True
    if b"{" not in raw:
        return False
    try:
        data = document_of(event)
    except NotJson:
        return False
    if not isinstance(data, dict):
        return False
    kind = data.get("type")
    if isinstance(kind, str) and not data.get("error"):
        return _FAILURE_NAME.fullmatch(kind) is not None or _has_failed(data)
    return is_error(data)


def is_error_event(event: Event) -> bool:
    """Whether this is a `data: {"error": ...}` event, for which the SDKs raise an exception."""
    if b'"error"' not in event.raw:
        return False
    try:
        data = document_of(event)
    except NotJson:
        return False
    return isinstance(data, dict) and bool(data.get("error"))


def _has_failed(fields: dict[str, object]) -> bool:
    status = fields.get("status")
    return isinstance(status, str) and status.lower() in _FAILED
