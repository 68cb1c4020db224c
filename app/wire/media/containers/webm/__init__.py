"""WebM (webmproject.org, "WebM Container Guidelines"), a profile of Matroska (RFC 9559) over EBML (RFC 8794).

`ebml` parses the elements, `track` follows the blocks of one track, `reader` walks the file.
"""

from app.wire.media.containers.webm.ebml import recognise
from app.wire.media.containers.webm.reader import WebmReader

__all__ = ["WebmReader", "recognise"]
