import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import APIError
from app.gateway.upstream import response_mapping
from app.gateway.upstream.response_mapping import MAX_DETAIL_CHARACTERS, of_error, of_success
from app.wire.headers import Headers
from app.wire.redaction import Redaction
from app.wire.sse import Event

KEY = b"sk-provider/0123456789"
NOW = 1_792_567_650.0
JSON = Headers([(b"content-type", b"application/json; charset=utf-8")])
HTML = Headers([(b"content-type", b"text/html")])
TEXT = Headers([(b"content-type", b"text/plain; charset=utf-8")])
NONE = Headers([])

SHAPED = b'{"error": {"message": "no", "type": "t", "param": null, "code": "c"}}'
PAGE = b"<!DOCTYPE html><title>502</title>"


redact = Redaction(KEY)


def mapped(error: APIError) -> dict[str, object]:
    told = json.loads(error.envelope())["error"]
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(
    "body", [SHAPED, PAGE, b"", b"no", b'"no"', b"\xff", gzip.compress(SHAPED, mtime=0), KEY], ids=repr
)
@pytest.mark.parametrize(
    ("status", "ours", "code", "retry"),
    [
        (300, 502, "upstream_redirect", False),
        (301, 502, "upstream_redirect", False),
        (302, 502, "upstream_redirect", False),
        (304, 502, "upstream_redirect", False),
        (307, 502, "upstream_redirect", False),
        (308, 502, "upstream_redirect", False),
        (401, 502, "upstream_auth_failed", False),
        (402, 502, "upstream_out_of_credit", False),
        (408, 504, "upstream_timeout", None),
        (429, 429, "upstream_rate_limited", None),
        (504, 504, "upstream_timeout", None),
        (524, 504, "upstream_timeout", None),
    ],
)
def test_a_status_that_is_mapped_never_relays_the_body(
    status: int, ours: int, code: str, retry: bool | None, body: bytes
) -> None:
    error = of_error(status, JSON, body, redact, NOW)
    assert (error.status, error.code, error.retry) == (ours, code, retry)
    assert error.body is None
    assert mapped(error)["code"] == code


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 415, 422, 499, 500, 502, 503, 520, 529])
def test_an_error_in_openais_shape_is_relayed_unchanged(status: int) -> None:
    error = of_error(status, JSON, SHAPED, redact, NOW)
    assert error.status == status
    assert error.envelope() == SHAPED
    assert error.retry is None


WORDLESS = {
    "empty": (JSON, b""),
    "blank": (JSON, b" \r\n"),
    "HTML": (HTML, PAGE),
    "HTML as text": (TEXT, PAGE),
    "text": (TEXT, b"no"),
    "cut": (JSON, b'{"error": {'),
    "compressed": (JSON, gzip.compress(SHAPED, mtime=0)),
    "null": (JSON, b"null"),
}


@pytest.mark.parametrize(("headers", "body"), WORDLESS.values(), ids=WORDLESS.keys())
@pytest.mark.parametrize(
    ("status", "ours", "code"),
    [
        (400, 400, "upstream_error"),
        (413, 413, "upstream_error"),
        (415, 415, "upstream_error"),
        (422, 422, "upstream_error"),
        (403, 502, "upstream_bad_response"),
        (404, 502, "upstream_bad_response"),
        (405, 502, "upstream_bad_response"),
        (407, 502, "upstream_bad_response"),
        (409, 502, "upstream_bad_response"),
        (411, 502, "upstream_bad_response"),
        (421, 502, "upstream_bad_response"),
        (451, 502, "upstream_bad_response"),
        (460, 502, "upstream_bad_response"),
    ],
)
def test_an_unexplained_4xx_is_final(status: int, ours: int, code: str, headers: Headers, body: bytes) -> None:
    error = of_error(status, headers, body, redact, NOW)
    assert (error.status, error.code, error.retry) == (ours, code, False)
    assert str(status) in error.message
    assert "<" not in error.message


@pytest.mark.parametrize("body", [b'{"detail": "Not authenticated"}', b'{"message": "Forbidden"}', b"{}", b"[]"])
def test_a_403_in_another_shape_is_502(body: bytes) -> None:
    error = of_error(403, JSON, body, redact, NOW)
    assert (error.status, error.code, error.retry) == (502, "upstream_bad_response", False)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("error_body", "code"),
    [
        (b'{"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}}', "out_of_credit"),
        (b'{"error": {"message": "m", "type": "insufficient_quota", "code": null}}', "out_of_credit"),
        (b'{"error": {"message": "m", "code": "billing_not_active"}}', "out_of_credit"),
        (b'{"error": {"code": "billing_hard_limit_reached"}}', "out_of_credit"),
        (b'{"error": {"message": "m", "code": "account_deactivated"}}', "auth_failed"),
        (b'[{"error": {"message": "m", "code": "invalid_api_key"}}]', "auth_failed"),
    ],
)
def test_account_trouble_is_also_recognised_by_its_code(status: int, error_body: bytes, code: str) -> None:
    error = of_error(status, JSON, error_body, redact, NOW)
    assert (error.status, error.code, error.retry) == (502, f"upstream_{code}", False)
    assert response_mapping.is_account_trouble(error)
    assert error.body is None


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "quota", 429, None, ["insufficient_quota"], {"a": 1}])
def test_any_other_429_is_a_rate_limit(code: object) -> None:
    body = json.dumps({"error": {"message": "insufficient_quota", "code": code}}).encode()
    assert of_error(429, JSON, body, redact, NOW).code == "upstream_rate_limited"


