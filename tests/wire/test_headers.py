import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.headers import Header, Headers, caller_headers, retry_after, upstream_request_id


def test_names_are_found_in_any_case_and_values_in_their_order() -> None:
    headers = Headers([(b"X-A", b"1"), (b"x-b", b"2"), (b"x-a", b"3")])
    assert headers.all(b"x-a") == [b"1", b"3"]
    assert headers.get(b"x-a") == b"1"
    assert headers.get(b"x-c") is None
    assert headers.all(b"x-c") == []


def test_text_is_the_first_value_or_nothing() -> None:
    headers = Headers([(b"a", b"\xe9"), (b"a", b"2")])
    assert headers.text(b"a") == "é"
    assert headers.text(b"b") == ""


def test_later_changes_do_not_affect_a_copy() -> None:
    fields = [(b"a", b"1")]
    headers = Headers(fields)
    fields.append((b"authorization", b"trailer"))
    assert headers.get(b"authorization") is None


HOSTILE: list[Header] = [
    (b"Set-Cookie", b"a=b"),
    (b"Connection", b"close"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Content-Length", b"3"),
    (b"Content-Encoding", b"gzip"),
    (b"Upgrade", b"h2c"),
    (b"Server", b"x"),
    (b"Location", b"http://127.0.0.2/"),
    (b"x-ratelimit-remaining-requests", b"0"),
    (b"x-should-retry", b"true"),
    (b"retry-after", b"1"),
    (b"access-control-allow-origin", b"*"),
    (b"x-api-key", b"sk-secret"),
]


def test_only_listed_headers_are_relayed_to_the_caller() -> None:
    answer = Headers(
        [
            *HOSTILE,
            (b"Content-Type", b"application/json"),
            (b"X-Request-ID", b"req_1"),
            (b"OpenAI-Processing-MS", b"12"),
        ]
    )
    assert dict(caller_headers(answer)) == {
        b"content-type": b"application/json",
        b"openai-processing-ms": b"12",
        b"x-upstream-request-id": b"req_1",
    }


@given(
    st.lists(st.tuples(st.sampled_from([b"content-type", b"x-request-id", b"x"]), st.binary(max_size=600)), max_size=5)
)
def test_relayed_values_are_short_and_printable(fields: list[Header]) -> None:
    crossing = caller_headers(Headers(fields))
    assert {name for name, _ in crossing} <= {b"content-type", b"x-upstream-request-id"}
    for _, value in crossing:
        assert len(value) <= 512
        assert value.decode("ascii").isprintable()


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"\xff", b"\0", b"a\tb", b"x" * 513], ids=repr)
def test_an_unprintable_value_is_not_relayed(value: bytes) -> None:
    answer = Headers([(b"x-request-id", value), (b"content-type", b"text/plain")])
    assert caller_headers(answer) == ((b"content-type", b"text/plain"),)
    assert upstream_request_id(answer) is None


def test_the_providers_request_id() -> None:
    assert upstream_request_id(Headers([(b"x-request-id", b"req_1")])) == "req_1"
    assert upstream_request_id(Headers([])) is None


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([(b"retry-after", b"7")], 7),
        ([(b"retry-after", b"0")], 0),
        ([(b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"soon")], 7),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], 30),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00")], 30),
        ([(b"retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT")], 0),
        ([(b"retry-after", b"Wed, 21 Oct 2026")], None),
        ([(b"retry-after", b"Wed, 21 Oct 99999 07:28:00 GMT")], None),
        ([(b"retry-after", b"Wed, 21 Oct 999999999999 07:28:00 GMT")], None),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"soon")], None),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"1.5")], 1.5),
        ([(b"retry-after", b".5")], 0.5),
        ([(b"retry-after", b"1.5.2")], None),
        ([(b"retry-after", b"1e3")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after-ms", b"0.5")], 0.0005),
        ([(b"retry-after-ms", b"86400000")], 3600),
        ([(b"retry-after", b"86400")], 3600),
        ([(b"retry-after", b"Wed, 21 Oct 2037 07:28:00 GMT")], 3600),
        ([(b"retry-after", b"")], None),
        ([(b"retry-after", b"\xb2")], None),
        ([(b"retry-after", b"9" * 5_000)], 3600),
        ([], None),
    ],
)
def test_how_long_the_provider_asks_to_wait(fields: list[Header], seconds: float | None) -> None:
    assert retry_after(Headers(fields), 1_792_567_650.0) == seconds
