"""Files whose headers and time stamps claim a very short length, although a decoder plays all of their audio.

Each is made from a real clip: its packets, taken out by FFmpeg and put into a container by hand, or its file with some
fields overwritten. A lie is a function without arguments, by a name that says what is wrong.
"""

import io
import struct
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

import av

from tests.audio import make
from tests.wire.media.parts import box, chunk, element, page, pages

SECONDS: Final = 20.0


@cache
def opus(options: tuple[tuple[str, str], ...] = ()) -> bytes:
    return make("ogg", "libopus", SECONDS, 48_000, bit_rate=16_000, codec_options=options)


@cache
def packets(data: bytes) -> tuple[bytes, ...]:
    """The packets of the first audio stream of a file."""
    with av.open(io.BytesIO(data), mode="r") as file:
        return tuple(bytes(packet) for packet in file.demux(audio=0) if packet.size)


@cache
def private(data: bytes) -> bytes:
    """The setup data that a decoder needs before the first packet."""
    with av.open(io.BytesIO(data), mode="r") as file:
        return file.streams.audio[0].codec_context.extradata or b""


def overwritten(data: bytes, name: bytes, *fields: tuple[int, bytes]) -> bytes:
    """The file with fields overwritten at their distance from the end of a name, at each place of the name."""
    changed, at = bytearray(data), data.find(name)
    assert at >= 0
    while at >= 0:
        for offset, field in fields:
            start = at + len(name) + offset
            changed[start : start + len(field)] = field
        at = data.find(name, at + 1)
    return bytes(changed)


# Ogg


def ogg(
    head: bytes, tags: Sequence[bytes], audio: Sequence[bytes], granule: Callable[[int], int], *, at_once: int = 50
) -> bytes:
    """An Ogg file with valid checksums, `at_once` packets a page, and granule positions by `granule`."""
    written = [page([head], 0, begins=True), page(tags, 0, number=1)]
    for number, at in enumerate(range(0, len(audio), at_once)):
        written.append(page(audio[at : at + at_once], granule(at + at_once), number=2 + number))
    return b"".join(written)


def false_pages(make_false: Callable[[bytes], bytes]) -> bytes:
    """A page with a wrong checksum, which decoders drop, before each page of audio except the first."""
    head, tags, first, *more = pages(opus_in_ogg(lambda at: 312 + 960 * at))
    return head + tags + first + b"".join(make_false(each) + each for each in more)


