from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.sse import MAX_EVENT_BYTES, Event, EventSplitter, EventTooLarge
from tests.wire.splits import splits


def split(pieces: tuple[bytes, ...]) -> list[Event]:
    """All events of a stream that ends properly."""
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    last = splitter.finish()
    return events if last is None else [*events, last]


def data_of(events: list[Event]) -> list[bytes]:
    """The data of the events that have any; a split line end makes an event without data."""
    return [event.data for event in events if event.data]


STREAMS = {
    "LF": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed ends": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\rdata: e\r\n\r", [b"a", b"b", b"c", b"d", b"e"]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"a", b"b"]),
    "data of several lines": (b"data: a\ndata: b\ndata:\ndata:  c\n\n", [b"a\nb\n\n c"]),
    "data of several lines with CRLF": (b"data: a\r\ndata:b\r\n\r\n", [b"a\nb"]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [b"a", b"b"]),
    "no line's end at the end": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "comments and other fields": (b": ping\n\nevent: x\nid: 1\ndata: a\nretry: 3\n\n:\n\n", [b"a"]),
    "blank lines": (b"\n\n\n\r\n\r\n\r\rdata: a\n\n\n\n", [b"a"]),
    "beyond ASCII": (
        "data: größe \N{SPEAKER}\n\ndata: 語\u2028\x85\n\n".encode(),
        [*map(str.encode, ("größe \N{SPEAKER}", "語\u2028\x85"))],
    ),
    "bytes that are no UTF-8": (b"data: \xff\xfe\n\ndata: \xc3\n\n", [b"\xff\xfe", b"\xc3"]),
    "the end marker": (b'data: {"a": 1}\n\ndata: [DONE]\n\n', [b'{"a": 1}', b"[DONE]"]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("stream", "data"), STREAMS.values(), ids=STREAMS.keys())
def test_the_same_data_and_not_a_byte_changed_for_every_split(stream: bytes, data: list[bytes]) -> None:
    for pieces in splits(stream):
        events = split(pieces)
        assert b"".join(event.raw for event in events) == stream
        assert data_of(events) == data


LINES = st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b"data:", b":c", b"\xef\xbb\xbf", b"\xc3", b"y"])


@given(st.lists(LINES | st.binary(max_size=5), max_size=20), st.lists(st.integers(0, 60), max_size=4))
def test_the_joined_bytes_are_the_input_for_any_split_of_any_bytes(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(lines)
    edges = [0, *sorted(cuts), max(len(stream), *cuts, 0)]
    pieces = tuple(stream[start:end] for start, end in pairwise(edges))
    events = split(pieces)
    assert b"".join(event.raw for event in events) == stream
    assert data_of(events) == data_of(split((stream,)))


def test_an_event_is_complete_with_its_blank_line() -> None:
    splitter = EventSplitter()
    assert list(splitter.feed(b"data: a\n")) == []
    assert list(splitter.feed(b"\ndata: b")) == [Event(b"data: a\n\n")]
    assert list(splitter.feed(b"\n\n")) == [Event(b"data: b\n\n")]
    assert splitter.finish() is None


def test_an_incomplete_event_waits_for_the_end() -> None:
    splitter = EventSplitter()
    assert list(splitter.feed(b"data: a\n\ndata: b\n")) == [Event(b"data: a\n\n")]
    assert splitter.finish() == Event(b"data: b\n")
    assert splitter.finish() is None


def test_an_event_of_a_megabyte_is_accepted() -> None:
    stream = b"data: " + b"x" * 1_000_000 + b"\n\n"
    pieces = tuple(stream[at : at + 65_536] for at in range(0, len(stream), 65_536))
    assert split(pieces) == [Event(stream)]


def test_an_endless_event_is_rejected_at_the_limit() -> None:
    splitter = EventSplitter()
    assert list(splitter.feed(b"x" * MAX_EVENT_BYTES)) == []
    with pytest.raises(EventTooLarge):
        list(splitter.feed(b"x"))


def test_many_small_events_may_exceed_the_limit_together() -> None:
    event = b"data: " + b"x" * 1_000 + b"\n\n"
    assert len(list(EventSplitter().feed(event * (MAX_EVENT_BYTES // 1_000 + 1)))) == MAX_EVENT_BYTES // 1_000 + 1
