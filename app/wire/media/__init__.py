"""Recognises audio containers by their bytes, and measures how long the audio is.

| container | recognised by | claims about the length | a decoder plays | bit rates |
| --- | --- | --- | --- | --- |
| wav | `RIFF`, `RF64` or `BW64` with `WAVE` | byte rate | `data`, by its codec | 5 kbit/s to 49 Mbit/s |
| flac | `fLaC` and STREAMINFO | STREAMINFO | frames | 1 kbit/s to 37 Mbit/s |
| mp3 | two MPEG audio headers that agree | Xing, Info, VBRI | frames | 8 to 448 kbit/s |
| ogg | first packet of Vorbis, Opus, FLAC or Speex | granule positions | packets | 5 kbit/s to 9.2 Mbit/s |
| mp4, m4a | brands of `ftyp`; or fragment boxes | headers, `trun`, `elst`, `sidx` | samples | 5 kbit/s to 9.2 Mbit/s |
| webm | EBML with DocType `webm` | block times, `Duration` | packets | 5 kbit/s to 9.2 Mbit/s |
| mpeg | pack header 00 00 01 BA | | frames | 8 to 640 kbit/s |

A claim is limited from below by what a decoder plays, and by the bytes at the highest bit rate. That is the rate of the
codec if the file names it: 512 kbit/s for Opus in stereo, 6,144 bits a channel and frame for AAC, the uncompressed rate
for FLAC and PCM, 320 kbit/s for layer III. `formats` gives the sources.

    formats     the accepted containers and their bit rates
    sniff       recognition: which container a file is in, by its head
    meter       measurement: how long the audio is, and which claims count
    evidence    what a reader reports to the meter
    cursor      how readers are written and driven: start here
    containers  one module or package for each container

`Sniffer` takes the head of a file until it has a verdict; `AudioMeter` takes the whole file. Both give the same result
however the bytes are split, raise for no input, keep a few KiB, and decode nothing.

Libraries that read such headers seek in the file, which an upload that streams through does not allow. So these readers
are written here.
"""

from app.wire.media.formats import FORMATS, Container
from app.wire.media.meter import AudioLength, AudioMeter
from app.wire.media.sniff import HEAD_BYTES, Sniffer, Unrecognised

__all__ = ["FORMATS", "HEAD_BYTES", "AudioLength", "AudioMeter", "Container", "Sniffer", "Unrecognised"]
