"""Audio containers, told by their bytes: which one a file is in, and how long its audio is.

| container | told by | length from, best first | rate that bounds the hold |
| --- | --- | --- | --- |
| wav | `RIFF`, `RF64` or `BW64` with `WAVE` | bytes of `data` over the byte rate | the header's byte rate |
| flac | `fLaC` and STREAMINFO | sum of the frames' block sizes; STREAMINFO's samples | 1 kbit/s |
| mp3 | two MPEG audio headers that agree | sum of the frames; Xing, Info or VBRI | 8 kbit/s |
| ogg | first packet of Vorbis, Opus, FLAC or Speex | granule positions of each link | 5 kbit/s |
| mp4, m4a | brands of `ftyp`; or fragment boxes | `trun`; `mdhd`, edits; `mehd`, `mvhd`, `sidx` | 5 kbit/s |
| webm | EBML with DocType `webm` | times of the blocks; `Duration` | 5 kbit/s |
| mpeg | pack header 00 00 01 BA | estimated from the bytes | 32 kbit/s |

`Sniffer` is told the head of a file until it has a verdict; `AudioMeter` is told all of it. Both give the same for
every split of the same bytes, raise for no bytes whatever, and keep a few KiB. Neither decodes anything: a file is what
its headers say, within what its size can bear.

Why both are written here: libraries that read such headers seek to and fro in a file, and an upload that streams
through has no place to seek in. See `cursor` for how the readers are driven, `evidence` for what they hand on, `meter`
for what of it is believed.
"""

from app.wire.container.formats import FORMATS, Container
from app.wire.container.meter import AudioLength, AudioMeter
from app.wire.container.sniff import HEAD_BYTES, Sniffer, Unrecognised

__all__ = ["FORMATS", "HEAD_BYTES", "AudioLength", "AudioMeter", "Container", "Sniffer", "Unrecognised"]
