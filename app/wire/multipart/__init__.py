"""Reads multipart/form-data as it arrives, and writes the gateway's own forms (RFC 7578 over RFC 2046, 5.1).

`MultipartReader` takes a body in chunks of any size and returns the same events however the bytes are split.
`FormWriter` writes the form for the upstream: no byte of the caller's framing is reused.
"""

from app.wire.multipart.head import (
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
    MalformedForm,
    PartBegin,
    parse_boundary,
)
from app.wire.multipart.reader import (
    MAX_EPILOGUE_BYTES,
    MAX_PARTS,
    MAX_PREAMBLE_BYTES,
    Event,
    MultipartReader,
)
from app.wire.multipart.writer import FormWriter

__all__ = [
    "MAX_EPILOGUE_BYTES",
    "MAX_PARTS",
    "MAX_PART_HEADERS",
    "MAX_PART_HEADER_BYTES",
    "MAX_PREAMBLE_BYTES",
    "Event",
    "FormWriter",
    "MalformedForm",
    "MultipartReader",
    "PartBegin",
    "parse_boundary",
]
