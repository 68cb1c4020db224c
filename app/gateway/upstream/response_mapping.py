"""What the upstream's response means for the caller: one map from its status, headers and body to ours. Pure.

    2xx with a transcript           relayed
    2xx without one                 502 upstream_bad_response, may have billed
    3xx                             502 upstream_redirect; never followed
    401, 402, and any error whose   502 upstream_auth_failed, upstream_out_of_credit: trouble of our own account, which
    code says the same              callers must not mistake for theirs
    408, 504, 524                   504 upstream_timeout, may have billed
    429                             429 upstream_rate_limited with the upstream's retry-after
    5xx                             its own status and retry-after; its body where that is OpenAI-shaped
    4xx in JSON                     its own status; its body where that is OpenAI-shaped, else its message in ours
    4xx of a proxy or a firewall    400, 413, 415, 422: its own status; else, and for any 403 that is not OpenAI-shaped,
                                    502 upstream_bad_response. Final: no repeat of the same bytes helps
    an invalid status               502 upstream_bad_response, may have billed

The result contains no byte of our key.
"""

import json
import re
from collections.abc import Callable

from app import errors
from app.errors import APIError
from app.wire.failure import is_error
from app.wire.headers import Headers, retry_after
from app.wire.sse import Event
from app.wire.usage import NotJson
from app.wire.usage import document as parse_json

MAX_DETAIL_CHARACTERS = 300

_UNENCODED = frozenset({b"", b"identity", b"chunked"})
_JSON_FORMATS = frozenset({"", "json", "verbose_json", "diarized_json"})
_BEGINS_AS_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")
_PAGE = re.compile(
    rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body|error)\b", re.IGNORECASE | re.DOTALL
)
_MAY_HIDE_SUCCESS = frozenset({408, 504, 524})
_ACCOUNT_TROUBLE: dict[object, Callable[[], APIError]] = {
    401: errors.upstream_auth_failed,
    402: errors.upstream_out_of_credit,
    "account_deactivated": errors.upstream_auth_failed,
    "invalid_api_key": errors.upstream_auth_failed,
    "billing_hard_limit_reached": errors.upstream_out_of_credit,
    "billing_not_active": errors.upstream_out_of_credit,
    "insufficient_balance": errors.upstream_out_of_credit,
    "insufficient_credits": errors.upstream_out_of_credit,
    "insufficient_quota": errors.upstream_out_of_credit,
}
# Statuses of a server in front of the upstream that concern the form itself.
_UNEXPLAINED = {
    400: "It gives no reason.",
    413: "The file is too large for it.",
    415: "It does not take this type of file.",
    422: "It gives no reason.",
}
_MESSAGE_NAMES = ("detail", "message", "error", "errors", "title", "msg")

Redact = Callable[[bytes], bytes]


def is_event_stream(status: int, headers: Headers) -> bool:
    """Returns whether the body is server-sent events. A 204 has no body, whatever its type (RFC 9110, 15.3.5)."""
    return _media_type(headers) == "text/event-stream" and status != 204


def is_compressed(headers: Headers) -> bool:
    """Returns whether the body is encoded, although the request asked for identity. It is never decoded."""
    codings = b",".join([*headers.all(b"content-encoding"), *headers.all(b"transfer-encoding")])
    return codings not in _UNENCODED and any(coding.strip().lower() not in _UNENCODED for coding in codings.split(b","))


def may_have_billed(status: int) -> bool:
    """Returns whether the upstream may have done its work although the response has this status."""
    return status in _MAY_HIDE_SUCCESS or not 300 <= status < 600


def is_account_trouble(error: APIError) -> bool:
    """Returns whether the upstream refused our own key or account."""
    return error.code in ("upstream_auth_failed", "upstream_out_of_credit")


def of_error(status: int, headers: Headers, body: bytes, redact: Redact, now: float) -> APIError:
    """Returns the caller's error for a complete response other than 2xx. `now` is Unix time."""
    if not 300 <= status < 600:
        return errors.upstream_bad_response(f"{status} is not a status")
    if status < 400:
        return errors.upstream_redirect()
    if may_have_billed(status):
        return errors.upstream_timeout()
    document = _error_document(body)
    trouble = _account_trouble(status, document)
    if trouble is not None:
        return trouble()
    if status == 429:
        return errors.upstream_rate_limited(retry_after(headers, now))
    wait = retry_after(headers, now) if status >= 500 else None
    if isinstance(document, dict) and _is_envelope(document):
        body = body if body.lstrip().startswith(b"{") else _bytes(json.dumps(document, ensure_ascii=False))
        return errors.upstream_refused(status, "", body_without_key(body, document, redact), retry_after=wait)
    if status == 403 or (document is None and status < 500):
        return _unexplained(status)
    detail = redact(_bytes(_detail(document))).decode() if isinstance(document, dict) else ""
    return errors.upstream_refused(status, detail[:MAX_DETAIL_CHARACTERS], None, retry_after=wait)


