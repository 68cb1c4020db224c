"""multipart/form-data, read as it arrives and written anew (RFC 7578 over RFC 2046, 5.1).

Reading: feed bytes, get events; the same events for every split of the same bytes.

    body  = "--" boundary CRLF part *(CRLF "--" boundary CRLF part) CRLF "--" boundary "--" [CRLF epilogue]
    part  = PartBegin PartData* PartEnd

python-multipart finds the boundaries. It forgives more than a gateway may (what two parsers read differently, an
attacker can use), so this wrapper refuses besides: a boundary that RFC 2046 does not allow, a preamble, a line that
begins with the boundary and is no delimiter (also behind a lone CR or LF, or right behind a part's head), an epilogue
above 1 KiB, a body without its closing boundary, a part without exactly one plain `Content-Disposition: form-data` with
a name, a transfer encoding that would change the bytes, control characters in a header, and anything above the caps.

Writing: `FormWriter` makes our own serialisation; no byte of the caller's framing is used again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 256
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 4096
MAX_EPILOGUE_BYTES = 1024

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_NAME}\*?)=(?:({_NAME})|"((?:[^"\\]|\\.)*)")')
# What every SDK and curl send: nothing escaped, nothing else.
_PLAIN_DISPOSITION = re.compile(r'form-data; name="([^"\\]+)"(?:; filename="([^"\\]*)")?')
_ESCAPED = re.compile(r'\\(["\\])')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_ODD_PAIR = re.compile(r'(?:^|[^\\])(?:\\\\)*\\[^"\\]')
_HEADER_NAME = re.compile(r"[0-9A-Za-z_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OFFSET = re.compile(r" (?:at \d+|\(\d+\))$")
_IDENTITY_ENCODINGS = frozenset({"7bit", "8bit", "binary"})


class MalformedForm(ValueError):
    """The bytes are not the form that their header announced. The message is fit for the caller."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part's head: the field's name, and the filename if the part is a file (`""` for an empty one)."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    pass


Event = PartBegin | PartData | PartEnd


def boundary_of(content_type: str) -> str:
    """The boundary that a Content-Type of multipart/form-data names; MalformedForm for none, two or a bad one."""
    parameters = _parameters(content_type.partition(";")[0], content_type)
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedForm("the Content-Type names no valid boundary")
    return boundary


