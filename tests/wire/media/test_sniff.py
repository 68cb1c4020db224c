import random

import pytest

from app.wire.media import FORMATS, HEAD_BYTES, Container, Sniffer, Unrecognised
from tests.audio import make
from tests.wire.media.parts import box, element, id3, noise, page, verdict

MP3_FRAME = b"\xff\xfb\x90\xc4" + bytes(413)
MP3 = MP3_FRAME * 3
FLAC = b"fLaC\x80\0\0\x22" + bytes(34)
OPUS = page([b"OpusHead\x01\x01\x38\x01" + bytes(8)], 0, begins=True)
THEORA = page([b"\x80theora" + bytes(35)], 0, serial=7, begins=True)


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major, bytes(4), *compatible) + bytes(32)


def ebml(document: bytes) -> bytes:
    return element(0x1A45DFA3, element(0x4286, b"\1") + element(0x4282, document)) + bytes(32)


TAKEN = {
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", Container.WAV),
    "wav, streamed": (b"RIFF\xff\xff\xff\xffWAVEfmt ", Container.WAV),
    "rf64": (b"RF64\xff\xff\xff\xffWAVEds64", Container.WAV),
    "bw64": (b"BW64\xff\xff\xff\xffWAVEds64", Container.WAV),
    "flac": (FLAC, Container.FLAC),
    "flac behind id3": (id3(bytes(300)) + FLAC, Container.FLAC),
    "mp3": (MP3, Container.MP3),
    "mp3, one frame": (MP3_FRAME, Container.MP3),
    "mp3, cut in its first frame": (MP3_FRAME[:100], Container.MP3),
    "mp3, one frame and an id3v1 tag": (MP3_FRAME + b"TAG" + bytes(125), Container.MP3),
    "mp3, one frame and an ape tag": (MP3_FRAME + b"APETAGEX" + bytes(24), Container.MP3),
    "mp3 behind id3": (id3(bytes(300)) + MP3, Container.MP3),
    "mp3 behind id3 with footer": (id3(bytes(300), footer=True) + MP3, Container.MP3),
    "mp3 behind two id3": (id3(bytes(300)) + id3(b"x" * 1000) + MP3, Container.MP3),
    "mp3 behind 3 MiB of id3": (id3(noise(3 << 20)) + MP3, Container.MP3),
    "mp3 behind id3 and stray zeros": (id3(bytes(300)) + bytes(2000) + MP3, Container.MP3),
    "mp3, a second frame of another bit rate": (MP3_FRAME + b"\xff\xfb\xb0\xc4" + bytes(413), Container.MP3),
    "mp3, layer II": (b"\xff\xfd\x90\xc4" + bytes(518) + b"\xff\xfd\x90\xc4", Container.MP3),
    "mp3, layer I": (b"\xff\xff\x90\xc4" + bytes(308) + b"\xff\xff\x90\xc4", Container.MP3),
    "mp3, mpeg 2.5": (b"\xff\xe3\x18\xc4" + bytes(68) + b"\xff\xe3\x18\xc4", Container.MP3),
    "mp3 cut out of a stream": (MP3_FRAME[100:] + MP3_FRAME * 4, Container.MP3),
    "mp3 cut out of a stream, false syncs first": (b"\xff\xfb\x90" * 9 + MP3_FRAME * 4, Container.MP3),
    "mp3 cut out of a stream behind id3": (id3(bytes(300)) + MP3_FRAME[100:] + MP3_FRAME * 4, Container.MP3),
    "mp3 cut out of a stream, at the end of the head": (bytes(HEAD_BYTES - 1254) + MP3_FRAME * 4, Container.MP3),
    "mp3 with a zip behind": (MP3 + b"PK\3\4" + noise(500), Container.MP3),
    "ogg opus": (OPUS, Container.OGG),
    "ogg vorbis": (page([b"\x01vorbis" + bytes(5) + b"\x80\xbb\0\0" + bytes(14)], 0, begins=True), Container.OGG),
    "ogg flac": (
        page([b"\x7fFLAC\1\0\0\1fLaC\0\0\0\x22" + bytes(10) + b"\x03\xe8" * 12], 0, begins=True),
        Container.OGG,
    ),
    "ogg speex": (page([b"Speex   " + bytes(28) + b"\x40\x1f\0\0" + bytes(40)], 0, begins=True), Container.OGG),
    "ogg theora and opus": (THEORA + OPUS, Container.OGG),
    "webm": (ebml(b"webm"), Container.WEBM),
    "webm, padded type": (ebml(b"webm\0\0"), Container.WEBM),
    "m4a": (ftyp(b"M4A ", b"mp42", b"isom"), Container.M4A),
    "m4b": (ftyp(b"M4B "), Container.M4A),
    "mp42": (ftyp(b"mp42", b"M4A ", b"isom"), Container.MP4),
    "mp41": (ftyp(b"mp41"), Container.MP4),
    "isom": (ftyp(b"isom"), Container.MP4),
    "iso5": (ftyp(b"iso5", b"dash"), Container.MP4),
    "iso6": (ftyp(b"iso6"), Container.MP4),
    "dash": (ftyp(b"dash"), Container.MP4),
    "avc1": (ftyp(b"avc1"), Container.MP4),
    "psp": (ftyp(b"MSNV"), Container.MP4),
    "3gp": (ftyp(b"3gp4"), Container.MP4),
    "stranger, mp42 compatible": (ftyp(b"zzzz", b"mp42"), Container.MP4),
    "free before ftyp": (box(b"free", bytes(40)) + ftyp(b"M4A "), Container.M4A),
    "wide and skip before ftyp": (box(b"wide") + box(b"skip", bytes(9)) + ftyp(b"isom"), Container.MP4),
    "moov": (box(b"moov", box(b"mvhd", bytes(100))), Container.MP4),
    "mpeg-1 program stream": (b"\0\0\1\xba\x21" + bytes(20), Container.MPEG),
    "mpeg-2 program stream": (b"\0\0\1\xba\x44" + bytes(20), Container.MPEG),
}