def _unexplained(status: int) -> APIError:
    """Returns the error for a 4xx that a proxy or firewall may have sent. A retry does not help."""
    if status in _UNEXPLAINED:
        return errors.upstream_refused(status, _UNEXPLAINED[status], None, retry=False)
    return errors.upstream_bad_response(f"status {status} without an error in OpenAI's format", retry=False)


def _account_trouble(status: int, document: object) -> Callable[[], APIError] | None:
    """Returns the error for trouble of our own account, by the status or by the error's code or type."""
    error = document.get("error") if isinstance(document, dict) else None
    names = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    signs = (status, *(name for name in names if isinstance(name, str)))
    return next((_ACCOUNT_TROUBLE[sign] for sign in signs if sign in _ACCOUNT_TROUBLE), None)


def _error_document(body: bytes) -> object:
    """Returns the JSON document of an error, or its only member if it is a list of one; None if it is not JSON."""
    try:
        document = parse_json(body)
    except NotJson:
        return None
    return document[0] if isinstance(document, list) and len(document) == 1 else document


def of_success(headers: Headers, body: bytes, response_format: str) -> object:
    """Returns the JSON document of a complete success, None for text; APIError if it is not a transcript.

    docs/architecture.md explains the rule. What was requested as JSON must be an object. Any other format may be any
    text, also an empty one. An HTML page and an object that is an error are not a transcript in any format.
    """
    if is_compressed(headers):
        raise errors.upstream_bad_response("it is compressed, which the request does not allow")
    document = _object(body) if response_format in _JSON_FORMATS else _document_or_text(headers, body)
    if document is None and _is_page(headers, body):
        raise errors.upstream_bad_response("it is an HTML page")
    if is_error(document):
        raise errors.upstream_bad_response("it is an error with the status of a success")
    return document


def body_without_key(body: bytes, document: object, redact: Redact) -> bytes:
    """Returns the body without our key, and in UTF-8 if it is JSON in another encoding; otherwise unchanged."""
    return redact(body if document is None or _is_utf8(body) else _bytes(json.dumps(document, ensure_ascii=False)))


def event_without_key(event: Event, redact: Redact) -> Event:
    """Returns the event without our key; otherwise unchanged."""
    clean = redact(event.raw)
    return event if clean is event.raw else Event(clean)


def _object(body: bytes) -> dict[str, object]:
    if not body:
        raise errors.upstream_bad_response("it is empty")
    try:
        document = parse_json(body)
    except NotJson as error:
        raise errors.upstream_bad_response("it is not JSON") from error
    if not isinstance(document, dict):
        raise errors.upstream_bad_response("it is not a JSON object")
    return document


def _document_or_text(headers: Headers, body: bytes) -> object:
    """Returns the document if the body is JSON; None for text, whatever its type says."""
    if _media_type(headers) != "application/json" and not _BEGINS_AS_JSON.match(body):
        return None
    try:
        return parse_json(body)
    except NotJson:
        return None


def _is_page(headers: Headers, body: bytes) -> bool:
    """Returns whether the body is HTML or the XML of an error. Its type alone decides nothing: any text can have it."""
    start = body[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    return _PAGE.match(start) is not None or (_media_type(headers) == "text/html" and start.startswith(b"<"))


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return b"\0" not in body[:4]
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _media_type(headers: Headers) -> str:
    return headers.text(b"content-type").partition(";")[0].strip().lower()


def _is_envelope(document: dict[str, object]) -> bool:
    """Returns whether this is an error that SDKs can show: one with a message."""
    error = document.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _bytes(text: str) -> bytes:
    """Returns UTF-8. JSON may contain lone surrogates, which have no encoding and are replaced."""
    return text.encode("utf-8", "replace")


def _detail(document: dict[str, object]) -> str:
    """Returns the upstream's message, in the shapes that other frameworks use."""
    message = next((document[name] for name in _MESSAGE_NAMES if document.get(name)), "")
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
