"""The form of an upload: text fields of any name, and one file. Pure: bytes in, checked items out.

The part named `file` is the file, with or without a file name. No other part may be a file.

    item = Field | FileBegin | bytes        bytes are the file's, up to the next Field or the end of the form

A field is checked for its shape: UTF-8, no control characters, its size. Its value is for the upstream to check.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from app import errors
from app.policy.quota import QuotaShare
from app.wire import multipart
from app.wire.multipart import MultipartReader, PartBegin

MAX_FIELD_BYTES = 4 * 1024 * 1024
MAX_FIELDS_BYTES = 8 * 1024 * 1024
MAX_NAME_CHARACTERS = 256
# The memory that a field takes besides its name and its value.
FIELD_OVERHEAD_BYTES = 256

# Prompts have lines and tabs.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Field(NamedTuple):
    """A complete text field."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class FileBegin:
    """The file begins: the bytes that follow are its own."""


Item = Field | FileBegin | bytes


class FormReader:
    """Push parser from the body's bytes to checked items. An APIError names the field that is wrong.

    `text` is the memory that the fields may take. It stays in use after the form has been read.
    """

    def __init__(self, boundary: str, max_file_bytes: int, text: QuotaShare) -> None:
        self._reader = MultipartReader(boundary)
        self._max_file_bytes = max_file_bytes
        self._text = text
        self._name = ""
        self._in_file = False
        self._value = bytearray()
        self._text_bytes = self._overhead_bytes = 0
        self._seen_once: set[str] = set()
        self.file_bytes = 0

    def feed(self, data: bytes) -> list[Item]:
        """Returns the items that these bytes complete."""
        try:
            events = self._reader.feed(data)
        except multipart.MalformedForm as error:
            raise errors.invalid_multipart(str(error)) from error
        items: list[Item] = []
        for event in events:
            if isinstance(event, PartBegin):
                self._begin(event)
                if self._in_file:
                    items.append(FileBegin())
            elif self._in_file:
                if event is not None:
                    items.append(self._file_data(event))
            elif event is not None:
                self._field_data(event)
            else:
                items.append(self._field())
        return items

    def finish(self) -> None:
        """Raises APIError unless the form is complete: it has its closing boundary, and a file."""
        try:
            self._reader.finish()
        except multipart.MalformedForm as error:
            raise errors.invalid_multipart(str(error)) from error
        if "file" not in self._seen_once:
            raise errors.missing_parameter("file")

    def _begin(self, part: PartBegin) -> None:
        _check_name(part.name)
        if part.name in ("file", "model"):
            if part.name in self._seen_once:
                raise errors.duplicate_parameter(part.name)
            self._seen_once.add(part.name)
        if part.filename is not None and part.name != "file":
            raise errors.unexpected_file(part.name)
        self._name, self._in_file = part.name, part.name == "file"
        if not self._in_file:
            self._overhead_bytes += len(part.name) + FIELD_OVERHEAD_BYTES
            self._text.resize(self._text_bytes + self._overhead_bytes)

    def _file_data(self, data: bytes) -> bytes:
        self.file_bytes += len(data)
        if self.file_bytes > self._max_file_bytes:
            raise errors.request_too_large(self._max_file_bytes)
        return data

    def _field_data(self, data: bytes) -> None:
        self._value += data
        self._text_bytes += len(data)
        if len(self._value) > MAX_FIELD_BYTES:
            raise errors.invalid_field(self._name, f"is longer than {MAX_FIELD_BYTES} bytes")
        if self._text_bytes > MAX_FIELDS_BYTES:
            raise errors.invalid_field(self._name, f"takes all fields above {MAX_FIELDS_BYTES} bytes")
        self._text.resize(self._text_bytes + self._overhead_bytes)

    def _field(self) -> Field:
        value = bytes(self._value)
        self._value.clear()
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise errors.invalid_field(self._name, "is not UTF-8") from error
        if _CONTROL.search(text):
            raise errors.invalid_field(self._name, "has a control character")
        return Field(self._name, value)


def _check_name(name: str) -> None:
    if not name:
        raise errors.invalid_multipart("a part has an empty name")
    if len(name) > MAX_NAME_CHARACTERS:
        raise errors.invalid_multipart(f"a field's name is longer than {MAX_NAME_CHARACTERS} characters")
