"""Parses the headers of a part, and the Content-Type with the boundary."""

import re
from typing import NamedTuple

MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 4096

# The headers that SDKs and curl send: only these two, without escapes, in ASCII.
_PLAIN_HEAD = re.compile(
    rb'Content-Disposition: form-data; name="([ !#-\[\]-~]{1,1000})"(?:; filename="([ !#-\[\]-~]{0,1000})")?\r\n'
    rb"(?:Content-Type: [ -~]{1,1000}\r\n)?\r\n"
)
_NAME = r"[0-9A-Za-z_*-]+"
_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PARAMETER = re.compile(rf" *; *({_NAME})=(?:({_VALUE})|{_QUOTED})")
# Of a Content-Type: many clients write a boundary such as `----=_Part_1` without the required quotes.
_LAX_PARAMETER = re.compile(rf"[ \t]*;[ \t]*({_NAME})=(?:([!#$%&'()*+,./:=?^_`|~0-9A-Za-z-]+)|{_QUOTED})")
_ESCAPED = re.compile(r'\\(["\\])')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_BAD_ESCAPE = re.compile(r'(?:^|[^\\])(?:\\\\)*\\[^"\\]')
_HEADER = re.compile(r"([0-9A-Za-z_-]+):(.*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE_BREAK_OR_NUL = re.compile(r"[\x00\r\n]")
_NOT_UTF_8 = re.compile(r"[\udc80-\udcff]")
_IDENTITY_ENCODINGS = frozenset({"7bit", "8bit", "binary"})


class MalformedForm(ValueError):
    """The body is not a valid form. The message is safe to return to the caller."""


class PartBegin(NamedTuple):
    """The head of a part: the field's name, and the file name if the part is a file (`""` for an empty one)."""

    name: str
    filename: str | None


def parse_boundary(content_type: str) -> str:
    """The boundary in a Content-Type of multipart/form-data; raises MalformedForm unless there is one valid one."""
    boundary = _parameters(content_type.partition(";")[0], content_type, _LAX_PARAMETER).get("boundary")
    if boundary is None:
        raise MalformedForm("the Content-Type has no boundary; let the HTTP library write this header")
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedForm(
            "the Content-Type has an invalid boundary: use 1 to 70 letters, digits or any of '()+_,-./:=? and, "
            "in quotes, spaces"
        )
    return boundary


def plain_head(data: bytes, at: int) -> tuple[PartBegin, int] | None:
    """The head that begins at `at` and its end, if it is complete and in the form that SDKs send."""
    plain = _PLAIN_HEAD.match(data, at)
    if plain is None:
        return None
    name, filename = plain.groups()
    return PartBegin(name.decode(), None if filename is None else filename.decode()), plain.end()


def parse_header(line: bytes) -> tuple[str, str]:
    """The name of a header in lower case, and its value; bytes that are not UTF-8 become surrogates."""
    check_length(line)
    text = line.decode(errors="surrogateescape")
    if _LINE_BREAK_OR_NUL.search(text):
        raise MalformedForm("a part's header contains a line break or a NUL")
    match = _HEADER.fullmatch(text)
    if match is None:
        raise MalformedForm("a part's header does not begin with a name and a colon")
    return match[1].lower(), match[2].strip(" ")


def check_length(line: bytes) -> None:
    """Raises MalformedForm if a header, complete or not, is too long."""
    if len(line) > MAX_PART_HEADER_BYTES:
        raise MalformedForm(f"a part's header is longer than {MAX_PART_HEADER_BYTES} bytes")


def parse_head(headers: list[tuple[str, str]]) -> PartBegin:
    """The head of a part with these headers; raises MalformedForm unless they are valid for a field or file."""
    dispositions = [value for name, value in headers if name == "content-disposition"]
    if len(dispositions) != 1:
        raise MalformedForm("a part does not have exactly one Content-Disposition")
    if any(value.lower() not in _IDENTITY_ENCODINGS for name, value in headers if name == "content-transfer-encoding"):
        raise MalformedForm("a part has a Content-Transfer-Encoding other than 7bit, 8bit or binary")
    parameters = _parameters("form-data", dispositions[0], _PARAMETER)
    if "name" not in parameters:
        raise MalformedForm("a part has no name")
    return PartBegin(_check_name(parameters["name"]), parameters.get("filename", parameters.get("filename*")))


def _check_name(name: str) -> str:
    """The name, which is sent upstream. File names need no check because they are never used."""
    if _NOT_UTF_8.search(name):
        raise MalformedForm("a part's name is not UTF-8")
    if _CONTROL.search(name):
        raise MalformedForm("a part's name has a control character")
    return name


def _parameters(value: str, header: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """The parameters after `value` in a header. The only extended parameter allowed is `filename*`."""
    if header[: len(value)].lower() != value.lower():
        raise MalformedForm(f"a header is not {value}")
    parameters: dict[str, str] = {}
    position = len(value)
    while match := pattern.match(header, position):
        name, position = match[1].lower(), match.end()
        if name in parameters:
            raise MalformedForm(f"a header has the parameter {name!r} twice")
        if name == "name" and _BAD_ESCAPE.search(match[3] or ""):
            raise MalformedForm("a part's name has a backslash that escapes neither a quote nor a backslash")
        parameters[name] = match[2] if match[2] is not None else _ESCAPED.sub(r"\1", match[3])
    if header[position:].strip(" \t;"):
        raise MalformedForm("a header's parameters are invalid; a value may lack its quotes")
    for name in parameters:
        if "*" in name and name != "filename*":
            raise MalformedForm(f"a header has the parameter {name!r}, which servers read differently")
    return parameters
