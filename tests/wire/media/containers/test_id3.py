import pytest

from app.wire.media.containers.id3 import skip_tags, tag_bytes
from app.wire.media.cursor import Cursor, Reading
from tests.wire.media.parts import id3


@pytest.mark.parametrize("payload", [b"", b"x" * 127, b"x" * 128, b"x" * 70_000])
@pytest.mark.parametrize("footer", [False, True])
def test_the_length_of_a_tag_is_in_its_header(payload: bytes, footer: bool) -> None:
    tag = id3(payload, footer=footer)
    assert tag_bytes(tag[:10]) == len(tag)


@pytest.mark.parametrize(
    ("data", "passed"),
    [
        (id3(b"abc") + b"rest of the file", 13),
        (id3(b"abc") * 3 + b"rest of the file", 39),
        (b"ID3\xff\0\0\0\0\0\x05rest of the file", 0),
        (b"ID3\4\0\0\0\0\x80\x05rest of the file", 0),
        (b"fLaC\0\0\0\x22rest of the file", 0),
    ],
)
def test_passes_all_tags_and_nothing_else(data: bytes, passed: int) -> None:
    places: list[tuple[bool, int]] = []

    def read(cursor: Cursor) -> Reading[None]:
        tagged = yield from skip_tags(cursor)
        places.append((tagged, cursor.position))

    Cursor(read).feed(data)
    assert places == [(passed > 0, passed)]
