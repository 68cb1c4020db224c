"""multipart/form-data, read as it arrives and written anew (RFC 7578 over RFC 2046, 5.1).

`MultipartReader` is fed a body in any pieces and gives events, the same for every split of the same bytes.
`FormWriter` makes our own serialisation: no byte of the caller's framing is used again.
"""

from app.wire.multipart.head import (
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
    MalformedForm,
    PartBegin,
    boundary_of,
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
    "boundary_of",
]
