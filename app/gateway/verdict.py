"""What the provider's answer means for the caller: one map from its status, headers and body to ours. Pure.

    2xx, readable                   passed on
    2xx, unreadable                 502 upstream_bad_response, may have billed
    3xx                             502 upstream_redirect; never followed
    401, 402                        502 upstream_auth_failed, upstream_out_of_credit: our own key's trouble
    408, 504, 524                   504 upstream_timeout, may have billed
    429                             429 upstream_rate_limited with the provider's retry-after
    any other 4xx and 5xx           its own status; its body where that is OpenAI-shaped, else our envelope
    a 4xx that is not JSON          502 upstream_bad_response
    what is no status of HTTP's     502 upstream_bad_response, may have billed

No byte of our key is in what comes out.
"""

import json
from collections.abc import Callable

from app import errors
from app.errors import Refusal
from app.wire.headers import Headers, retry_after
from app.wire.sse import Event
from app.wire.usage import NotJson, document

MAX_DETAIL_CHARACTERS = 300

_PLAIN = frozenset({b"", b"identity", b"chunked"})
_TEXT_FORMATS = frozenset({"text", "srt", "vtt"})
_MAY_HIDE_A_SUCCESS = frozenset({408, 504, 524})
_KEY_TROUBLE = {401: errors.upstream_auth_failed, 402: errors.upstream_out_of_credit}

Redact = Callable[[bytes], bytes]


def is_event_stream(status: int, headers: Headers) -> bool:
    """Whether the body is server-sent events; a 204 has none, whatever its type (RFC 9110, 15.3.5)."""
    return _media_type(headers) == "text/event-stream" and status != 204


def is_compressed(headers: Headers) -> bool:
    """Whether the body is encoded, although identity was asked for; it is never decoded."""
    told = b",".join([*headers.all(b"content-encoding"), *headers.all(b"transfer-encoding")])
    return told not in _PLAIN and any(coding.strip().lower() not in _PLAIN for coding in told.split(b","))


def may_have_billed(status: int) -> bool:
    """Whether a complete answer of this status, which is no success, may stand for work that was done."""
    return status in _MAY_HIDE_A_SUCCESS or not 300 <= status < 600


def is_key_trouble(status: int) -> bool:
    return status in _KEY_TROUBLE


def of_error(status: int, headers: Headers, body: bytes, redact: Redact, now: float) -> Refusal:
    """The refusal that a complete answer other than 2xx becomes. No byte of our key is in it. `now`: Unix time."""
    if status in _KEY_TROUBLE:
        return _KEY_TROUBLE[status]()
    if not 300 <= status < 600:
        return errors.upstream_bad_response(f"{status} is no status")
    if status < 400:
        return errors.upstream_redirect()
    if may_have_billed(status):
        return errors.upstream_timeout()
    if status == 429:
        return errors.upstream_rate_limited(retry_after(headers, now))
    try:
        told = document(body)
    except NotJson:
        told = None
        if status < 500:
            return errors.upstream_bad_response(f"status {status} with a body that is not JSON")
    if not isinstance(told, dict):
        return errors.upstream_refused(status, "", None)
    if _is_envelope(told):
        return errors.upstream_refused(status, "", _without_key(body, told, redact))
    detail = redact(_bytes(_detail(told))).decode()
    return errors.upstream_refused(status, detail[:MAX_DETAIL_CHARACTERS], None)


def of_success(headers: Headers, body: bytes, response_format: str) -> object:
    """The JSON document of a whole success, None for a text; Refusal if it is not what was asked for."""
    if is_compressed(headers):
        raise errors.upstream_bad_response("it is compressed, which was not asked for")
    if not body:
        raise errors.upstream_bad_response("it is empty")
    if response_format in _TEXT_FORMATS and _media_type(headers) != "application/json":
        if _looks_like_html(headers, body):
            raise errors.upstream_bad_response("it is an HTML page")
        return None
    try:
        told = document(body)
    except NotJson as error:
        raise errors.upstream_bad_response("it is not JSON") from error
    if not isinstance(told, dict) and response_format not in _TEXT_FORMATS:
        raise errors.upstream_bad_response("it is not a JSON object")
    if isinstance(told, dict) and told.get("error") and "text" not in told:
        raise errors.upstream_bad_response("it is an error with the status of a success")
    return told


def event_without_key(event: Event, redact: Redact) -> Event:
    """An event as it came; written anew if our key is in it."""
    try:
        told = document(event.data)
    except NotJson:
        told = None
    if not isinstance(told, dict):
        return Event(redact(event.raw))
    data = _without_key(event.data, told, redact)
    return Event(redact(event.raw)) if data == event.data else Event(b"data: %b\n\n" % data)


def _media_type(headers: Headers) -> str:
    return headers.text(b"content-type").partition(";")[0].strip().lower()


def _looks_like_html(headers: Headers, body: bytes) -> bool:
    start = body[:64].lstrip().lower()
    return _media_type(headers) == "text/html" or start.startswith((b"<!doctype html", b"<html"))


def _without_key(body: bytes, told: dict[str, object], redact: Redact) -> bytes:
    """The provider's own bytes; written anew if our key is in them, for JSON's escapes may hide it from a search."""
    plain = _bytes(json.dumps(told, ensure_ascii=False))
    clean = redact(plain)
    return body if clean == plain and redact(body) == body else clean


def _is_envelope(told: dict[str, object]) -> bool:
    """Whether this is an error that SDKs can show: with a message, whatever else it has or lacks."""
    error = told.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _bytes(text: str) -> bytes:
    """UTF-8; JSON may tell of lone surrogates, which have none."""
    return text.encode("utf-8", "replace")


def _detail(told: dict[str, object]) -> str:
    """The provider's own words in the shapes that other frameworks use: detail, message, error."""
    said = next((told[name] for name in ("detail", "message", "error") if told.get(name)), "")
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
