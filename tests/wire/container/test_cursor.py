import re

from app.wire.container.cursor import Cursor, Reading


def test_a_short_peek_tells_the_end() -> None:
    seen: list[bytes] = []

    def read(cursor: Cursor) -> Reading[None]:
        seen.append((yield from cursor.peek(4)))
        yield from cursor.skip(4)
        seen.append((yield from cursor.peek(4)))

    cursor = Cursor(read)
    for byte in b"abcdef":
        cursor.feed(bytes([byte]))
    assert seen == [b"abcd"]
    cursor.finish()
    assert seen == [b"abcd", b"ef"]


def test_skip_tells_how_much_was_there() -> None:
    passed: list[int] = []

    def read(cursor: Cursor) -> Reading[None]:
        passed.append((yield from cursor.skip(3)))
        passed.append((yield from cursor.skip(1 << 62)))

    cursor = Cursor(read)
    cursor.feed(b"ab")
    cursor.feed(b"cdefg")
    cursor.finish()
    assert passed == [3, 4]


def test_find_sees_a_match_across_pieces() -> None:
    places: list[int] = []

    def read(cursor: Cursor) -> Reading[None]:
        while (yield from cursor.find(re.compile(b"OggS"), 4)):
            places.append(cursor.position)
            yield from cursor.skip(1)

    cursor = Cursor(read)
    for piece in (b"..Og", b"gS....O", b"ggSO"):
        cursor.feed(piece)
    cursor.finish()
    assert places == [2, 10]


def test_the_limit_ends_the_file_for_the_reader() -> None:
    seen: list[object] = []

    def read(cursor: Cursor) -> Reading[None]:
        cursor.limit = 5
        seen.append((yield from cursor.peek(8)))
        seen.append((yield from cursor.find(re.compile(b"f"), 1)))
        seen.append((yield from cursor.skip(8)))

    cursor = Cursor(read)
    cursor.feed(b"abcdefgh")
    assert seen == [b"abcde", False, 0]


def test_too_many_short_steps_end_the_file() -> None:
    def read(cursor: Cursor) -> Reading[None]:
        while (yield from cursor.peek(1)):
            yield from cursor.skip(1)

    cursor = Cursor(read)
    cursor.feed(bytes(1 << 20))
    assert cursor.exhausted
    assert cursor.position < 80_000 or cursor.window == b""


def test_bytes_after_the_reader_has_returned_are_only_counted() -> None:
    def read(cursor: Cursor) -> Reading[None]:
        yield from cursor.skip(1)

    cursor = Cursor(read)
    cursor.feed(b"abc")
    cursor.feed(b"defg")
    cursor.finish()
    assert cursor.size == 7
    assert cursor.window == b""
