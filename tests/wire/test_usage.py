import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.units import AudioMs, Tokens, Usage
from app.wire.sse import Event, EventSplitter
from app.wire.usage import DONE_TYPE, NotJson, document, final_document, is_end_marker, usage_of

TOKENS = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
COUNTED = Usage(tokens=Tokens(input=14, output=45, total=59))


def timed(ms: int) -> Usage:
    return Usage(audio=AudioMs(ms))


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"text": "a", "usage": TOKENS}, COUNTED),
        (
            {"usage": {**TOKENS, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}}},
            Usage(tokens=Tokens(input=14, output=45, total=59, audio=14, text=0)),
        ),
        ({"usage": {**TOKENS, "input_token_details": None}}, COUNTED),
        ({"usage": {**TOKENS, "input_token_details": {"audio_tokens": "14", "text_tokens": True}}}, COUNTED),
        ({"usage": {"input_tokens": 1, "output_tokens": 2}}, Usage(tokens=Tokens(input=1, output=2, total=3))),
        ({"usage": {**TOKENS, "total_tokens": 0}}, COUNTED),
        ({"usage": {**TOKENS, "total_tokens": 60}}, Usage(tokens=Tokens(input=14, output=45, total=60))),
        ({"usage": {"input_tokens": 0, "output_tokens": 0}}, Usage(tokens=Tokens(input=0, output=0, total=0))),
        ({"usage": {"type": "duration", "seconds": 9.5}}, timed(9_500)),
        ({"usage": {"type": "duration", "seconds": 9}}, timed(9_000)),
        ({"usage": {"type": "duration", "seconds": "9.5"}}, timed(9_500)),
        ({"usage": {"type": "duration", "seconds": 0}}, timed(0)),
        ({"usage": {"seconds": 9.0004}}, timed(9_000)),
        ({"duration": 8.47, "text": "a"}, timed(8_470)),
        ({"duration": "8.470000267028809"}, timed(8_470)),
        ({"duration": 8.47, "usage": TOKENS}, COUNTED),
        ({"duration": 8.47, "usage": {"type": "duration", "seconds": 9}}, timed(9_000)),
        ({"duration": 8.47, "usage": {"type": "duration", "seconds": -1}}, timed(8_470)),
        ({"duration": 8.47, "usage": None}, timed(8_470)),
        ({"usage": {**TOKENS, "input_tokens": None, "seconds": 3}}, timed(3_000)),
        ({"usage": {"seconds": 366 * 86_400}}, timed(366 * 86_400_000)),
    ],
)
def test_reported_usage(answer: object, usage: Usage) -> None:
    assert usage_of(answer) == usage


ODD_NUMBERS: list[Any] = [
    None,
    True,
    False,
    -1,
    "",
    "x",
    [],
    {},
    [3],
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    "nan",
    "1e999",
]


@pytest.mark.parametrize("odd", [*ODD_NUMBERS, 14.0, "14", 10_000_000_001], ids=repr)
@pytest.mark.parametrize("place", ["input_tokens", "output_tokens"])
def test_an_invalid_count_is_not_usage(place: str, odd: object) -> None:
    assert usage_of({"usage": {**TOKENS, place: odd}}) is None


@pytest.mark.parametrize("odd", [*ODD_NUMBERS, 366 * 86_400 + 1], ids=repr)
def test_an_invalid_length_is_not_usage(odd: object) -> None:
    assert usage_of({"usage": {"type": "duration", "seconds": odd}, "duration": odd}) is None


@pytest.mark.parametrize("answer", [None, 1, "usage", [], [{"usage": TOKENS}], {}, {"usage": [TOKENS]}, {"text": "a"}])
def test_other_shapes_report_no_usage(answer: object) -> None:
    assert usage_of(answer) is None


ANY_NUMBER = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**400, -(10**400)])
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
USAGE_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "duration": ANY_VALUE,
        "usage": ANY_VALUE
        | st.fixed_dictionaries(
            {},
            optional={
                "type": ANY_VALUE,
                "seconds": ANY_VALUE,
                "input_tokens": ANY_NUMBER,
                "output_tokens": ANY_NUMBER,
                "total_tokens": ANY_VALUE,
                "input_token_details": ANY_VALUE | st.dictionaries(st.just("audio_tokens"), ANY_VALUE),
            },
        ),
    },
)


@given(ANY_VALUE | USAGE_LIKE)
def test_any_document_gives_usage_within_limits_or_none(answer: object) -> None:
    usage = usage_of(answer)
    if usage is None:
        return
    assert (usage.audio is None) != (usage.tokens is None)
    if usage.audio is not None:
        assert 0 <= usage.audio <= 366 * 86_400_000
    else:
        assert usage.tokens is not None
        counts = (usage.tokens.input, usage.tokens.output, usage.tokens.audio or 0, usage.tokens.text or 0)
        assert all(type(count) is int and 0 <= count <= 10_000_000_000 for count in counts)


