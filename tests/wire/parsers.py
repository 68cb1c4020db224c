"""Other readers of multipart/form-data with one interface: the parts of a body, or None if it is rejected.

They were written apart from each other and from ours, and are milder: `multipart` takes a preamble and odd heads,
`werkzeug` lines that end in a lone CR or LF as well, python-multipart blanks behind a boundary. Of the last one only
what stands between the boundaries counts: a name that ends in a backslash goes on behind its quote there. It takes no
preamble but line ends, and gets the body from its first boundary on.
"""

import importlib
import re
from collections.abc import Iterator
from typing import Any

from python_multipart.multipart import MultipartParser
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder

from tests.wire.forms import Part

# python-multipart has a package of this name, which steps aside at run time, but not for a type checker.
_multipart: Any = importlib.import_module("multipart")


def by_multipart(boundary: str, body: bytes) -> list[Part] | None:
    """The parts that `multipart` (github.com/defnull/multipart) reads."""
    parser = _multipart.PushMultipartParser(boundary)
    parts: list[Part] = []
    try:
        with parser:
            for event in parser.parse(body):
                if isinstance(event, _multipart.MultipartSegment):
                    segment, data = event, b""
                elif event is None:
                    parts.append((segment.name, segment.filename, data))
                else:
                    data += bytes(event)
    except _multipart.MultipartError:
        return None
    return parts


def by_werkzeug(boundary: str, body: bytes) -> list[Part] | None:
    """The parts that werkzeug's decoder reads."""
    parts: list[Part] = []
    try:
        for event in _events(MultipartDecoder(boundary.encode()), body):
            if isinstance(event, Field | File):
                begun, data = event, b""
                if not isinstance(begun.name, str):  # it has none for a part without a name
                    return None
            elif isinstance(event, Data):
                data += event.data
                if not event.more_data:
                    parts.append((begun.name, getattr(begun, "filename", None), data))
    except ValueError:
        return None
    return parts


def data_by_python_multipart(boundary: str, body: bytes) -> list[bytes]:
    """The data of each part, without its head, as python-multipart reads it."""
    parts: list[bytes] = []

    def take(data: bytes, start: int, end: int) -> None:
        parts[-1] += data[start:end]

    MultipartParser(boundary, {"on_part_begin": lambda: parts.append(b""), "on_part_data": take}).write(
        body[max(0, body.find(b"--" + boundary.encode())) :]
    )
    return parts


def _events(decoder: MultipartDecoder, body: bytes) -> Iterator[Event]:
    decoder.receive_data(body)
    decoder.receive_data(None)
    while True:
        event = decoder.next_event()
        yield event
        if isinstance(event, Epilogue):
            return


def agree(ours: list[Part], theirs: list[Part] | None, body: bytes) -> bool:
    """Whether another reader reads the same parts in this body.

    What stands in a filename is compared unless the body has a backslash or an extended filename: to one reader that is
    a path, of which it takes the end, to another an escape, and only one prefers `filename*`. No filename travels on.
    To one reader a part with an extended filename alone is no file; here the part called `file` is one in any case, and
    a form with another file is refused.
    """
    extended = b"*=" in body
    compared = "" if extended else "presence" if b"\\" in body else "all"
    return theirs is not None and [_said(part, compared) for part in ours] == [_said(part, compared) for part in theirs]


def _said(part: Part, compared: str) -> tuple[str, str | bool, bytes]:
    name, filename, data = part
    told = _plain(filename) if filename and compared == "all" else bool(compared) and filename is not None
    return _plain(name), told, data


def _plain(name: str) -> str:
    """A name without escapes: browsers write a quote as `%22`, libraries with a backslash."""
    text = name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
    return re.sub(r"\\+", r"\\", text).replace('\\"', '"')
