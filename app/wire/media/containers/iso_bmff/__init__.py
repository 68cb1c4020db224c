"""ISO base media files: MP4 and M4A (ISO/IEC 14496-12).

`brands` recognises them, `reader` walks the boxes, `tracks` keeps what the header boxes say of each track, and
`sample_entry` reads how long the packets of a codec last.
"""

from app.wire.media.containers.iso_bmff.brands import recognise
from app.wire.media.containers.iso_bmff.reader import Mp4Reader

__all__ = ["Mp4Reader", "recognise"]
