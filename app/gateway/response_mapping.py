"""What the provider's answer means for the caller: one map from its status, headers and body to ours. Pure.

    2xx with a transcript           passed on
    2xx without one                 502 upstream_bad_response, may have billed
    3xx                             502 upstream_redirect; never followed
    401, 402, and any error whose   502 upstream_auth_failed, upstream_out_of_credit: trouble of our own account, of
    code says the same              which the caller may not take part for its own
    408, 504, 524                   504 upstream_timeout, may have billed
    429                             429 upstream_rate_limited with the provider's retry-after
    5xx                             its own status and retry-after; its body where that is OpenAI-shaped
    4xx in JSON                     its own status; its body where that is OpenAI-shaped, else its words in our envelope
    4xx of a proxy or a firewall    400, 413, 415, 422: its own status; else, and for any 403 that is not OpenAI-shaped,
                                    502 upstream_bad_response. Final: no repeat of the same bytes helps
    what is no status of HTTP's     502 upstream_bad_response, may have billed

No byte of our key is in what comes out.
"""

import json
import re
from collections.abc import Callable

from app import errors
from app.errors import APIError
from app.wire.failure import is_error
from app.wire.headers import Headers, retry_after
from app.wire.sse import Event
from app.wire.usage import NotJson, document

MAX_DETAIL_CHARACTERS = 300

_PLAIN = frozenset({b"", b"identity", b"chunked"})
_JSON_FORMATS = frozenset({"", "json", "verbose_json", "diarized_json"})
_BEGINS_AS_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")
_PAGE = re.compile(
    rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body|error)\b", re.IGNORECASE | re.DOTALL
)
_MAY_HIDE_A_SUCCESS = frozenset({408, 504, 524})
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
# What a server in front of the provider says about the form itself.
_WITHOUT_WORDS = {
    400: "It gives no reason.",
    413: "The file is too large for it.",
    415: "It does not take this type of file.",
    422: "It gives no reason.",
}
_NAMES_OF_WORDS = ("detail", "message", "error", "errors", "title", "msg")

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


def is_account_trouble(refusal: APIError) -> bool:
    """Whether the provider refused our own key or account."""
    return refusal.code in ("upstream_auth_failed", "upstream_out_of_credit")


def of_error(status: int, headers: Headers, body: bytes, redact: Redact, now: float) -> APIError:
    """The refusal that a complete answer other than 2xx becomes. No byte of our key is in it. `now`: Unix time."""
    if not 300 <= status < 600:
        return errors.upstream_bad_response(f"{status} is no status")
    if status < 400:
        return errors.upstream_redirect()
    if may_have_billed(status):
        return errors.upstream_timeout()
    told = _error_document(body)
    trouble = _account_trouble(status, told)
    if trouble is not None:
        return trouble()
    if status == 429:
        return errors.upstream_rate_limited(retry_after(headers, now))
    wait = retry_after(headers, now) if status >= 500 else None
    if isinstance(told, dict) and _is_envelope(told):
        body = body if body.lstrip().startswith(b"{") else _bytes(json.dumps(told, ensure_ascii=False))
        return errors.upstream_refused(status, "", body_without_key(body, told, redact), retry_after=wait)
    if status == 403 or (told is None and status < 500):
        return _unexplained(status)
    detail = redact(_bytes(_detail(told))).decode() if isinstance(told, dict) else ""
    return errors.upstream_refused(status, detail[:MAX_DETAIL_CHARACTERS], None, retry_after=wait)


def _unexplained(status: int) -> APIError:
    """A 4xx that something in front of the provider may have sent: a proxy, a firewall. No repeat helps."""
    if status in _WITHOUT_WORDS:
        return errors.upstream_refused(status, _WITHOUT_WORDS[status], None, retry=False)
    return errors.upstream_bad_response(f"status {status} without an error in OpenAI's format", retry=False)


def _account_trouble(status: int, told: object) -> Callable[[], APIError] | None:
    """The refusal for trouble of our own account, by the status or by the error's code or type."""
    error = told.get("error") if isinstance(told, dict) else None
    named = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    said = (status, *(name for name in named if isinstance(name, str)))
    return next((_ACCOUNT_TROUBLE[each] for each in said if each in _ACCOUNT_TROUBLE), None)


def _error_document(body: bytes) -> object:
    """The JSON document of an error; its only member where it is a list of one. None for what is not JSON."""
    try:
        told = document(body)
    except NotJson:
        return None
    return told[0] if isinstance(told, list) and len(told) == 1 else told


def of_success(headers: Headers, body: bytes, response_format: str) -> object:
    """The JSON document of a whole success, None for a text; APIError if it is no transcript.

    The rule, which docs/architecture.md explains: what was requested as JSON is an object; any other format is whatever
    comes, which may be empty. A page of HTML and an object that is an error are no transcript in any format.
    """
    if is_compressed(headers):
        raise errors.upstream_bad_response("it is compressed, which was not asked for")
    told = _object(body) if response_format in _JSON_FORMATS else _document_or_text(headers, body)
    if told is None and _is_page(headers, body):
        raise errors.upstream_bad_response("it is an HTML page")
    if is_error(told):
        raise errors.upstream_bad_response("it is an error with the status of a success")
    return told


def body_without_key(body: bytes, told: object, redact: Redact) -> bytes:
    """A body as it came; written again in UTF-8 if it is JSON in another encoding, and without our key."""
    return redact(body if told is None or _is_utf8(body) else _bytes(json.dumps(told, ensure_ascii=False)))


def event_without_key(event: Event, redact: Redact) -> Event:
    """An event as it came, without our key."""
    clean = redact(event.raw)
    return event if clean is event.raw else Event(clean)


def _object(body: bytes) -> dict[str, object]:
    if not body:
        raise errors.upstream_bad_response("it is empty")
    try:
        told = document(body)
    except NotJson as error:
        raise errors.upstream_bad_response("it is not JSON") from error
    if not isinstance(told, dict):
        raise errors.upstream_bad_response("it is not a JSON object")
    return told


def _document_or_text(headers: Headers, body: bytes) -> object:
    """The document where the body may be and is JSON; None for a text, whatever its type says."""
    if _media_type(headers) != "application/json" and not _BEGINS_AS_JSON.match(body):
        return None
    try:
        return document(body)
    except NotJson:
        return None


def _is_page(headers: Headers, body: bytes) -> bool:
    """Whether it is HTML, or the XML of an error. The type alone does not decide: frameworks call any text HTML."""
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


def _is_envelope(told: dict[str, object]) -> bool:
    """Whether this is an error that SDKs can show: with a message, whatever else it has or lacks."""
    error = told.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _bytes(text: str) -> bytes:
    """UTF-8; JSON may tell of lone surrogates, which have none."""
    return text.encode("utf-8", "replace")


def _detail(told: dict[str, object]) -> str:
    """The provider's own words in the shapes that other frameworks use."""
    said = next((told[name] for name in _NAMES_OF_WORDS if told.get(name)), "")
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