def test_an_error_in_a_list_of_one_is_unwrapped() -> None:
    error = of_error(400, JSON, b"[" + SHAPED + b"]", redact, NOW)
    assert json.loads(error.envelope()) == json.loads(SHAPED)


@pytest.mark.parametrize("status", [500, 502, 503, 529])
@pytest.mark.parametrize(
    "body", [b"", PAGE, b"no", b'{"error": {', gzip.compress(SHAPED, mtime=0), b"[" * 100_000], ids=len
)
def test_a_5xx_keeps_its_status_whatever_its_body(status: int, body: bytes) -> None:
    error = of_error(status, HTML, body, redact, NOW)
    assert (error.status, error.code, error.retry) == (status, "upstream_error", None)
    assert mapped(error)["message"] == f"The speech provider refused the request with status {status}."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"detail": "model is busy"}', "model is busy"),
        (b'{"message": "model is busy"}', "model is busy"),
        (b'{"error": "model is busy"}', "model is busy"),
        (b'{"detail": [{"loc": ["file"], "msg": "gr\xc3\xb6\xc3\x9fer"}]}', '[{"loc": ["file"], "msg": "größer"}]'),
        (b'{"detail": null, "error": ["x"]}', '["x"]'),
        (b'{"errors": [{"msg": "x"}]}', '[{"msg": "x"}]'),
        (b'{"title": "Bad Request", "status": 400}', "Bad Request"),
        (
            b'{"error": {"code": "BadRequest", "innererror": {"code": "x"}}}',
            '{"code": "BadRequest", "innererror": {"code": "x"}}',
        ),
        (b'{"detail": "\\ud800"}', "?"),
        (b'{"other": "x"}', ""),
        (b"{}", ""),
        (b'"x"', ""),
        (b"[1, 2]", ""),
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_message_in_another_shape_is_put_into_our_envelope(status: int, body: bytes, words: str) -> None:
    error = of_error(status, JSON, body, redact, NOW)
    message = f"The speech provider refused the request with status {status}. {words}".strip()
    assert (error.status, mapped(error)["code"], mapped(error)["message"]) == (status, "upstream_error", message)


def test_a_long_message_is_cut() -> None:
    error = of_error(400, JSON, json.dumps({"detail": "x" * 5_000}).encode(), redact, NOW)
    assert error.message.endswith(" " + "x" * MAX_DETAIL_CHARACTERS)


ECHOES = {
    "shaped": b'{"error": {"message": "bad key %b"}}' % KEY,
    "shaped, with escapes": b'{"error": {"message": "bad key %b"}}' % KEY.replace(b"/", rb"\/"),
    "shaped, with other escapes": b'{"error": {"message": "bad key %b"}}' % KEY.replace(b"s", rb"\u0073"),
    "a name": b'{"error": {"%b": 1}}' % KEY,
    "detail": b'{"detail": "bad key %b"}' % KEY,
    "detail, with escapes": b'{"detail": "bad key %b"}' % KEY.replace(b"/", rb"\/"),
    "structured detail": b'{"detail": [{"input": "%b"}]}' % KEY,
    "text": KEY,
}


@pytest.mark.parametrize("body", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 429, 500, 503, 504])
def test_no_error_contains_our_key(status: int, body: bytes) -> None:
    error = of_error(status, JSON, body, redact, NOW)
    shown = error.envelope() + error.message.encode() + b"".join(value for _, value in error.all_headers())
    assert KEY not in shown
    assert KEY.decode() not in str(json.loads(error.envelope()))


@pytest.mark.parametrize("before", range(MAX_DETAIL_CHARACTERS - len(KEY) - 5, MAX_DETAIL_CHARACTERS + 5))
def test_the_cut_leaves_no_piece_of_our_key(before: int) -> None:
    body = json.dumps({"detail": "x" * before + KEY.decode()}).encode()
    assert KEY[:4].decode() not in of_error(400, JSON, body, redact, NOW).message