REFUSED = {
    "aac in adts": b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(400),
    "aac in adts, mpeg-2": b"\xff\xf9\x50\x80\x2e\x7f\xfc" + bytes(400),
    "aac in adts behind id3": id3(bytes(63)) + b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(400),
    "mp3 sync, no second frame": b"\xff\xfb\x90\xc4" + noise(2000),
    "mp3 sync, another rate behind": MP3_FRAME + b"\xff\xfb\x94\xc4" + bytes(400),
    "mp3, free format": b"\xff\xfb\x00\xc4" + bytes(400),
    "mp3, bad bit rate": b"\xff\xfb\xf0\xc4" + bytes(400),
    "mp3 behind zeros, no id3": bytes(100) + MP3,
    "mp3 behind too much else": bytes(HEAD_BYTES - 1253) + MP3_FRAME * 4,
    "mp3 cut out of a stream, of three frames": MP3_FRAME[100:] + MP3,
    "mp3 frames that do not follow each other": (MP3_FRAME[100:] + MP3_FRAME * 2) * 9,
    "styp": box(b"styp", b"msdh", bytes(4)),
    "id3 alone": id3(bytes(500)),
    "id3 and noise": id3(bytes(500)) + noise(2000),
    "id3 and zeros": id3(bytes(500)) + bytes(HEAD_BYTES + 10),
    "id3 and wav": id3(bytes(500)) + b"RIFF\x24\0\0\0WAVEfmt ",
    "id3 longer than the file": id3(bytes(5000))[:300],
    "broken id3": b"ID3\x04\0\0\xff\xff\xff\xff" + MP3,
    "flac without streaminfo": b"fLaC\x04\0\0\x22" + bytes(34),
    "ogg theora alone": THEORA + page([b"x"], 1, serial=7),
    "ogg of a stranger": page([b"whatever"], 0, begins=True),
    "matroska": ebml(b"matroska"),
    "ebml without a type": element(0x1A45DFA3, b"") + bytes(40),
    "quicktime": ftyp(b"qt  ", b"qt  ", b"mp42"),
    "quicktime, mdat first": box(b"wide") + box(b"mdat", bytes(50)),
    "heic": ftyp(b"heic", b"mif1", b"iso8"),
    "avif": ftyp(b"avif", b"mif1"),
    "unknown brand": ftyp(b"zzzz", b"yyyy"),
    "aiff": b"FORM\0\0\1\0AIFFCOMM" + bytes(20),
    "caf": b"caff\0\1\0\0desc" + bytes(20),
    "amr": b"#!AMR\n" + bytes(40),
    "wma": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(40),
    "avi": b"RIFF\x24\0\0\0AVI LIST" + bytes(20),
    "webp": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20),
    "mpeg video": b"\0\0\1\xb3\x16\0\xf0" + bytes(20),
    "program stream without its mark": b"\0\0\1\xba\xff" + bytes(20),
    "mpeg transport stream": (b"\x47\x40\0\x10" + bytes(184)) * 4,
    "windows program": b"MZ\x90\0\3\0\0\0\4\0\0\0" + bytes(200),
    "elf": b"\x7fELF\2\1\1" + bytes(200),
    "zip": b"PK\3\4\x14\0\0\0\x08\0" + bytes(200),
    "pdf": b"%PDF-1.7\n%\xe2\xe3" + bytes(200),
    "html": b"<!doctype html><title>",
    "html, upper case": b"\n<!DOCTYPE HTML>",
    "json": b'{"file": "x.mp3"}',
    "png": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(50),
    "gzip": b"\x1f\x8b\x08" + bytes(50),
    "text like a box": b"The moov of a film is not a mood",
    "text": b"hello, this is a text about audio",
    "utf-16": "\N{BYTE ORDER MARK}hello, this is a text".encode("utf-16-le"),
    "utf-16, big-endian": "\N{BYTE ORDER MARK}hello, this is a text".encode("utf-16-be"),
    "zeros": bytes(5000),
    "noise": noise(HEAD_BYTES + 100),
    "empty": b"",
}


