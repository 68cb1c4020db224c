"""A part's head, and what else is written like it: the Content-Type that names the boundary."""

import re
from typing import NamedTuple

MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 4096

# What SDKs and curl send: no other header than these two, nothing escaped, nothing beyond ASCII.
_PLAIN_HEAD = re.compile(
    rb'Content-Disposition: form-data; name="([ !#-\[\]-~]{1,1000})"(?:; filename="([ !#-\[\]-~]{0,1000})")?\r\n'
    rb"(?:Content-Type: [ -~]{1,1000}\r\n)?\r\n"
)
_NAME = r"[0-9A-Za-z_*-]+"
_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PARAMETER = re.compile(rf" *; *({_NAME})=(?:({_VALUE})|{_QUOTED})")
# A Content-Type's: many clients write a boundary such as `----=_Part_1` without the quotes that it needs.
_LAX_PARAMETER = re.compile(rf"[ \t]*;[ \t]*({_NAME})=(?:([!#$%&'()*+,./:=?^_`|~0-9A-Za-z-]+)|{_QUOTED})")
_ESCAPED = re.compile(r'\\(["\\])')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_ODD_PAIR = re.compile(r'(?:^|[^\\])(?:\\\\)*\\[^"\\]')
_HEADER = re.compile(r"([0-9A-Za-z_-]+):(.*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NEVER_IN_A_LINE = re.compile(r"[\x00\r\n]")
_NOT_UTF_8 = re.compile(r"[\udc80-\udcff]")
_IDENTITY_ENCODINGS = frozenset({"7bit", "8bit", "binary"})


class MalformedForm(ValueError):
    """The bytes are not the form that their header announced. The message is fit for the caller."""


class PartBegin(NamedTuple):
    """A part's head: the field's name, and the filename if the part is a file (`""` for an empty one)."""

    name: str
    filename: str | None


def boundary_of(content_type: str) -> str:
    """The boundary that a Content-Type of multipart/form-data names; MalformedForm for none, two or a bad one."""
    boundary = _parameters(content_type.partition(";")[0], content_type, _LAX_PARAMETER).get("boundary")
    if boundary is None:
        raise MalformedForm("the Content-Type names no boundary; let the HTTP library write this header")
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedForm(
            "the Content-Type names no valid boundary: it has 1 to 70 letters, digits or any of '()+_,-./:=? and, "
            "in quotes, blanks"
        )
    return boundary


def plain_head(data: bytes, at: int) -> tuple[PartBegin, int] | None:
    """The head that begins here and where it ends, if it is whole and as SDKs send it."""
    plain = _PLAIN_HEAD.match(data, at)
    if plain is None:
        return None
    name, filename = plain.groups()
    return PartBegin(name.decode(), None if filename is None else filename.decode()), plain.end()


def header_of(line: bytes) -> tuple[str, str]:
    """A header's name, in lower case, and its value, in which bytes that are not UTF-8 are surrogates."""
    check_length(line)
    text = line.decode(errors="surrogateescape")
    if _NEVER_IN_A_LINE.search(text):
        raise MalformedForm("a part's header has a line break or a NUL inside")
    match = _HEADER.fullmatch(text)
    if match is None:
        raise MalformedForm("a part's header does not begin with a name of letters, digits and hyphens and a colon")
    return match[1].lower(), match[2].strip(" ")


def check_length(line: bytes) -> None:
    """MalformedForm if a header is too long, be it whole or its beginning."""
    if len(line) > MAX_PART_HEADER_BYTES:
        raise MalformedForm(f"a part's header is longer than {MAX_PART_HEADER_BYTES} bytes")


def head_of(headers: list[tuple[str, str]]) -> PartBegin:
    """What these headers make of a part; MalformedForm unless they are those of a form's field or file."""
    dispositions = [value for name, value in headers if name == "content-disposition"]
    if len(dispositions) != 1:
        raise MalformedForm("a part has not exactly one Content-Disposition")
    if any(value.lower() not in _IDENTITY_ENCODINGS for name, value in headers if name == "content-transfer-encoding"):
        raise MalformedForm("a part has a Content-Transfer-Encoding that is not identity")
    parameters = _parameters("form-data", dispositions[0], _PARAMETER)
    if "name" not in parameters:
        raise MalformedForm("a part has no name")
    return PartBegin(_checked(parameters["name"]), parameters.get("filename", parameters.get("filename*")))


def _checked(name: str) -> str:
    """The name, which travels on; what is in a file name does not matter, for it is never used."""
    if _NOT_UTF_8.search(name):
        raise MalformedForm("a part's name is not UTF-8")
    if _CONTROL.search(name):
        raise MalformedForm("a part's name has a control character")
    return name


def _parameters(value: str, header: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """The parameters after `value` in a header. The one extended parameter that is allowed is `filename*`."""
    if not header[: len(value)].lower() == value.lower():
        raise MalformedForm(f"a header is not {value}")
    parameters: dict[str, str] = {}
    position = len(value)
    while match := pattern.match(header, position):
        name, position = match[1].lower(), match.end()
        if name in parameters:
            raise MalformedForm(f"a header has the parameter {name!r} twice")
        if name == "name" and _ODD_PAIR.search(match[3] or ""):
            raise MalformedForm("a part's name has a backslash before another character than a quote or a backslash")
        parameters[name] = match[2] if match[2] is not None else _ESCAPED.sub(r"\1", match[3])
    if header[position:].strip(" \t;"):
        raise MalformedForm("a header's parameters cannot be read; is a value without its quotes?")
    for name in parameters:
        if "*" in name and name != "filename*":
            raise MalformedForm(f"a header has the parameter {name!r}, which is not read alike everywhere")
    return parameters
