import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import errors
from app.errors import APIError

Made = tuple[Callable[[], APIError], int, str, str | None, bool | None]

OF_THE_CALLER: list[Made] = [
    (lambda: errors.invalid_api_key("no key"), 401, "invalid_api_key", None, None),
    (lambda: errors.bad_request("No."), 400, "bad_request", None, None),
    (lambda: errors.unknown_url("GET", "/v2", "The API begins at /v1."), 404, "unknown_url", None, None),
    (lambda: errors.method_not_allowed("PUT", {"POST", "GET"}), 405, "method_not_allowed", None, None),
    (errors.invalid_content_type, 415, "invalid_content_type", None, None),
    (errors.unsupported_content_encoding, 415, "unsupported_content_encoding", None, None),
    (lambda: errors.invalid_multipart("it ends early"), 400, "invalid_multipart", None, None),
    (lambda: errors.invalid_field("prompt", "is odd"), 400, "invalid_field", "prompt", None),
    (lambda: errors.duplicate_parameter("model"), 400, "duplicate_parameter", "model", None),
    (lambda: errors.missing_parameter("model"), 400, "missing_required_parameter", "model", None),
    (lambda: errors.unexpected_file("x"), 400, "invalid_field", "x", None),
    (errors.empty_file, 400, "empty_file", "file", None),
    (lambda: errors.invalid_file_format(["wav"], ""), 400, "invalid_file_format", "file", None),
    (lambda: errors.request_too_large(26_214_400), 413, "request_too_large", "file", None),
    (lambda: errors.request_timeout("slow"), 408, "request_timeout", None, None),
    (errors.caller_gone, 499, "client_closed_request", None, None),
    (lambda: errors.model_not_found("x", ["y"]), 404, "model_not_found", "model", None),
    (lambda: errors.model_not_allowed("x", ["y"]), 403, "model_not_allowed", "model", None),
    (lambda: errors.unsupported_model("x", "sing", ["y"]), 400, "unsupported_model", "model", None),
]
OF_THE_GATEWAY: list[Made] = [
    (lambda: errors.overloaded("9 requests"), 503, "overloaded", None, None),
    (errors.shutting_down, 503, "shutting_down", None, None),
    (errors.ledger_unavailable, 503, "ledger_unavailable", None, None),
    (errors.settlement_failed, 500, "ledger_unavailable", None, False),
    (errors.internal_error, 500, "internal_error", None, None),
]
OF_THE_UPSTREAM: list[Made] = [
    (errors.upstream_unreachable, 502, "upstream_unreachable", None, None),
    (errors.upstream_timeout, 504, "upstream_timeout", None, None),
    (errors.upstream_error, 502, "upstream_error", None, None),
    (errors.upstream_cut, 502, "upstream_cut", None, None),
    (lambda: errors.upstream_bad_response("it is empty"), 502, "upstream_bad_response", None, None),
    (errors.upstream_auth_failed, 502, "upstream_auth_failed", None, False),
    (errors.upstream_out_of_credit, 502, "upstream_out_of_credit", None, False),
    (errors.upstream_redirect, 502, "upstream_redirect", None, False),
]


def envelope(error: APIError) -> dict[str, object]:
    document = json.loads(error.envelope())
    assert list(document) == ["error"]
    fields = document["error"]
    assert set(fields) == {"message", "type", "param", "code"}
    assert isinstance(fields, dict)
    return fields


@pytest.mark.parametrize(
    ("make", "status", "code", "param", "retry", "kind"),
    [(*made, "invalid_request_error") for made in OF_THE_CALLER]
    + [(*made, "server_error") for made in OF_THE_GATEWAY + OF_THE_UPSTREAM],
)
def test_every_error_has_its_status_code_param_and_type(
    make: Callable[[], APIError], status: int, code: str, param: str | None, retry: bool | None, kind: str
) -> None:
    error = make()
    fields = envelope(error)
    assert (error.status, fields["code"], fields["param"], error.retry) == (status, code, param, retry)
    assert fields["type"] == kind
    assert fields["message"] == str(error)
    assert str(error).endswith(".")


