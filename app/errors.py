"""Every error that a client can get, in OpenAI's envelope.

    APIError
    ├── of the caller             4xx, type `invalid_request_error`: `invalid_api_key()` .. `request_timeout()`
    ├── of the gateway            5xx, type `server_error`: `overloaded()` .. `internal_error()`
    └── of the upstream           `upstream_*()`: 502, 504, 429, or the upstream's own status and body

Each function returns a new APIError to raise. `envelope()` returns the body that the OpenAI SDKs turn into their typed
exceptions: `{"error": {"message", "type", "param", "code"}}` (https://platform.openai.com/docs/guides/error-codes).

`retry` becomes the header `x-should-retry`. The SDKs obey it before their own rule, which retries 408, 409, 429 and
every 5xx. It is False wherever a retry would be billed twice or cannot help.
"""

import json
import math
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

Header = tuple[bytes, bytes]


class APIError(Exception):
    """An error response: HTTP status, code and message, as the SDK shows them.

    `model` is the model that the request named, and `reason` what only the log states.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        kind: str | None = None,
        retry: bool | None = None,
        retry_after: float | None = None,
        headers: tuple[Header, ...] = (),
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.retry = retry
        self.retry_after = retry_after
        self.headers = headers
        self.body = body
        self.model: str | None = None
        self.reason: str | None = None

    def envelope(self) -> bytes:
        """Returns the JSON body; the upstream's own body if it has this shape already."""
        if self.body is not None:
            return self.body
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode()

    def all_headers(self) -> tuple[Header, ...]:
        """Returns the headers of the response, without the request id and the length."""
        headers = [(b"content-type", b"application/json"), *self.headers]
        if self.retry is not None:
            headers.append((b"x-should-retry", b"true" if self.retry else b"false"))
        if self.retry_after is not None:
            milliseconds = math.ceil(Decimal(repr(self.retry_after)) * 1000)
            headers.append((b"retry-after", b"%d" % max(1, -(-milliseconds // 1000))))
            headers.append((b"retry-after-ms", b"%d" % milliseconds))
        return tuple(headers)

    def without_retry(self) -> "APIError":
        """Returns the same error, with which SDKs do not send the file again."""
        self.retry = False
        return self


# -- the caller -------------------------------------------------------------------------------------------------------


def invalid_api_key(reason: str) -> APIError:
    """The error for a key that is missing, malformed, unknown, revoked or expired.

    All have the same text, so that keys cannot be probed. Only the log states the reason.
    """
    error = APIError(
        401,
        "invalid_api_key",
        "Missing or invalid API key. Send a key of this gateway as 'Authorization: Bearer sk-agw-...'.",
        headers=((b"www-authenticate", b"Bearer"),),
    )
    error.reason = reason
    return error


def invalid_admin_key(reason: str) -> APIError:
    """The same error for the admin API, which has a key of its own."""
    error = invalid_api_key(reason)
    error.message = (
        "Missing or invalid admin key. Send the gateway's admin key, as AUDIO_GATEWAY_ADMIN_KEY or key_file of [admin] "
        "has it, as 'Authorization: Bearer ...'; the key of a caller does not work here."
    )
    return error


def invalid_metrics_key() -> APIError:
    """The same error for `/metrics`, which a caller's key does not open."""
    error = invalid_api_key("no key for /metrics")
    error.message = (
        "/metrics needs the key in key_file of [metrics], or the admin key, as 'Authorization: Bearer <key>'; "
        "open = true of [metrics] answers without one."
    )
    return error


def too_many_bad_keys(retry_after: float) -> APIError:
    """Replaces the 401. A retry with the same key never helps."""
    return APIError(
        429,
        "too_many_bad_keys",
        "Too many requests without a good API key came from your address. Send a key of this gateway.",
        kind="rate_limit_error",
        retry=False,
        retry_after=retry_after,
    )


def bad_request(message: str, code: str = "bad_request") -> APIError:
    return APIError(400, code, message)


def unsupported_transfer_encoding() -> APIError:
    return APIError(501, "unsupported_transfer_encoding", "The only Transfer-Encoding is chunked.")


def head_too_large(limit: int, fields: int) -> APIError:
    return APIError(
        431, "request_headers_too_large", f"The head of the request has more than {limit} bytes or {fields} fields."
    )


def unknown_url(method: str, path: str, advice: str) -> APIError:
    return APIError(404, "unknown_url", f"Unknown request URL: {method} {path}. {advice}")


def method_not_allowed(method: str, allowed: Iterable[str]) -> APIError:
    methods = ", ".join(sorted(allowed))
    return APIError(
        405,
        "method_not_allowed",
        f"Not allowed to {method} on this URL; it takes {methods}.",
        headers=((b"allow", methods.encode()),),
    )


def invalid_content_type() -> APIError:
    return APIError(
        415, "invalid_content_type", "Send the audio as multipart/form-data with the fields file and model."
    )


def unsupported_content_encoding() -> APIError:
    return APIError(415, "unsupported_content_encoding", "Send the body without Content-Encoding.")


def invalid_multipart(reason: str, param: str | None = None) -> APIError:
    return APIError(400, "invalid_multipart", f"The multipart body is not well formed: {reason}.", param=param)


def invalid_field(param: str, reason: str) -> APIError:
    return APIError(400, "invalid_field", f"The field {param!r} {reason}.", param=param)


def duplicate_parameter(param: str) -> APIError:
    return APIError(400, "duplicate_parameter", f"The field {param!r} may be sent once only.", param=param)


def missing_parameter(param: str) -> APIError:
    return APIError(400, "missing_required_parameter", f"You must provide the field {param!r}.", param=param)


def unexpected_file(param: str) -> APIError:
    return APIError(400, "invalid_field", f"The field {param!r} may not be a file; only 'file' is one.", param=param)


def empty_file() -> APIError:
    return APIError(400, "empty_file", "The audio file is empty.", param="file")


def invalid_file_format(formats: Iterable[str], kind: str, header_missing: bool = False) -> APIError:
    """`kind` names what the bytes look like, if known. `header_missing`: they lack the header of that format."""
    if header_missing:
        reason = f"the file is {kind} without its header, and cannot be played: it begins in the middle of a recording"
        advice = "Send the parts of the recording joined to one file, from the first part on, which has the header."
        return APIError(400, "invalid_file_format", f"Invalid file format: {reason}. {advice}", param="file")
    description = f"the file looks like {kind}, and is none of" if kind else "the bytes are none of"
    return APIError(
        400,
        "invalid_file_format",
        f"Invalid file format: {description} these formats: {', '.join(formats)}.",
        param="file",
    )


def request_too_large(limit: int) -> APIError:
    return APIError(
        413,
        "request_too_large",
        f"The audio file is larger than the limit of {limit} bytes ({limit / 1048576:g} MiB).",
        param="file",
    )


def request_timeout(reason: str) -> APIError:
    return APIError(408, "request_timeout", f"The request arrived too slowly: {reason}.")


def caller_gone() -> APIError:
    """The caller left during the upload. The error is in the log and the ledger only."""
    return APIError(499, "client_closed_request", "The caller closed the connection before the upload was complete.")


def model_not_found(model: str, known: Iterable[str]) -> APIError:
    names = ", ".join(known) or "none"
    return APIError(
        404, "model_not_found", f"The model {model[:100]!r} does not exist. Models: {names}.", param="model"
    )


def model_not_allowed(model: str, allowed: Iterable[str]) -> APIError:
    names = ", ".join(allowed) or "none"
    return APIError(
        403, "model_not_allowed", f"Your key may not use the model {model!r}; it may use: {names}.", param="model"
    )


def unsupported_model(model: str, task: str, able: Iterable[str]) -> APIError:
    names = ", ".join(able) or "none"
    return APIError(
        400, "unsupported_model", f"The model {model!r} does not {task}. Models that do: {names}.", param="model"
    )


def task_not_allowed(task: str, allowed: Iterable[str]) -> APIError:
    return APIError(403, "task_not_allowed", f"Your key may not {task}; it may: {', '.join(allowed)}.")


def invalid_tag(reason: str) -> APIError:
    return APIError(400, "invalid_tag", f"The header x-gateway-tag cannot be used: {reason}.")


def rate_limit_exceeded(limit: str, retry_after: float, headers: tuple[Header, ...] = ()) -> APIError:
    return APIError(
        429,
        "rate_limit_exceeded",
        f"Your key is limited to {limit}.",
        kind="rate_limit_error",
        retry_after=retry_after,
        headers=headers,
    )


def insufficient_quota(budget: str, resets: date | None) -> APIError:
    """The budget is spent. A retry does not help before the next window."""
    until = f" It resets on {resets.isoformat()} (UTC)." if resets else ""
    return APIError(
        429, "insufficient_quota", f"Your budget of {budget} is spent.{until}", kind="insufficient_quota", retry=False
    )


def budget_reserved(budget: str, retry_after: float) -> APIError:
    """Only requests in flight prevent the request, and what they hold may be released."""
    return APIError(
        429,
        "budget_reserved",
        f"What is left of your budget of {budget} is held by your requests in flight. Try again shortly.",
        kind="rate_limit_error",
        retry_after=retry_after,
    )


# -- the gateway ------------------------------------------------------------------------------------------------------


def overloaded(reason: str) -> APIError:
    return APIError(503, "overloaded", f"The gateway is at its limit: {reason}. Try again shortly.", retry_after=1)


def shutting_down() -> APIError:
    return APIError(503, "shutting_down", "The gateway is restarting. Try again shortly.", retry_after=1)


def ledger_unavailable() -> APIError:
    """The request cannot be accounted for, so it is not sent upstream."""
    return APIError(
        503, "ledger_unavailable", "The usage ledger cannot be written, so no request is passed on.", retry_after=5
    )


def settlement_failed() -> APIError:
    """The upstream has responded and billed, but the usage could not be made durable. The response is withheld."""
    return APIError(
        500,
        "ledger_unavailable",
        "The usage of this response could not be recorded, so the response is withheld.",
        retry=False,
    )


def internal_error() -> APIError:
    return APIError(500, "internal_error", "The gateway failed. State the request id when you report it.")


# -- the upstream -----------------------------------------------------------------------------------------------------


def upstream_unreachable() -> APIError:
    return APIError(502, "upstream_unreachable", "The speech provider cannot be reached. Nothing was sent to it.")


def upstream_timeout() -> APIError:
    return APIError(504, "upstream_timeout", "The speech provider did not respond in time.")


def upstream_error(
    message: str = "The connection to the speech provider broke before its response was complete.",
) -> APIError:
    return APIError(502, "upstream_error", message)


def upstream_failed() -> APIError:
    """The last event of a stream in which the upstream reported that it failed."""
    return upstream_error("The speech provider reported an error instead of the end of the transcript.")


def upstream_cut() -> APIError:
    """The last event of a stream that broke off. SDKs raise it; a closed connection alone would look like the end."""
    return APIError(502, "upstream_cut", "The speech provider's stream broke off before the transcript was complete.")


def upstream_bad_response(reason: str, *, retry: bool | None = None) -> APIError:
    return APIError(
        502, "upstream_bad_response", f"The speech provider's response cannot be used: {reason}.", retry=retry
    )


def upstream_auth_failed() -> APIError:
    return APIError(
        502,
        "upstream_auth_failed",
        "The speech provider refused the gateway's own key. Inform the administrator of this gateway.",
        retry=False,
    )


def upstream_out_of_credit() -> APIError:
    return APIError(
        502,
        "upstream_out_of_credit",
        "The gateway's account at the speech provider is out of credit. Inform the administrator of this gateway.",
        retry=False,
    )


def upstream_redirect() -> APIError:
    return APIError(
        502,
        "upstream_redirect",
        "The speech provider responded with a redirect, which the gateway never follows.",
        retry=False,
    )


def upstream_rate_limited(retry_after: float | None) -> APIError:
    return APIError(
        429,
        "upstream_rate_limited",
        "The speech provider limits the gateway's requests. Try again later.",
        kind="rate_limit_error",
        retry_after=retry_after,
    )


def upstream_refused(
    status: int, detail: str, body: bytes | None, *, retry: bool | None = None, retry_after: float | None = None
) -> APIError:
    """A complete error response of the upstream, with its own status, and its own body if that has OpenAI's shape."""
    message = f"The speech provider refused the request with status {status}."
    return APIError(
        status, "upstream_error", f"{message} {detail}".strip(), body=body, retry=retry, retry_after=retry_after
    )