def test_retry_after_is_the_upstreams() -> None:
    headers = Headers([(b"retry-after", b"7"), (b"x-ratelimit-remaining-requests", b"0")])
    error = of_error(429, headers, SHAPED, redact, NOW)
    assert dict(error.all_headers()) == {
        b"content-type": b"application/json",
        b"retry-after": b"7",
        b"retry-after-ms": b"7000",
    }
    assert mapped(error)["type"] == "rate_limit_error"
    assert b"retry-after" not in dict(of_error(429, NONE, SHAPED, redact, NOW).all_headers())


@pytest.mark.parametrize("body", [SHAPED, PAGE, b"", b'{"detail": "busy"}'], ids=repr)
@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_a_temporary_failure_has_retry_after(status: int, body: bytes) -> None:
    headers = of_error(status, Headers([(b"retry-after", b"1.2")]), body, redact, NOW).all_headers()
    assert (dict(headers)[b"retry-after"], dict(headers)[b"retry-after-ms"]) == (b"2", b"1200")
    assert b"retry-after" not in dict(of_error(status, NONE, body, redact, NOW).all_headers())


@given(st.integers(300, 599), st.binary(max_size=60), st.sampled_from([JSON, HTML, TEXT, NONE]))
def test_any_error_becomes_an_envelope(status: int, body: bytes, headers: Headers) -> None:
    error = of_error(status, headers, body, redact, NOW)
    assert 400 <= error.status <= 599
    assert mapped(error)


@given(
    st.recursive(
        st.text(max_size=5) | st.none() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_error_document_becomes_an_envelope(value: object) -> None:
    for name in ("error", "detail"):
        error = of_error(400, JSON, json.dumps({name: value}).encode(), redact, NOW)
        assert error.status == 400
        assert isinstance(json.loads(error.envelope())["error"], dict)


@pytest.mark.parametrize("depth", range(100, 2_000, 100))
@pytest.mark.parametrize("name", ["error", "detail"])
def test_deep_documents_become_envelopes(name: str, depth: int) -> None:
    body = b'{"%b": {"a":' % name.encode() + b"[" * depth + b"]" * depth + b"}}"
    assert of_error(500, JSON, body, redact, NOW).status == 500


@pytest.mark.parametrize(
    ("status", "may"),
    [(400, False), (401, False), (408, True), (429, False), (500, False), (503, False), (504, True), (524, True)],
)
def test_the_errors_that_may_hide_a_success(status: int, may: bool) -> None:
    assert response_mapping.may_have_billed(status) is may


@pytest.mark.parametrize(
    ("value", "is_it"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"application/json", False),
        (b"text/event-stream-x", False),
        (b"", False),
    ],
)
def test_an_event_stream_is_recognised_by_its_type(value: bytes, is_it: bool) -> None:
    assert response_mapping.is_event_stream(200, Headers([(b"content-type", value)])) is is_it
    assert response_mapping.is_event_stream(200, NONE) is False


@pytest.mark.parametrize(
    ("headers", "body", "response_format", "document"),
    [
        (JSON, b'{"text": "a"}', "json", {"text": "a"}),
        (JSON, b'{"text": "a"}', "", {"text": "a"}),
        (NONE, b' {"text": "a"}\n', "verbose_json", {"text": "a"}),
        (TEXT, b'{"text": "a"}', "diarized_json", {"text": "a"}),
        (JSON, b'{"text": "a"}', "text", {"text": "a"}),
        (JSON, b'"a"', "text", "a"),
        (TEXT, b"a", "text", None),
        (NONE, b"\xff", "text", None),
        (TEXT, b"1\n00:00:00,000 --> 00:00:01,000\na\n", "srt", None),
        (Headers([(b"content-type", b"text/vtt")]), b"WEBVTT\n", "vtt", None),
        (Headers([(b"content-encoding", b"Identity")]), b"{}", "json", {}),
        (TEXT, b"", "text", None),
        (NONE, b"", "srt", None),
        (HTML, b"", "vtt", None),
        (JSON, b"a", "text", None),
        (HTML, b"a < b", "text", None),
        (TEXT, b"<b> is a tag", "text", None),
        (TEXT, b"{laughs} a", "text", None),
        (TEXT, b'{"text": "a", "usage": 1}', "text", {"text": "a", "usage": 1}),
        (TEXT, b"start\tend\ttext\n0\t500\ta\n", "tsv", None),
        (TEXT, b"", "tsv", None),
        (JSON, b'[{"text": "a"}]', "lrc", [{"text": "a"}]),
        (JSON, b'{"text": "\xff"}', "json", {"text": "\ufffd"}),
        (JSON, b'\xef\xbb\xbf{"text": "\xc3"}', "json", {"text": "\ufffd"}),
        (
            JSON,
            b'{"code": 0, "message": "ok", "data": {"a": 1}}',
            "json",
            {"code": 0, "message": "ok", "data": {"a": 1}},
        ),
    ],
)
def test_a_readable_success(headers: Headers, body: bytes, response_format: str, document: object) -> None:
    assert of_success(headers, body, response_format) == document


GZIP = Headers([(b"content-type", b"application/json"), (b"content-encoding", b"gzip")])


@pytest.mark.parametrize(
    ("headers", "body", "response_format", "reason"),
    [
        (JSON, b"", "json", "it is empty"),
        (JSON, b'{"code": 50001, "message": "busy"}', "json", "it is an error with the status of a success"),
        (TEXT, b' {"detail": "busy"}', "srt", "it is an error with the status of a success"),
        (JSON, b'{"error": "busy"}', "tsv", "it is an error with the status of a success"),
        (HTML, b"<p>busy", "tsv", "it is an HTML page"),
        (
            TEXT,
            b"\xef\xbb\xbf<?xml version='1.0'?>\n<Error><Code>SlowDown</Code></Error>",
            "text",
            "it is an HTML page",
        ),
        (TEXT, b"<!-- nginx --><html>", "text", "it is an HTML page"),
        (JSON, b'{"text": "a', "json", "it is not JSON"),
        (TEXT, b"a", "json", "it is not JSON"),
        (TEXT, b"a", "", "it is not JSON"),
        (HTML, PAGE, "json", "it is not JSON"),
        (JSON, b"[" * 100_000, "json", "it is not JSON"),
        (JSON, b'["a"]', "json", "it is not a JSON object"),
        (JSON, b'"a"', "verbose_json", "it is not a JSON object"),
        (JSON, b"null", "json", "it is not a JSON object"),
        (TEXT, b" \n<!doctype HTML>", "srt", "it is an HTML page"),
        (NONE, b"<HTML>", "vtt", "it is an HTML page"),
        (GZIP, gzip.compress(b'{"text": "a"}', mtime=0), "json", "it is compressed, which the request does not allow"),
        (GZIP, b'{"text": "a"}', "json", "it is compressed, which the request does not allow"),
        (Headers([(b"content-encoding", b"br")]), b"a", "text", "it is compressed, which the request does not allow"),
    ],
)
def test_a_success_that_cannot_be_read(headers: Headers, body: bytes, response_format: str, reason: str) -> None:
    with pytest.raises(APIError) as caught:
        of_success(headers, body, response_format)
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")
    assert caught.value.message.endswith(f": {reason}.")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"text":  "a"}', b'{"text":  "a"}'),
        (b'{"text": "caf\xc3\xa9 \\u00e9 \\n"}', b'{"text": "caf\xc3\xa9 \\u00e9 \\n"}'),
        (b'{"text": "a\\/b \\u0026"}', b'{"text": "a\\/b \\u0026"}'),
        (b'{"text": "\xff"}', '{"text": "\ufffd"}'.encode()),
        ('{"text": "a"}'.encode("utf-16"), b'{"text": "a"}'),
        (b'{"text": "' + KEY + b'"}', b'{"text": "[redacted]"}'),
        (b'{"text": "' + KEY.replace(b"/", b"\\/") + b'"}', b'{"text": "[redacted]"}'),
        (b'{"text": "' + KEY.replace(b"s", b"\\u0073") + b'"}', b'{"text": "[redacted]"}'),
        (KEY.decode().join(('{"text": "', '"}')).encode("utf-16"), b'{"text": "[redacted]"}'),
    ],
)
def test_a_success_is_relayed_unchanged_without_our_key(body: bytes, shown: bytes) -> None:
    assert response_mapping.body_without_key(body, of_success(JSON, body, "json"), redact) == shown