class MultipartReader:
    """Push parser of one form. `feed` what arrives; `finish` at the body's end, which proves the form complete."""

    def __init__(self, boundary: str) -> None:
        self._line = f"--{boundary}".encode()
        self._parser = MultipartParser(
            boundary.encode(),
            self._callbacks(),
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )
        self._events: list[Event] = []
        self._header = bytearray()
        self._value = bytearray()
        self._part_headers: list[tuple[str, str]] = []
        self._parts = 0
        self._delimited = 0
        self._begun = False
        self._ended = False
        self._epilogue = 0
        # The last bytes seen, which may be the beginning of a delimiter; the first one stands there without its CRLF.
        self._tail = b"\r\n"

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete."""
        if not data:
            return []
        if not self._begun:
            self._begin(data)
        if self._within_part(data):
            return [PartData(data)]
        start = 0
        for end, parts in self._delimiters(data):
            self._feed_piece(data[start:end])
            if not self._ended and self._parts != parts:
                raise MalformedForm("a line begins with its boundary and is no delimiter")
            start = end
        self._feed_piece(data[start:] if start else data)
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """MalformedForm unless the closing boundary has been read."""
        if not self._ended:
            raise MalformedForm("it ends before its closing boundary")

    def _begin(self, data: bytes) -> None:
        if data[:1] != b"-":
            raise MalformedForm("it does not begin with its boundary")
        self._begun = True

    def _within_part(self, data: bytes) -> bool:
        """Whether all of this is a part's data, with no beginning of a delimiter and no boundary: most of an upload."""
        if self._parser.state is not MultipartState.PART_DATA or self._parser.index:
            return False
        line, reach = self._line, len(self._line) + 3
        last_line = data.rfind(b"\r", -len(line) - 2)
        if last_line >= 0 and (b"\r\n" + line).startswith(data[last_line:]):
            return False
        if line in data or line in self._tail + data[: len(line)]:
            return False
        self._tail = (self._tail + data[-reach:])[-reach:]
        return True

    def _delimiters(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where each line that begins with the boundary ends, so that `_ended` is known before a byte of the epilogue
        is read, and how many parts must have begun by then; no number is right for a closing one, or for no delimiter.
        """
        window = self._tail + data
        offset, length = len(self._tail), len(self._line)
        self._tail = window[-(length + 3) :]
        # What begins before the third byte has been found before.
        found = window.find(self._line, 2)
        while found >= 0:
            behind = found + length
            before, mark = window[found - 2 : found], window[behind : behind + 2]
            if before != b"\r\n":
                if before[1:] in (b"\r", b"\n"):
                    yield behind - offset, -1
            elif mark == b"\r\n":
                self._delimited += 1
                yield behind + 2 - offset, self._delimited
            elif mark not in (b"", b"\r", b"-"):
                yield behind + len(mark) - offset, -1
            found = window.find(self._line, behind)

    def _feed_piece(self, piece: bytes) -> None:
        if self._ended:
            self._epilogue += len(piece)
            if self._epilogue > MAX_EPILOGUE_BYTES:
                raise MalformedForm(f"more than {MAX_EPILOGUE_BYTES} bytes follow its closing boundary")
            return
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedForm(_reason(error)) from error

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedForm(f"it has more than {MAX_PARTS} parts")
        self._part_headers = []

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        name, value = self._header.decode("ascii").lower(), _text(bytes(self._value)).strip(" \t")
        if not _HEADER_NAME.fullmatch(name):
            raise MalformedForm("a part's header has a name with other characters than letters, digits and hyphens")
        self._part_headers.append((name, value))
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        self._events.append(_part_begin(self._part_headers))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        whole = start == 0 and end == len(data)
        self._events.append(PartData(data if whole else data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(PartEnd())

    def _on_end(self) -> None:
        self._ended = True


class FormWriter:
    """Writes a form of our own. The boundary must not occur in any part: hand in 16 random bytes or more as hex."""

    def __init__(self, boundary: str) -> None:
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._open = f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
        self._close = f"--{boundary}--\r\n".encode()

    def field(self, name: str, value: bytes) -> bytes:
        """A whole text field."""
        return b'%b"%b"\r\n\r\n%b\r\n' % (self._open, _quoted(name), value)

    def file_head(self, filename: str, media_type: str) -> bytes:
        """What comes before the bytes of `file`."""
        return b'%b"file"; filename="%b"\r\nContent-Type: %b\r\n\r\n' % (
            self._open,
            filename.encode(),
            media_type.encode(),
        )

    def file_end(self) -> bytes:
        return b"\r\n"

    def close(self) -> bytes:
        """The closing boundary: without it no upstream has a complete request."""
        return self._close


def _part_begin(headers: list[tuple[str, str]]) -> PartBegin:
    dispositions = [value for name, value in headers if name == "content-disposition"]
    if len(dispositions) != 1:
        raise MalformedForm("a part has not exactly one Content-Disposition")
    if any(value.lower() not in _IDENTITY_ENCODINGS for name, value in headers if name == "content-transfer-encoding"):
        raise MalformedForm("a part has a Content-Transfer-Encoding that is not identity")
    if plain := _PLAIN_DISPOSITION.fullmatch(dispositions[0]):
        return PartBegin(plain[1], plain[2])
    parameters = _parameters("form-data", dispositions[0])
    if "name" not in parameters:
        raise MalformedForm("a part has no name")
    return PartBegin(parameters["name"], parameters.get("filename"))


def _parameters(value: str, header: str) -> dict[str, str]:
    """The parameters after `value` in a header. Of extended ones only `filename*` may stand, beside the plain one."""
    if not header[: len(value)].lower() == value.lower():
        raise MalformedForm(f"a header is not {value}")
    parameters: dict[str, str] = {}
    position = len(value)
    while match := _PARAMETER.match(header, position):
        name, position = match[1].lower(), match.end()
        if name in parameters:
            raise MalformedForm(f"a header has the parameter {name!r} twice")
        if name == "name" and _ODD_PAIR.search(match[3] or ""):
            raise MalformedForm("a part's name has a backslash before another character than a quote or a backslash")
        parameters[name] = match[2] if match[2] is not None else _ESCAPED.sub(r"\1", match[3])
    if header[position:].strip(" \t;"):
        raise MalformedForm("a header's parameters cannot be read")
    for name in parameters:
        if "*" in name and (name != "filename*" or "filename" not in parameters):
            raise MalformedForm(f"a header has the parameter {name!r}, which is not read alike everywhere")
    return parameters


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise MalformedForm("a part's header is not UTF-8") from error
    if _CONTROL.search(text):
        raise MalformedForm("a part's header has a control character")
    return text


def _quoted(name: str) -> bytes:
    """A field's name as browsers write it (WHATWG HTML, multipart/form-data encoding algorithm), but with backslashes
    escaped as httpx does: most readers undo that, and a lone one at the end would swallow the closing quote.
    """
    return name.replace("\\", "\\\\").replace('"', "%22").encode()


def _reason(error: FormParserError) -> str:
    """The parser's words, which never speak of content, without their offset: it counts from where the body was cut."""
    return _OFFSET.sub("", str(error).rstrip(".").lower()) or "it cannot be read"
