"""The cost of hostile files: each reader reads files of only its shortest and most expensive elements.

Cost is the number of lines of code that run, which a loaded machine does not change.
"""

import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from struct import pack
from time import thread_time
from types import FrameType
from typing import Any

import pytest

from app.wire.media import HEAD_BYTES, AudioMeter, Container, Sniffer
from app.wire.multipart import MultipartReader
from app.wire.sse import EventSplitter
from tests.audio import make
from tests.wire.media.parts import box, chunk, element, id3, is_close, measure, page, split

SIZE = 128 * 1024


def lines_run(feed: Callable[[bytes], object], data: bytes, finish: Callable[[], object] = bool) -> int:
    """The number of lines of code that run for bytes in chunks of 64 KiB."""
    count = 0

    def line(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, _event: str, _argument: object) -> Any:
        return line if "/app/wire/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        for piece in split(data, range(HEAD_BYTES, len(data), HEAD_BYTES)):
            feed(piece)
        finish()
    finally:
        sys.settrace(before)
    return count


def lines_of(container: Container, data: bytes) -> int:
    """The lines that recognise and measure a file."""
    sniffer, meter = Sniffer(), AudioMeter(container)
    return lines_run(sniffer.feed, data, sniffer.finish) + lines_run(meter.feed, data, meter.finish)