def test_a_rate_limit_of_the_upstream_is_a_rate_limit_error() -> None:
    error = errors.upstream_rate_limited(2.5)
    assert error.status == 429
    assert envelope(error)["type"] == "rate_limit_error"
    assert dict(error.all_headers())[b"retry-after"] == b"3"


def test_too_many_bad_keys_are_a_rate_limit_error_without_retry() -> None:
    error = errors.too_many_bad_keys(0.2)
    assert (error.status, envelope(error)["code"]) == (429, "too_many_bad_keys")
    assert envelope(error)["type"] == "rate_limit_error"
    headers = dict(error.all_headers())
    assert (headers[b"retry-after"], headers[b"x-should-retry"]) == (b"1", b"false")


def test_an_upstream_error_keeps_its_status_and_body() -> None:
    body = b'{"error": {"message": "no", "type": "t", "param": null, "code": "c"}, "more": 1}'
    error = errors.upstream_refused(422, "", body)
    assert error.status == 422
    assert error.envelope() == body
    assert envelope(errors.upstream_refused(503, "Busy.", None)) == {
        "message": "The speech provider refused the request with status 503. Busy.",
        "type": "server_error",
        "param": None,
        "code": "upstream_error",
    }


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_message_survives_the_envelope(message: str, param: str) -> None:
    fields = envelope(APIError(400, "bad_request", message, param=param))
    assert (fields["message"], fields["param"]) == (message, param)


@pytest.mark.parametrize(
    ("seconds", "whole", "milliseconds"),
    [
        (1, b"1", b"1000"),
        (0, b"1", b"0"),
        (0.2, b"1", b"200"),
        (1.5, b"2", b"1500"),
        (0.0001, b"1", b"1"),
        (60.0, b"60", b"60000"),
    ],
)
def test_retry_after_is_rounded_up(seconds: float, whole: bytes, milliseconds: bytes) -> None:
    headers = dict(APIError(429, "x", "x", retry_after=seconds).all_headers())
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (whole, milliseconds)


@given(st.floats(0, 1e6))
def test_retry_after_is_never_too_early(seconds: float) -> None:
    headers = dict(APIError(429, "x", "x", retry_after=seconds).all_headers())
    assert seconds <= int(headers[b"retry-after"]) < seconds + 1 or headers[b"retry-after"] == b"1"
    milliseconds = int(headers[b"retry-after-ms"])
    assert milliseconds - 1 < Decimal(repr(seconds)) * 1000 <= milliseconds


@pytest.mark.parametrize(("retry", "value"), [(True, b"true"), (False, b"false"), (None, None)])
def test_should_retry_is_sent_only_if_it_is_decided(retry: bool | None, value: bytes | None) -> None:
    headers = dict(APIError(500, "x", "x", retry=retry).all_headers())
    assert headers.get(b"x-should-retry") == value
    assert b"retry-after" not in headers


def test_without_retry_forbids_a_retry() -> None:
    error = errors.upstream_timeout().without_retry()
    assert dict(error.all_headers())[b"x-should-retry"] == b"false"
    assert (error.status, error.code) == (504, "upstream_timeout")


def test_errors_with_headers_of_their_own() -> None:
    assert (b"www-authenticate", b"Bearer") in errors.invalid_api_key("no key").all_headers()
    assert (b"allow", b"GET, POST") in errors.method_not_allowed("PUT", {"POST", "GET"}).all_headers()
    assert errors.internal_error().all_headers() == ((b"content-type", b"application/json"),)


def test_a_long_model_name_is_cut() -> None:
    assert "x" * 101 not in str(errors.model_not_found("x" * 5_000, []))
    assert "Models: none" in str(errors.model_not_found("x", []))


def test_the_file_limit_is_in_bytes_and_mebibytes() -> None:
    assert "26214400 bytes (25 MiB)" in str(errors.request_too_large(25 * 1024 * 1024))
