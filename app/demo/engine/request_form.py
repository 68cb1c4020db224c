"""Reads and validates the form of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from starlette.datastructures import FormData, UploadFile

from app.demo.engine.errors import invalid, missing
from app.demo.engine.formats import FORMATS, OutputFormat, Task

GRANULARITIES = ("word", "segment")


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """The file, which the receiver reads and closes, and the requested output."""

    file: BinaryIO
    output: OutputFormat
    stream: bool


def read_form(form: FormData, task: Task) -> TranscriptionForm:
    """The validated form; raises APIError. Any model name is valid; unknown fields are ignored."""
    if not _field(form, "model"):
        raise missing("model")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise missing("file")
    output = OutputFormat(task, _response_format(form), _granularities(form))
    return TranscriptionForm(file.file, output, stream=task == "transcribe" and _stream(form))


def _field(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _response_format(form: FormData) -> str:
    name = _field(form, "response_format") or "json"
    if name not in FORMATS:
        raise invalid("response_format", name, ", ".join(FORMATS))
    return name


def _granularities(form: FormData) -> frozenset[str]:
    values = {str(value) for value in form.getlist("timestamp_granularities[]")}
    for value in values.difference(GRANULARITIES):
        raise invalid("timestamp_granularities[]", value, ", ".join(GRANULARITIES))
    return frozenset(values)


def _stream(form: FormData) -> bool:
    value = _field(form, "stream").lower() or "false"
    if value not in ("true", "false", "1", "0"):
        raise invalid("stream", value, "true, false")
    return value in ("true", "1")