@pytest.mark.parametrize(("head", "container"), TAKEN.values(), ids=TAKEN.keys())
def test_recognises(head: bytes, container: Container) -> None:
    assert verdict(head) is container


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED.keys())
def test_rejects(head: bytes) -> None:
    assert isinstance(verdict(head), Unrecognised)


@pytest.mark.parametrize("head", [*(head for head, _ in TAKEN.values()), *REFUSED.values()])
def test_the_verdict_is_the_same_for_every_split(head: bytes) -> None:
    whole = verdict(head)
    places = range(len(head)) if len(head) < 1500 else random.Random(0).sample(range(len(head)), 30)
    assert all(verdict(head, [place]) == whole for place in places)
    if len(head) < 10_000:
        assert verdict(head, range(len(head))) == whole


@pytest.mark.parametrize("length", range(12))
def test_rejects_a_file_shorter_than_a_signature(length: int) -> None:
    assert verdict(b"RIFF\x24\0\0\0WAVE"[:length]) == Unrecognised()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (REFUSED["matroska"], "Matroska"),
        (REFUSED["quicktime"], "QuickTime"),
        (REFUSED["aac in adts"], "AAC (ADTS)"),
        (REFUSED["pdf"], "a PDF document"),
        (REFUSED["json"], "JSON"),
        (REFUSED["text"], ""),
        (REFUSED["text like a box"], ""),
    ],
)
def test_names_rejected_formats(head: bytes, kind: str) -> None:
    assert verdict(head) == Unrecognised(kind)


