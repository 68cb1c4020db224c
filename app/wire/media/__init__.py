"""Audio containers, recognised by their bytes: which one a file is in, and how long its audio is.

| container | recognised by | claims of a length | a decoder plays | bit rates |
| --- | --- | --- | --- | --- |
| wav | `RIFF`, `RF64` or `BW64` with `WAVE` | byte rate | `data`, by its codec | 5 kbit/s to 49 Mbit/s |
| flac | `fLaC` and STREAMINFO | STREAMINFO | frames | 1 kbit/s to 37 Mbit/s |
| mp3 | two MPEG audio headers that agree | Xing, Info, VBRI | frames | 8 to 448 kbit/s |
| ogg | first packet of Vorbis, Opus, FLAC or Speex | granule positions | packets | 5 kbit/s to 9.2 Mbit/s |
| mp4, m4a | brands of `ftyp`; or fragment boxes | headers, `trun`, `elst`, `sidx` | samples | 5 kbit/s to 9.2 Mbit/s |
| webm | EBML with DocType `webm` | block times, `Duration` | packets | 5 kbit/s to 9.2 Mbit/s |
| mpeg | pack header 00 00 01 BA | | frames | 8 to 640 kbit/s |

What a decoder plays bounds a claim from below, and so do the bytes at the highest bit rate, which is that of the codec
where the file says which one: 512 kbit/s for Opus in stereo, 6,144 bits a channel and frame for AAC, the uncompressed
rate for FLAC and PCM, 320 kbit/s for layer III. `formats` gives the sources, `packets` and `sample_entry` say what a
packet lasts.

`Sniffer` is fed the head of a file until it has a verdict; `AudioMeter` is fed all of it. Both give the same for every
split of the same bytes, raise for no bytes whatever, and keep a few KiB. Neither decodes anything.

Why both are written here: libraries that read such headers seek to and fro in a file, and an upload that streams
through has no place to seek in. See `cursor` for how the readers are driven, `evidence` for what they hand on, `meter`
for what of it is believed.
"""

from app.wire.media.formats import FORMATS, Container
from app.wire.media.meter import AudioLength, AudioMeter
from app.wire.media.sniff import HEAD_BYTES, Sniffer, Unrecognised

__all__ = ["FORMATS", "HEAD_BYTES", "AudioLength", "AudioMeter", "Container", "Sniffer", "Unrecognised"]
