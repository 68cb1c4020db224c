"""multipart/form-data: a builder that can write any fault, and a strict reader of complete bodies."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_DISPOSITION = re.compile(r'form-data; name="((?:[^"\\]|\\.)*)"(?:; filename="((?:[^"\\]|\\.)*)")?')
_BOUNDARY = re.compile(r'multipart/form-data; *boundary=("?)([^";, ]{1,70})\1', re.IGNORECASE)


class FormError(ValueError):
    """The body is not one well-formed multipart/form-data document from its first byte to its last."""


class Part(NamedTuple):
    """One part. Names and filenames stay as they are between the quotes, including escapes.

    If the builder gets `headers`, it writes them alone and ignores name, filename and content_type.
    """

    name: str
    data: bytes
    filename: str | None = None
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def multipart(parts: Iterable[Part], boundary: str = "test-boundary", closing: bool = True) -> bytes:
    """Returns the body of a form, optionally without its closing boundary."""
    pieces: list[bytes] = []
    for part in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in part.headers or _headers_of(part))
        pieces += [f"--{boundary}\r\n{head}\r\n".encode(), part.data, b"\r\n"]
    if closing:
        pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _headers_of(part: Part) -> list[tuple[str, str]]:
    disposition = f'form-data; name="{part.name}"'
    if part.filename is not None:
        disposition += f'; filename="{part.filename}"'
    headers = [("Content-Disposition", disposition)]
    if part.content_type is not None:
        headers.append(("Content-Type", part.content_type))
    return headers


def parse_form(content_type: str | None, body: bytes) -> list[Part]:
    """Returns the parts of a complete body, in their order. Raises FormError for preamble, epilogue or missing end."""
    match = _BOUNDARY.fullmatch(content_type or "")
    if match is None:
        raise FormError(f"not a form: {content_type!r}")
    # A CRLF in front makes the first delimiter look like all others.
    preamble, *sections = (b"\r\n" + body).split(b"\r\n--" + match[2].encode())
    if not sections:
        raise FormError(f"no boundary in {len(body)} bytes")
    if preamble:
        raise FormError(f"{len(preamble)} bytes before the first boundary")
    end = sections.pop()
    if end not in (b"--", b"--\r\n"):
        raise FormError(f"the body does not end with the closing boundary but with {end[-40:]!r}")
    return [_part(section) for section in sections]


def _part(section: bytes) -> Part:
    head, gap, data = section.partition(b"\r\n\r\n")
    if not gap or not head.startswith(b"\r\n"):
        raise FormError(f"a part without a head: {section[:80]!r}")
    headers = tuple(_header(line) for line in head[2:].decode().split("\r\n"))
    names = [name.lower() for name, _ in headers]
    if len(set(names)) != len(names):
        raise FormError(f"a header twice in one part: {headers}")
    values = {name.lower(): value for name, value in headers}
    match = _DISPOSITION.fullmatch(values.get("content-disposition", ""))
    if match is None:
        raise FormError(f"no plain Content-Disposition: {headers}")
    return Part(match[1], data, match[2], values.get("content-type"), headers)


def _header(line: str) -> tuple[str, str]:
    match = re.fullmatch(r"([!-9;-~]+): ([^\x00-\x1f\x7f]*)", line)
    if match is None:
        raise FormError(f"not a header: {line!r}")
    return match[1], match[2]