FLAC_FILE = make("flac", "flac", 1.0, 16_000)
WEBM_FILE = make("webm", "libopus", 3.0, 48_000)
MOOF = box(b"moof", box(b"mfhd", bytes(8)))
HEADLESS = {
    "a cluster": (WEBM_FILE[WEBM_FILE.index(b"\x1f\x43\xb6\x75") :], "WebM"),
    "a block": (WEBM_FILE[WEBM_FILE.index(b"\xa3", WEBM_FILE.index(b"\x1f\x43\xb6\x75")) :], "WebM"),
    "a moof": (MOOF, "fragmented MP4"),
    "styp, sidx and moof": (
        box(b"styp", b"msdh", bytes(4)) + box(b"sidx", bytes(24)) + MOOF + box(b"mdat"),
        "fragmented MP4",
    ),
    "sidx": (box(b"sidx", bytes(24)), "fragmented MP4"),
    "a page": (page([b"x"], 960) + page([b"x"], 1920), "Ogg"),
    "a frame": (FLAC_FILE[FLAC_FILE.index(b"\xff\xf8", 42) :], "FLAC"),
}


@pytest.mark.parametrize(("head", "name"), HEADLESS.values(), ids=HEADLESS.keys())
def test_recognises_parts_without_a_header(head: bytes, name: str) -> None:
    assert verdict(head) == Unrecognised(name, header_missing=True)
    places = range(min(len(head), 100))
    assert all(verdict(head, [place]) == verdict(head) for place in places)


def test_waits_until_it_is_certain() -> None:
    sniffer = Sniffer()
    sniffer.feed(MP3[:200])
    assert sniffer.verdict is None
    sniffer.feed(MP3[200:500])
    assert sniffer.verdict is Container.MP3


def test_gives_up_at_the_end_of_the_head() -> None:
    sniffer = Sniffer()
    sniffer.feed(box(b"free", bytes(HEAD_BYTES)))
    assert sniffer.verdict == Unrecognised()


def test_keeps_no_tag_in_memory() -> None:
    sniffer = Sniffer()
    for piece in [id3(bytes(1 << 20))[:100], *[bytes(4096)] * 200]:
        sniffer.feed(piece)
    assert len(sniffer._cursor.window) <= 10


@pytest.mark.parametrize(
    ("container", "codec", "sample_rate", "expected"),
    [
        ("wav", "pcm_s16le", 16_000, Container.WAV),
        ("flac", "flac", 16_000, Container.FLAC),
        ("mp3", "libmp3lame", 44_100, Container.MP3),
        ("ogg", "libopus", 48_000, Container.OGG),
        ("ogg", "flac", 16_000, Container.OGG),
        ("ipod", "aac", 44_100, Container.M4A),
        ("mp4", "aac", 44_100, Container.MP4),
        ("3gp", "aac", 44_100, Container.MP4),
        ("webm", "libopus", 48_000, Container.WEBM),
        ("mpeg", "mp2", 44_100, Container.MPEG),
        ("vob", "mp2", 44_100, Container.MPEG),
        ("mov", "aac", 44_100, Unrecognised("QuickTime")),
        ("matroska", "libopus", 48_000, Unrecognised("Matroska")),
        ("adts", "aac", 44_100, Unrecognised("AAC (ADTS)")),
        ("aiff", "pcm_s16be", 16_000, Unrecognised("AIFF")),
        ("caf", "pcm_s16le", 16_000, Unrecognised("CAF")),
        ("w64", "pcm_s16le", 16_000, Unrecognised("Wave64")),
    ],
)
def test_recognises_what_ffmpeg_writes(
    container: str, codec: str, sample_rate: int, expected: Container | Unrecognised
) -> None:
    assert verdict(make(container, codec, 1.0, sample_rate)) == expected


def test_every_container_is_among_the_formats() -> None:
    assert {container.value for container in Container} <= set(FORMATS)
    assert len(FORMATS) == 10