def filled(start: bytes, unit: bytes) -> bytes:
    """A file that repeats `unit` after `start`."""
    return (start + unit * (SIZE // len(unit) + 1))[:SIZE]


# -- hostile ones ------------------------------------------------------------------------------------------------------

FORMAT = pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
STREAM_INFO = bytes(10) + (16_000 << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)
SOUND = box(b"mdia", box(b"mdhd", bytes(12), pack(">II", 1000, 0)), box(b"hdlr", bytes(8), b"soun", bytes(12)))
TRACKS = b"".join(box(b"trak", box(b"tkhd", bytes(12), pack(">I", number)), SOUND) for number in range(40))
WEBM_TRACKS = b"".join(element(0xAE, element(0xD7, bytes([number])) + element(0x83, b"\2")) for number in range(1, 33))

STARTS = {
    Container.WAV: b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", FORMAT),
    Container.FLAC: b"fLaC\x80\0\0\x22" + STREAM_INFO,
    Container.MP3: b"",
    Container.MPEG: b"\0\0\1\xba\x44" + bytes(9),
    Container.OGG: page([b"OpusHead\1\1" + bytes(9)], 0, begins=True) + page([b"OpusTags"], 0),
    Container.M4A: box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", box(b"mvhd", bytes(20)), TRACKS),
    Container.WEBM: element(0x1A45DFA3, element(0x4282, b"webm"))
    + element(0x18538067, b"", unknown=True)
    + element(0x1654AE6B, WEBM_TRACKS)
    + element(0x1F43B675, b"", unknown=True)
    + element(0xE7, b"\0"),
}

BOXES = b"moov trak moof mvhd mehd tkhd mdhd hdlr trex tfhd elst stsd stsz stz2 stts stsc sidx trun mdat free".split()
ELEMENTS = (
    0x86,
    0x63A2,
    0x6D80,
    0xEC,
    0xAE,
    0xA0,
    0xA3,
    0xA1,
    0xD7,
    0x83,
    0xE7,
    0x9B,
    0x75A1,
    0x2AD7B1,
    0x4489,
    0x23E383,
    0x1F43B675,
)
SYNCS = (b"\xff\xf8\x11\x00", b"\xff\xf8\xf0\x00", b"\xff\xf8\x7e\x00\xfe", b"\xff\xf9\x1f\x0a\xfe")


def units() -> Iterator[tuple[str, Container, bytes]]:
    """The elements of each reader, in all small sizes and with several contents."""
    for kind in BOXES:
        for size in (0, 8, 12, 16, 24, 40):
            for fill in (b"\0\0\0\1", b"\xff\xff\xff\xff"):
                yield f"box {kind.decode()} {size} {fill[0]}", Container.M4A, box(kind, fill * (size // 4))
    for flags in (0, 0x100, 0x700):
        unit = box(b"trun", pack(">III", flags, 4, 9), bytes(16))
        yield f"trun with flags {flags:x}", Container.M4A, unit
    yield "tfhd of the last track", Container.M4A, box(b"tfhd", pack(">II", 8, 31), bytes(8))
    yield (
        "a movie of one sample",
        Container.M4A,
        box(b"moof", box(b"traf", box(b"tfhd", bytes(8)), box(b"trun", pack(">III", 0x100, 1, 9)))),
    )
    for name in ELEMENTS:
        head = name.to_bytes((name.bit_length() + 7) // 8, "big")
        for size in (0, 1, 4, 5, 6, 8, 24):
            for first in (b"\x81\0\0", b"\x82\0\0", b"\x81\xff\0")[: 3 if name in (0xA1, 0xA3) else 1]:
                payload = (first + bytes(24))[:size]
                yield f"element {name:x} {size} {first.hex()}", Container.WEBM, head + bytes([0x80 + size]) + payload
    blocks = b"\xa3\x85\x81\0\0\x80\x08" + b"\xa3\x85\x82\0\0\x80\x08"
    yield "blocks of two tracks in turn", Container.WEBM, blocks
    for lacing in (b"", b"\0", b"\1", b"\0" * 4, b"\0" * 255, b"\xff", b"\xff" * 16):
        for flags in (0, 2):
            body = bytes([len(lacing)]) + lacing + bytes(sum(lacing))
            unit = b"OggS\0" + bytes([flags]) + pack("<QII", 960, 1, 0) + bytes(4) + body
            yield f"page {len(lacing)} {sum(lacing)} {flags}", Container.OGG, unit
    yield "captures", Container.OGG, b"OggS\0"
    yield "pages of Opus that begin", Container.OGG, page([b"OpusHead\1\1" + bytes(9)], 0, begins=True)
    for sync in SYNCS:
        for more in (0, 1, 7, 12):
            yield f"FLAC sync {sync.hex()} {more}", Container.FLAC, sync + bytes(more)
    for size in (3, 4, 5, 8, 16, 40):
        yield f"MP3 sync {size}", Container.MP3, b"\xff\xfb\x90".ljust(size, b"\0")
        yield f"MP3 sync of a frame {size}", Container.MP3, b"\xff\xf3\x14".ljust(size, b"\0")
    frame = b"\xff\xf3\x14" + bytes(21)
    for frames in (1, 2, 3, 5):
        yield f"MP3 {frames} frames and a byte", Container.MP3, frame * frames + b"x"
    for size in (0, 1, 10, 16, 40):
        yield f"ID3 {size}", Container.MP3, id3(bytes(size))
        yield f"ID3 before FLAC {size}", Container.FLAC, id3(bytes(size))
    yield "packs", Container.MPEG, b"\0\0\1\xba\x44" + bytes(9)
    for stream in (0xB9, 0xBB, 0xBD, 0xC0, 0xE0):
        for size in (0, 3, 8, 16, 40):
            unit = b"\0\0\1" + bytes([stream]) + pack(">H", size) + b"\x80\0\0".ljust(size, b"\xff")[:size]
            yield f"packet {stream:x} {size}", Container.MPEG, unit
    for size in (1, 2, 3, 40):
        for toc in (b"\x0b\3", b"\x08\0", b"\x03\0"):
            packet = toc.ljust(size, b"\0")[:size]
            yield (
                f"page of 255 packets {size} {toc[0]}",
                Container.OGG,
                page([packet] * 255, 960),
            )
    for kind in (b"JUNK", b"fmt ", b"data", b"ds64", b"LIST"):
        for size in (0, 2, 8, 16, 24, 40):
            yield f"chunk {kind.decode()} {size}", Container.WAV, chunk(kind, (FORMAT + bytes(24))[:size])


UNITS = {name: (container, unit) for name, container, unit in units()}
FLAC_BLOCKS = {f"FLAC block {kind}": b"fLaC" + (bytes([kind]) + b"\0\0\0") * (SIZE // 4) for kind in (0, 1, 4, 6)}


@cache
def small_packets() -> dict[str, tuple[Container, bytes, float]]:
    """Honest files with the smallest packets, and their lengths."""
    webm = make("webm", "libopus", 60.0, 48_000, bit_rate=6_000)
    silence = [b"".join(silent_block(at) for at in range(0, 5_000, 20)) for _ in range(120)]
    clusters = [element(0x1F43B675, element(0xE7, pack(">I", at * 5_000)) + part) for at, part in enumerate(silence)]
    start = element(0x1A45DFA3, element(0x4282, b"webm")) + element(0x18538067, b"", unknown=True)
    track = element(0x1654AE6B, element(0xAE, element(0xD7, b"\1") + element(0x83, b"\2") + element(0x86, b"A_OPUS")))
    live = [page([bytes(15)], 960 * at) for at in range(1, 6_001)]
    still = [page([b"\x08"], 960 * at) for at in range(1, 6_001)]
    frame = b"\xff\xf3\x14\xc4" + bytes(20)  # layer III at 8 kbit/s and 24 kHz
    moov = STARTS[Container.M4A][:16] + box(b"moov", box(b"mvhd", bytes(20)), box(b"trak", TRACK_ONE, SOUND), TREX)
    return {
        "Opus in WebM at 6 kbit/s": (Container.WEBM, webm, 60.0),
        "Opus in WebM in silence": (Container.WEBM, start + track + b"".join(clusters), 600.0),
        "Opus in Ogg, a page a packet": (Container.OGG, STARTS[Container.OGG] + b"".join(live), 120.0),
        "Opus in Ogg in silence, three frames a packet": (
            Container.OGG,
            STARTS[Container.OGG] + b"".join(page([b"\x0b\x03"], 2_880 * at) for at in range(1, 6_001)),
            360.0,
        ),
        "Opus in Ogg in silence": (Container.OGG, STARTS[Container.OGG] + b"".join(still), 120.0),
        "MP3 at 8 kbit/s": (Container.MP3, frame * 5_000, 120.0),
        "MP4 of a fragment a frame": (Container.M4A, moov + FRAGMENT * 2_000, 128.0),
    }


def silent_block(time: int) -> bytes:
    return b"\xa3\x85\x81" + pack(">H", time) + b"\x80\x08"


TRACK_ONE = box(b"tkhd", bytes(12), pack(">I", 1))
TREX = box(b"mvex", box(b"trex", bytes(4), pack(">IIII", 1, 1, 64, 0)))
RUN = box(
    b"traf", box(b"tfhd", pack(">II", 0, 1)), box(b"tfdt", bytes(8)), box(b"trun", pack(">IIII", 0x201, 1, 0, 192))
)
FRAGMENT = box(b"moof", box(b"mfhd", bytes(8)), RUN) + box(b"mdat", bytes(192))


def test_L181_files_of_the_smallest_packets_are_measured() -> None:
    lengths = {name: (measure(data, kind), seconds) for name, (kind, data, seconds) in small_packets().items()}
    assert {name: length for name, (length, seconds) in lengths.items() if not is_close(length, seconds)} == {}


def test_L180_no_bytes_make_a_reader_run_many_lines() -> None:
    """At most four times as many lines a byte as for Opus at 6 kbit/s in WebM."""
    container, speech, _ = small_packets()["Opus in WebM at 6 kbit/s"]
    most = 4 * lines_of(container, speech) / len(speech)
    files = {name: (container, filled(STARTS[container], unit)) for name, (container, unit) in UNITS.items()}
    files |= {name: (Container.FLAC, data) for name, data in FLAC_BLOCKS.items()}
    cost = {name: lines_of(container, data) / SIZE for name, (container, data) in files.items()}
    assert {name: lines for name, lines in cost.items() if lines > most} == {}


@pytest.mark.parametrize("container", STARTS)
def test_L180_the_limit_of_work_does_not_depend_on_the_split(container: Container) -> None:
    chance = random.Random(container)
    those = [unit for kind, unit in UNITS.values() if kind is container]
    for _ in range(20):
        runs = [chance.choice(those) * chance.choice((1, 9, 2_000)) for _ in range(12)]
        data = STARTS[container] + b"".join(runs)
        assert measure(data, container, chance.choices(range(len(data)), k=200)) == measure(data, container)


# -- forms -------------------------------------------------------------------------------------------------------------

FORM_BODIES = {
    "boundaries": b"--a",
    "boundaries apart": b"xxxx--a",
    "line ends": b"\r\n",
    "line ends and dashes": b"\r\n--",
    "dashes": b"-",
    "a boundary but for its end": b"\n--b",
}


@pytest.mark.parametrize("unit", FORM_BODIES.values(), ids=FORM_BODIES.keys())
def test_L184_bytes_like_the_boundary_run_no_code_each(unit: bytes) -> None:
    """A file of 8 million boundaries in 25 MiB, none at the beginning of a line, used to take 5.7 s of CPU."""
    reader = MultipartReader("a")
    reader.feed(b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nxy')
    assert lines_run(reader.feed, unit * (1_000_000 // len(unit))) < 2_000


# -- events ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [b"x", b"data: x\n", b"\r\n "], ids=["a line", "lines", "ends of lines"])
def test_L182_an_event_in_small_pieces_takes_proportional_time(part: bytes) -> None:
    """7 MB in pieces of 100 bytes take tens of milliseconds; joining them for each piece took a minute."""
    piece = part * (100 // len(part))
    splitter, began = EventSplitter(), thread_time()
    for _ in range(7_000_000 // len(piece)):
        assert list(splitter.feed(piece)) == []
    (event,) = splitter.feed(b"\n\n")
    assert thread_time() - began < 3
    assert len(event.raw) > 6_900_000


def test_L182_blank_lines_belong_to_the_event_before() -> None:
    assert len(list(EventSplitter().feed(b"\r" * 1_000_000 + b"data: a\n\n" + b"\n" * 1_000_000))) == 2
