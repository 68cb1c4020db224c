import re

from app.wire.media.cursor import Cursor, Reading


def test_a_reader_gets_fewer_bytes_only_at_the_end() -> None:
    seen: list[bytes] = []

    def read(cursor: Cursor) -> Reading[None]:
        seen.append((yield 4))
        cursor.skip(4)
        seen.append((yield 4))

    cursor = Cursor(read)
    for byte in b"abcdef":
        cursor.feed(bytes([byte]))
    assert seen == [b"abcd"]
    cursor.finish()
    assert seen == [b"abcd", b"ef"]


def test_skipped_returns_how_many_bytes_are_present() -> None:
    passed: list[int] = []

    def read(cursor: Cursor) -> Reading[None]:
        passed.append((yield from cursor.skipped(3)))
        passed.append((yield from cursor.skipped(1 << 62)))
        passed.append((yield from cursor.skipped(2)))

    cursor = Cursor(read)
    cursor.feed(b"ab")
    cursor.feed(b"cdefg")
    cursor.finish()
    assert passed == [3, 4, 0]


def test_skipped_bytes_are_never_kept() -> None:
    seen: list[bytes] = []

    def read(cursor: Cursor) -> Reading[None]:
        cursor.skip(5)
        cursor.skip(3)
        seen.append((yield 2))

    cursor = Cursor(read)
    for piece in (b"abc", b"de", b"fg"):
        cursor.feed(piece)
        assert cursor.window == b""
    assert cursor.position == 8
    cursor.feed(b"hij")
    assert seen == [b"ij"]


def test_no_bytes_follow_a_skip_beyond_the_end() -> None:
    seen: list[object] = []

    def read(cursor: Cursor) -> Reading[None]:
        cursor.skip(20)
        seen.append((yield from cursor.skipped(30)))
        seen.append((yield from cursor.find(re.compile(b"a"), 1)))
        seen.append((yield 1))

    cursor = Cursor(read)
    cursor.feed(b"aaaa")
    cursor.finish()
    assert seen == [0, False, b""]


def test_find_matches_across_chunks() -> None:
    places: list[int] = []

    def read(cursor: Cursor) -> Reading[None]:
        while (yield from cursor.find(re.compile(b"OggS"), 4)):
            places.append(cursor.position)
            cursor.skip(1)

    cursor = Cursor(read)
    for piece in (b"..Og", b"gS....O", b"ggSO"):
        cursor.feed(piece)
    cursor.finish()
    assert places == [2, 10]


def test_confine_ends_the_file_for_the_reader() -> None:
    seen: list[object] = []

    def read(cursor: Cursor) -> Reading[None]:
        cursor.confine(5)
        seen.append((yield 8))
        seen.append((yield from cursor.find(re.compile(b"f"), 1)))
        seen.append((yield from cursor.skipped(8)))

    for pieces in ((b"abcdefgh",), (b"abc", b"defgh"), (b"abcde",)):
        cursor = Cursor(read)
        for piece in pieces:
            cursor.feed(piece)
        assert seen == [b"abcde", False, 0]
        seen.clear()


def test_a_confined_reader_that_skips_further_gets_the_end_at_once() -> None:
    seen: list[object] = []

    def read(cursor: Cursor) -> Reading[None]:
        cursor.confine(5)
        seen.append((yield from cursor.skipped(100)))

    cursor = Cursor(read)
    cursor.feed(b"abc")
    assert seen == []
    cursor.feed(b"defg")
    assert seen == [5]


def test_too_many_short_steps_exhaust_the_reader() -> None:
    def read(cursor: Cursor) -> Reading[None]:
        while (yield 1):
            cursor.skip(1)

    cursor = Cursor(read)
    cursor.feed(bytes(1 << 20))
    assert cursor.exhausted
    assert cursor.position < 80_000


def test_bytes_after_the_reader_has_returned_are_only_counted() -> None:
    def read(cursor: Cursor) -> Reading[None]:
        cursor.skip(1)
        yield 0

    cursor = Cursor(read)
    cursor.feed(b"abc")
    cursor.feed(b"defg")
    cursor.finish()
    assert cursor.size == 7
    assert cursor.window == b""


def test_pass_until_stops_at_the_mark() -> None:
    def places(count: int, pieces: tuple[bytes, ...]) -> tuple[bool, int]:
        seen: list[tuple[bool, int]] = []

        def read(cursor: Cursor) -> Reading[None]:
            found = yield from cursor.pass_until(b"mark", count)
            seen.append((found, cursor.position))

        cursor = Cursor(read)
        for piece in pieces:
            cursor.feed(piece)
        cursor.finish()
        return seen[0]

    for pieces in ((b"..mark..",), (b"..ma", b"rk", b".."), tuple(bytes([each]) for each in b"..mark..")):
        assert places(3, pieces) == (True, 2)
        assert places(2, pieces) == (False, 2)
        assert places(100, pieces) == (True, 2)
    assert places(100, (b"..mar",)) == (False, 100)