@given(USAGE_LIKE)
def test_a_document_gives_the_same_usage_after_serialisation(answer: dict[str, object]) -> None:
    assert usage_of(document(json.dumps(answer).encode())) == usage_of(answer)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_not_json(body: bytes) -> None:
    try:
        told = document(body)
    except NotJson:
        return
    # As text, because NaN is not equal to itself.
    assert repr(document(json.dumps(told).encode())) == repr(told)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a": 1',
        b"{} {}",
        b"'a'",
        b"<html>",
        b"\xff\xfe\xff",
        b"[" * 100_000,
        b"9" * 5_000,
        b'{"a":' * 100_000,
    ],
    ids=[
        "empty",
        "blank",
        "open",
        "cut",
        "two",
        "single quotes",
        "HTML",
        "no UTF-8",
        "deep",
        "long number",
        "deep object",
    ],
)
def test_other_bytes_are_not_json(body: bytes) -> None:
    with pytest.raises(NotJson):
        document(body)


def event(text: str) -> Event:
    return Event(text.encode() + b"\n\n")


DONE = {"type": DONE_TYPE, "text": "a", "usage": TOKENS}


@pytest.mark.parametrize(
    "raw",
    [
        f"data: {json.dumps(DONE)}",
        f"data:{json.dumps(DONE)}",
        f"event: {DONE_TYPE}\ndata: {json.dumps(DONE)}",
        "\n".join(f"data: {line}" for line in json.dumps(DONE, indent=1).splitlines()),
        f"\N{ZERO WIDTH NO-BREAK SPACE}data: {json.dumps(DONE)}",
    ],
    ids=["plain", "no blank", "named", "several lines", "byte order mark"],
)
def test_the_done_event_is_found_in_every_notation(raw: str) -> None:
    answer = final_document(event(raw))
    assert answer == DONE
    assert usage_of(answer) == COUNTED


@pytest.mark.parametrize(
    "raw",
    [
        'data: {"type": "transcript.text.delta", "delta": "a"}',
        f'data: {{"type": "transcript.text.delta", "delta": "{DONE_TYPE}"}}',
        f'data: {{"type": "{DONE_TYPE}"',
        f'data: ["{DONE_TYPE}"]',
        f": {DONE_TYPE}",
        f"event: {DONE_TYPE}",
        "data: [DONE]",
        "",
    ],
)
def test_no_other_event_is_the_done_event(raw: str) -> None:
    assert final_document(event(raw)) is None


@pytest.mark.parametrize(
    ("raw", "is_it"),
    [
        ("data: [DONE]", True),
        ("data:[DONE]  ", True),
        ("id: 1\ndata: [DONE]", True),
        ('data: {"delta": "[DONE]"}', False),
        (": [DONE]", False),
        ("data: DONE", False),
    ],
)
def test_the_end_marker(raw: str, is_it: bool) -> None:
    assert is_end_marker(event(raw)) is is_it


@given(st.binary(max_size=80), st.sampled_from([b"", DONE_TYPE.encode(), b"[DONE]", b'"error"']))
def test_any_event_can_be_asked(noise: bytes, word: bytes) -> None:
    asked = Event(b"data: " + noise + word + b"\n\n")
    assert final_document(asked) is None
    assert is_end_marker(asked) is (asked.data.strip() == b"[DONE]")


STREAM_WORDS = st.sampled_from(
    [
        *(
            b"data: ",
            b"data:",
            b"\n\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b"\xef\xbb\xbf",
            b": ",
            b"[DONE]",
            b"{",
            b"}",
            b"[",
            b'"',
        ),
        *(
            b'"type": "%b"' % DONE_TYPE.encode(),
            b'"error": ',
            b'"usage": ',
            b'"seconds": ',
            b"1e999",
            b"NaN",
            b"\\ud800",
        ),
    ]
)


@given(st.lists(STREAM_WORDS | st.binary(max_size=6), max_size=40), st.integers(0, 400))
def test_any_bytes_can_be_read_as_a_stream_and_asked_for_their_usage(words: list[bytes], cut: int) -> None:
    stream = b"".join(words)
    splitter = EventSplitter()
    events = [*splitter.feed(stream[:cut]), *splitter.feed(stream[cut:]), splitter.finish()]
    assert b"".join(each.raw for each in events if each is not None) == stream
    for each in filter(None, events):
        answer = final_document(each)
        assert answer is None or DONE_TYPE.encode() in each.raw
        assert usage_of(answer) is None or answer is not None
        assert not is_end_marker(each) or b"[DONE]" in each.data


@given(st.lists(STREAM_WORDS | st.binary(max_size=6), max_size=40))
def test_usage_of_any_bytes_never_raises(words: list[bytes]) -> None:
    try:
        told = document(b"".join(words))
    except NotJson:
        return
    usage = usage_of(told)
    assert usage is None or isinstance(told, dict)


def test_an_event_of_too_many_parts_is_not_read() -> None:
    """On the event loop, where 8 MB of brackets take half a second; the length alone says little."""
    start = f'data: {{"type": "{DONE_TYPE}", "text": '.encode()
    parts = Event(start + b"[" + b"[]," * 600_000 + b"[]]}\n\n")
    lines = Event(start + b'""}\n' + b"data:\n" * 600_000 + b"\n")
    text = Event(start + b'"' + b"hello, " * 300_000 + b'"}\n\n')
    assert final_document(parts) is None
    assert final_document(lines) is None
    assert final_document(text) is not None


def test_an_end_marker_is_a_short_event() -> None:
    assert is_end_marker(Event(b": ping\nid: 1\ndata: [DONE]\n\n"))
    assert not is_end_marker(Event(b"data: [DONE]\n" + b"data:\n" * 1_000 + b"\n"))
