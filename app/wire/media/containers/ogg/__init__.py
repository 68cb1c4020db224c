"""Ogg (RFC 3533) with Vorbis, Opus (RFC 7845), FLAC (xiph.org, "Ogg FLAC mapping 1.0") or Speex.

`page` parses the pages, `stream` follows one logical stream of packets, `reader` walks the file.
"""

from app.wire.media.containers.ogg.reader import OggReader, recognise

__all__ = ["OggReader", "recognise"]
