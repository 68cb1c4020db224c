"""Runs the gateway's reader over the pieces of a body."""

from collections.abc import Iterable

from app.wire.multipart import MalformedForm, MultipartReader, PartBegin
from tests.wire.forms import Part


def read(boundary: str, pieces: Iterable[bytes]) -> list[Part]:
    """The parts of a form; asserts that the order of events follows the grammar."""
    reader = MultipartReader(boundary)
    parts: list[Part] = []
    begun: PartBegin | None = None
    data = b""
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, PartBegin):
                assert begun is None
                begun, data = event, b""
                continue
            assert begun is not None
            if event is not None:
                assert event, "an event without a byte"
                data += event
            else:
                parts.append((begun.name, begun.filename, data))
                begun = None
    reader.finish()
    assert begun is None
    return parts


def read_or_none(boundary: str, pieces: Iterable[bytes]) -> list[Part] | None:
    """The parts of a form, or None if it is rejected."""
    try:
        return read(boundary, pieces)
    except MalformedForm:
        return None