def enclosing(real: bytes) -> bytes:
    """A page that seems to have the next page in its body."""
    lacing = b"\xff" * (len(real) // 255) + bytes([len(real) % 255])
    return b"OggS\0\0" + bytes(8) + b"\1\0\0\0" + bytes(8) + bytes([len(lacing)]) + lacing


def beginning(_: bytes) -> bytes:
    """A page that seems to begin a video stream."""
    return page([b"\x80theora" + bytes(35)], 0, serial=9, begins=True)[:22] + bytes(4) + b"\1\x2a\x80theora" + bytes(35)


def opus_in_ogg(
    granule: Callable[[int], int], *, pre_skip: int = 312, options: tuple[tuple[str, str], ...] = ()
) -> bytes:
    clip = opus(options)
    head = private(clip)
    head = head[:10] + pre_skip.to_bytes(2, "little") + head[12:]
    return ogg(head, [b"OpusTags" + bytes(8)], packets(clip), granule)


def vorbis_in_ogg(granule: Callable[[int], int]) -> bytes:
    clip = make("ogg", "vorbis", SECONDS, 44_100, 2, codec_options=(("strict", "-2"),))
    head, *tags = vorbis_headers(private(clip))
    return ogg(head, tags, packets(clip), granule)


def vorbis_headers(private_data: bytes) -> list[bytes]:
    """The three headers that follow their lengths in `CodecPrivate`."""
    at, sizes = 1, [0, 0]
    for each in range(2):
        while private_data[at] == 0xFF:
            sizes[each], at = sizes[each] + 0xFF, at + 1
        sizes[each], at = sizes[each] + private_data[at], at + 1
    first, second = at + sizes[0], at + sizes[0] + sizes[1]
    return [private_data[at:first], private_data[first:second], private_data[second:]]


def flac_in_ogg(granule: Callable[[int], int]) -> bytes:
    clip = make("flac", "flac", SECONDS, 16_000)
    head = b"\x7fFLAC\x01\x00\x00\x01fLaC\x00\x00\x00\x22" + private(clip)
    return ogg(head, [b"\x84\x00\x00\x08" + bytes(8)], packets(clip), granule, at_once=2)


# WebM


def block(packet: bytes, time: int = 0, *, number: int = 1, flags: int = 0x80) -> bytes:
    return element(0xA3, bytes([0x80 | number]) + struct.pack(">hB", time, flags) + packet)


def laced(some: Sequence[bytes]) -> bytes:
    """One block of several packets, with Xiph lacing."""
    sizes = b"".join(b"\xff" * (len(each) // 255) + bytes([len(each) % 255]) for each in some[:-1])
    return block(bytes([len(some) - 1]) + sizes + b"".join(some), flags=0x82)


def webm(
    blocks: Sequence[bytes],
    clip: bytes,
    codec: bytes = b"A_OPUS",
    *,
    scale: int = 1_000_000,
    times: Callable[[int], int] = lambda at: 1000 * at,
    rate: float = 48_000.0,
    more: bytes = b"",
    tracks: bytes = b"",
) -> bytes:
    """A WebM of these blocks, fifty in a cluster, with a very short `Duration`."""
    sound = element(0xE1, element(0xB5, struct.pack(">d", rate)) + element(0x9F, b"\1"))
    entry = element(0xD7, b"\1") + element(0x73C5, b"\1") + element(0x83, b"\2") + element(0x86, codec) + more
    entry += element(0x63A2, private(clip)) + sound
    info = element(0x2AD7B1, scale.to_bytes(4, "big")) + element(0x4489, struct.pack(">d", 1.0))
    body = element(0x1549A966, info) + element(0x1654AE6B, element(0xAE, entry) + tracks)
    for number, at in enumerate(range(0, len(blocks), 50)):
        body += element(0x1F43B675, element(0xE7, times(number).to_bytes(4, "big")) + b"".join(blocks[at : at + 50]))
    head = b"".join(element(*each) for each in ((0x4286, b"\1"), (0x42F7, b"\1"), (0x42F2, b"\4"), (0x42F3, b"\x08")))
    head += element(0x4282, b"webm") + element(0x4287, b"\2") + element(0x4285, b"\2")
    return element(0x1A45DFA3, head) + element(0x18538067, body)


def opus_in_webm(options: tuple[tuple[str, str], ...] = (), **lie: object) -> bytes:
    clip = opus(options)
    blocks = [block(packet, 20 * (number % 50)) for number, packet in enumerate(packets(clip))]
    return webm(blocks, clip, **lie)  # type: ignore[arg-type]


def opus_at_no_time() -> bytes:
    clip = opus()
    return webm([block(packet) for packet in packets(clip)], clip, times=lambda at: 0)


def opus_laced() -> bytes:
    clip = opus()
    all_packets = packets(clip)
    return webm([laced(all_packets[at : at + 8]) for at in range(0, len(all_packets), 8)], clip, times=lambda at: 0)


def vorbis_in_webm() -> bytes:
    clip = make("webm", "vorbis", SECONDS, 44_100, 2, codec_options=(("strict", "-2"),))
    return webm([block(packet) for packet in packets(clip)], clip, b"A_VORBIS", times=lambda at: 0, rate=44_100.0)


def aac_in_webm() -> bytes:
    clip = make("ipod", "aac", SECONDS, 48_000, bit_rate=32_000)
    return webm([block(packet) for packet in packets(clip)], clip, b"A_AAC", times=lambda at: 0)


_SAME_NUMBER: Final = element(0xAE, element(0xD7, b"\1") + element(0x73C5, b"\2") + element(0x83, b"\1"))
_HEADER_STRIPPING: Final = element(0x6D80, element(0x6240, element(0x5034, element(0x4254, b"\3"))))


def behind_the_first_cluster(piece: bytes) -> bytes:
    """Bytes at which a reader may stop, although decoders continue at the next cluster."""
    clip = opus_in_webm(scale=1000)
    at = clip.index(_CLUSTER, clip.index(_CLUSTER) + 4)
    return clip[:at] + piece + clip[at:]


_CLUSTER: Final = (0x1F43B675).to_bytes(4, "big")
_SEGMENT: Final = (0x18538067).to_bytes(4, "big")
_PICTURES: Final = element(0x1654AE6B, element(0xAE, element(0xD7, b"\1") + element(0x83, b"\1")))

# FLAC


def flac(sample_rate: int | None = None, total: int = 1) -> bytes:
    """A FLAC file with a false sample rate and number of samples in STREAMINFO."""
    clip = make("flac", "flac", SECONDS, 16_000)
    packed = int.from_bytes(clip[18:26], "big")
    rate = packed >> 44 if sample_rate is None else sample_rate
    packed = rate << 44 | packed & ((1 << 44) - 1) & ~((1 << 36) - 1) | total
    return clip[:18] + packed.to_bytes(8, "big") + clip[26:]


# MP4


@cache
def m4a(codec: str = "aac", rate: int = 16_000, container: str = "ipod", *options: tuple[str, str]) -> bytes:
    return make(container, codec, SECONDS, rate, bit_rate=32_000 if codec == "aac" else None, options=options)


_FRAGMENTED: Final = ("movflags", "frag_keyframe+empty_moov")
_OFTEN: Final = ("frag_duration", "1000000")
_FIRST: Final = ("movflags", "faststart")
_ONE: Final = (1).to_bytes(4, "big")


def moment(clip: bytes) -> bytes:
    """The file with a duration of one tick in all of its headers, and no edit list."""
    clip = overwritten(clip, b"mvhd", (16, _ONE))
    clip = overwritten(clip, b"mdhd", (16, _ONE))
    return clip.replace(b"elst", b"free")


def short_samples(clip: bytes) -> bytes:
    """As `moment`, with samples of one tick."""
    clip = moment(clip)
    at = clip.index(b"stts") + 8
    entries = int.from_bytes(clip[at : at + 4], "big")
    fields = [(8 + 8 * each + 4, _ONE) for each in range(entries)]
    return overwritten(clip, b"stts", *fields)


def short_runs(clip: bytes) -> bytes:
    """Samples of one tick in the fragments, by their table or their default."""
    changed, at = bytearray(clip), clip.find(b"trun")
    while at >= 0:
        flags, count = int.from_bytes(clip[at + 4 : at + 8], "big"), int.from_bytes(clip[at + 8 : at + 12], "big")
        first = at + 12 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
        row = 4 * sum(1 for field in (0x100, 0x200, 0x400, 0x800) if flags & field)
        for sample in range(count if flags & 0x100 else 0):
            changed[first + sample * row : first + sample * row + 4] = _ONE
        at = clip.find(b"trun", at + 1)
    return overwritten(overwritten(bytes(changed), b"tfhd", (16, _ONE)), b"trex", (12, _ONE))


def one_sample(clip: bytes) -> bytes:
    """All samples of the table as one, which decoders split."""
    at = clip.index(b"stsz") + 12
    count = int.from_bytes(clip[at : at + 4], "big")
    total = sum(struct.unpack(f">{count}I", clip[at + 4 : at + 4 + 4 * count]))
    return overwritten(moment(clip), b"stsz", (8, _ONE), (12, total.to_bytes(4, "big")))


def repeated(clip: bytes, times: int) -> bytes:
    """An edit list that plays the media `times` times."""
    at = clip.index(b"elst")
    more = clip[at + 12 : at + 24] * (times - 1)
    changed = bytearray(clip[: at + 24] + more + clip[at + 24 :])
    changed[at + 8 : at + 12] = times.to_bytes(4, "big")
    for name in (b"moov", b"trak", b"edts", b"elst"):
        start = changed.index(name) - 4
        size = int.from_bytes(changed[start : start + 4], "big") + len(more)
        changed[start : start + 4] = size.to_bytes(4, "big")
    return bytes(changed)


def within_edits(child: bytes) -> bytes:
    """An `edts` box before the media, with a child at which a reader may stop or skip the rest."""
    clip, piece = moment(m4a()), box(b"edts", child)
    at = clip.index(b"mdia") - 4
    changed = bytearray(clip[:at] + piece + clip[at:])
    for name in (b"moov", b"trak"):
        start = changed.index(name) - 4
        changed[start : start + 4] = (int.from_bytes(changed[start : start + 4], "big") + len(piece)).to_bytes(4, "big")
    return bytes(changed)


# WAV


def wav(codec: str, rate: int = 8_000) -> bytes:
    return make("wav", codec, SECONDS, rate)


_HUGE: Final = struct.pack("<HHIIHH", 1, 8, 192_000, 1, 64, 64)
_FIRST_BYTES: Final = 36  # of a WAV with a plain `fmt `, up to the chunk behind it


def second_format() -> bytes:
    clip = wav("pcm_s16le", 16_000)
    return clip[:_FIRST_BYTES] + chunk(b"fmt ", _HUGE) + clip[_FIRST_BYTES:]


def extensible() -> bytes:
    """Samples of 64 bits with 8 valid bits: decoders read bytes."""
    fields = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8_000, 64_000, 8, 64, 22, 8, 4, 1)
    guid = bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVE" + chunk(b"fmt ", fields + guid) + chunk(b"data", b"\x80\x90" * round(4_000 * SECONDS))
    return b"RIFF" + len(body).to_bytes(4, "little") + body


# MP3


def mp3(rate: int = 16_000) -> bytes:
    """A file without a tag, whose first frame is an `Info` header."""
    return make("mp3", "libmp3lame", SECONDS, rate, bit_rate=32_000, options=(("id3v2_version", "0"),))


def mp3_of_one_frame(more: tuple[tuple[int, bytes], ...] = ()) -> bytes:
    clip = mp3()
    return overwritten(clip, b"Info" if b"Info" in clip else b"Xing", (4, _ONE), *more)


def mp3_with_bytes_between() -> bytes:
    """All frames except the first ten are separated by other bytes."""
    frames = packets(mp3())
    return b"".join(frames[:10]) + b"".join(b"\0" + frame for frame in frames[10:])


# MPEG


def program_stream() -> bytes:
    """Speech at an unusually low bit rate."""
    return make("mpeg", "mp2", SECONDS, 16_000, bit_rate=8_000)


def second_data() -> bytes:
    """A tenth of a second, a chunk with a binary name, and the rest."""
    clip = wav("pcm_s16le")
    at = clip.index(b"data")
    audio = clip[at + 8 :]
    return clip[:at] + chunk(b"data", audio[:1_600]) + chunk(b"\0\1\2\3", b"abcd") + chunk(b"data", audio[1_600:])


SIXTY: Final = (("frame_duration", "60"),)

LIES: Final[dict[str, Callable[[], bytes]]] = {
    "ogg: positions of Opus that stand still": lambda: opus_in_ogg(lambda _: 400),
    "ogg: positions of Opus that are 0": lambda: opus_in_ogg(lambda _: 0),
    "ogg: positions of Opus divided by 1,000": lambda: opus_in_ogg(lambda at: 312 + at * 960 // 1000),
    "ogg: Opus with a pre-skip of 1.4 s and positions to it": lambda: opus_in_ogg(lambda at: 65_535, pre_skip=65_535),
    "ogg: Opus packets of three frames that stand still": lambda: opus_in_ogg(lambda _: 400, options=SIXTY),
    "ogg: positions of Vorbis that stand still": lambda: vorbis_in_ogg(lambda _: 400),
    "ogg: positions of FLAC that stand still": lambda: flac_in_ogg(lambda _: 400),
    "ogg: pages that enclose others": lambda: false_pages(enclosing),
    "ogg: pages that begin something else": lambda: false_pages(beginning),
    "webm: a time scale divided by 1,000": lambda: opus_in_webm(scale=1000),
    "webm: a time scale of a nanosecond and packets of three frames": lambda: opus_in_webm(SIXTY, scale=1),
    "webm: all blocks at one time": opus_at_no_time,
    "webm: all blocks laced and at one time": opus_laced,
    "webm: Vorbis at one time": vorbis_in_webm,
    "webm: a codec that it does not have, at one time": aac_in_webm,
    "webm: a second track of the same number": partial(opus_in_webm, scale=1000, tracks=_SAME_NUMBER),
    "webm: a compression that changes nothing": partial(opus_in_webm, scale=1000, more=_HEADER_STRIPPING),
    "webm: a byte between clusters": lambda: behind_the_first_cluster(b"\0"),
    "webm: an element without an end": lambda: behind_the_first_cluster(b"\xec\xff"),
    "webm: an element that is longer than the file": lambda: behind_the_first_cluster(b"\xec\x08\x7f\xff\xff\xff"),
    "webm: a second segment without tracks": lambda: behind_the_first_cluster(_SEGMENT + b"\x80"),
    "webm: a second segment with other tracks": lambda: behind_the_first_cluster(_SEGMENT + b"\x80" + _PICTURES),
    "webm: a track's kind outside of it": lambda: behind_the_first_cluster(b"\x83\x81\1"),
    "mp4: one tick in all headers": lambda: moment(m4a()),
    "mp4: a box of four bytes": lambda: within_edits(b"\0\0\0\4free"),
    "mp4: a box that is longer than the one around it": lambda: within_edits(b"\x7f\xff\xff\xfffree"),
    "mp4: a box up to the end of the one around it": lambda: within_edits(b"\0\0\0\0free"),
    "mp4: one tick in all headers, moov first": lambda: moment(m4a("aac", 16_000, "ipod", _FIRST)),
    "mp4: samples of a tick": lambda: short_samples(m4a()),
    "mp4: a sample rate that the codec has not": lambda: overwritten(moment(m4a()), b"mp4a", (28, b"\xbb\x80")),
    "mp4: a track of no known kind": lambda: moment(m4a()).replace(b"soun", b"abcd"),
    "mp4: media that announces more than there is": lambda: overwritten(
        m4a("aac", 16_000, "ipod", _FIRST).replace(b"free", b"skip"), b"mdat", (-8, b"\x7f\xff\xff\xff")
    ),
    "mp4: all samples as one": lambda: one_sample(m4a()),
    "mp4: fragments with samples of a tick": lambda: short_runs(moment(m4a("aac", 16_000, "mp4", _FRAGMENTED, _OFTEN))),
    "mp4: media that is shown five times": lambda: repeated(m4a(), 5),
    "mp4: Apple Lossless of a tick": lambda: moment(m4a("alac", 44_100)),
    "mp4: Opus of a tick": lambda: moment(m4a("libopus", 48_000, "mp4")),
    "mp4: FLAC of a tick": lambda: moment(m4a("flac", 44_100, "mp4")),
    "mp4: MP3 of a tick": lambda: moment(m4a("libmp3lame", 16_000, "mp4")),
    "mp4: PCM of a tick": lambda: moment(m4a("pcm_s16le", 16_000, "mp4")),
    "wav: a second format of 98 Mbit/s": second_format,
    "wav: audio behind a chunk without a name": second_data,
    "wav: a byte rate of 4 GB/s": lambda: overwritten(wav("pcm_s16le"), b"fmt ", (12, b"\xff" * 4)),
    "wav: A-law of 64 bits": lambda: overwritten(wav("pcm_alaw"), b"fmt ", (18, b"\x40")),
    "wav: samples of 64 bits, of which 8 are valid": extensible,
    "wav: ADPCM of one sample in a block": lambda: overwritten(wav("adpcm_ms"), b"fmt ", (22, b"\1\0")),
    "wav: ADPCM of IMA of one sample in a block": lambda: overwritten(wav("adpcm_ima_wav"), b"fmt ", (22, b"\1\0")),
    "wav: G.722 of 4 GB/s": lambda: overwritten(wav("g722", 16_000), b"fmt ", (12, b"\xff" * 4)),
    "mp3: one frame by its first frame": mp3_of_one_frame,
    "mp3: bytes between the frames": mp3_with_bytes_between,
    "mpeg: audio of 8 kbit/s": program_stream,
    "flac: one sample in STREAMINFO": flac,
    "flac: the highest sample rate in STREAMINFO": lambda: flac(655_350),
}