def test_no_text_contains_our_key() -> None:
    text = b"1 " + KEY + b"\xff\n"
    assert response_mapping.body_without_key(text, of_success(TEXT, text, "text"), redact) == b"1 [redacted]\xff\n"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"data: a\n\n", b"data: a\n\n"),
        (b'id: 1\r\ndata: {"a": "\\/"}\r\n\r\n', b'id: 1\r\ndata: {"a": "\\/"}\r\n\r\n'),
        (b"data: x " + KEY + b"\n\n", b"data: x [redacted]\n\n"),
        (b": " + KEY + b"\ndata: {}\n\n", b": [redacted]\ndata: {}\n\n"),
        (
            b"event: failure\r\nid: 7\r\ndata: " + KEY.replace(b"/", b"\\/").join((b'["', b'"]')) + b"\r\n\r\n",
            b'event: failure\r\nid: 7\r\ndata: ["[redacted]"]\r\n\r\n',
        ),
        (b'data: {"a":\ndata: "\\u0073' + KEY[1:] + b'"}\n\n', b'data: {"a":\ndata: "[redacted]"}\n\n'),
    ],
)
def test_an_event_is_relayed_unchanged_without_our_key(raw: bytes, clean: bytes) -> None:
    assert response_mapping.event_without_key(Event(raw), redact).raw == clean
