"""C: files that are not audio, that pretend to be, or that have a wrong name."""

import struct
from collections.abc import Callable

import pytest

from app.wire.media import FORMATS
from tests.audio import make
from tests.behaviour.caller import CLIP, begin, connect, error_of, form, post, request_id
from tests.faults.outcomes import counts_refusals, refused
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import ScriptedUpstream
from tests.wire.media.parts import box, chunk, element, id3, noise, page

WHISPER_NANO_USD_A_SECOND = 100_000

ADTS = b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(400)
FLAC = b"fLaC\x80\0\0\x22" + bytes(34)
MP3_FRAME = b"\xff\xfb\x90\xc4" + bytes(413)
MP3 = MP3_FRAME * 5
OPUS_HEAD = b"OpusHead\x01\x01\x38\x01" + bytes(8)
OPUS = page([OPUS_HEAD], 0, begins=True)
OGG_FLAC = page([b"\x7fFLAC\1\0\0\1fLaC\0\0\0\x22" + bytes(10) + b"\x03\xe8" * 12], 0, begins=True)
THEORA = page([b"\x80theora" + bytes(35)], 0, serial=7, begins=True)
FRAGMENT = box(b"moof", box(b"mfhd", bytes(8)))


def brands(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major, bytes(4), *compatible) + bytes(64)


def ebml(document: bytes) -> bytes:
    return element(0x1A45DFA3, element(0x4286, b"\1") + element(0x4282, document)) + bytes(64)


REJECTED: dict[str, tuple[bytes, str]] = {
    "C47-windows-program": (b"MZ\x90\x00\x03" + bytes(3000), "a Windows program"),
    "C47-elf": (b"\x7fELF\x02\x01\x01" + bytes(3000), "a program"),
    "C47-zip": (b"PK\x03\x04\x14\x00" + bytes(3000), "a ZIP archive"),
    "C47-empty-zip": (b"PK\x05\x06" + bytes(18), "a ZIP archive"),
    "C47-gzip": (b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
    "C47-pdf": (b"%PDF-1.7\n" + bytes(3000), "a PDF document"),
    "C47-html": (b"<!doctype html><html>" + b" " * 3000, "an HTML or XML document"),
    "C47-html-in-capitals": (b"\r\n <!DOCTYPE HTML>" + b" " * 100, "an HTML or XML document"),
    "C47-xml": (b"<?xml version='1.0'?><MPD/>", "an HTML or XML document"),
    "C47-json": (b'{"text": "hello"}' + b" " * 3000, "JSON"),
    "C47-png": (b"\x89PNG\r\n\x1a\n" + bytes(3000), "a picture"),
    "C47-jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(3000), "a picture"),
    "C47-webp": (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(100), "a WebP picture"),
    "C47-script": (b"#!/bin/sh\nexec rm -rf /\n" + b" " * 100, ""),
    "C47-playlist": (b"#EXTM3U\nhttp://169.254.169.254/latest/meta-data\n" * 3, ""),
    "C47-concatenation": (b"ffconcat version 1.0\nfile /etc/passwd\n" * 3, ""),
    "C47-svg": (b"<svg xmlns='http://www.w3.org/2000/svg'>" + b" " * 100, ""),
    "C47-7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100), ""),
    "C47-rar": (b"Rar!\x1a\x07\x00" + bytes(100), ""),
    "C47-java": (b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(100), ""),
    "C47-sqlite": (b"SQLite format 3\0" + bytes(100), ""),
    "C47-subtitles": (b"1\n00:00:00,000 --> 00:00:01,000\nhello\n" * 3, ""),
    "C47-text": (b"hello, this is no audio at all. " * 100, ""),
    "C47-utf-16": ("\N{BYTE ORDER MARK}hello, this is no audio".encode("utf-16-le") * 50, "UTF-16 text"),
    "C47-utf-16-big-endian": ("\N{BYTE ORDER MARK}hello, no audio".encode("utf-16-be") * 50, "UTF-16 text"),
    "C47-short-utf-16": ("\N{BYTE ORDER MARK}hello".encode("utf-16-le"), "UTF-16 text"),
    "C47-html-behind-a-mark": (b"\xef\xbb\xbf<!doctype html>" + b" " * 100, ""),
    "C47-zeros": (bytes(100_000), ""),
    "C47-ones": (b"\xff" * 100_000, ""),
    "C47-noise": (b"\0" + noise(100_000), ""),
    "C47-avi": (b"RIFF\x24\0\0\0AVI LIST" + bytes(100), "AVI"),
    "C47-riff-of-another-kind": (b"RIFF\x24\0\0\0RMIDdata" + bytes(100), ""),
    "C47-rf64-of-another-kind": (b"RF64\xff\xff\xff\xffAVI LIST" + bytes(100), ""),
    "C47-big-endian-riff": (b"RIFX\0\0\0\x24WAVEfmt " + bytes(100), ""),
    "C47-zeros-before-too-few-mp3-frames": (bytes(300) + MP3_FRAME * 3, ""),
    "C47-wav-behind-id3": (id3(bytes(300)) + CLIP, ""),
    "C47-id3-alone": (id3(bytes(5000)), ""),
    "C47-id3-longer-than-the-file": (id3(bytes(5000))[:2000] + MP3, ""),
    "C47-mp3-without-a-second-frame": (b"\xff\xfb\x90\xc4" + noise(5000), ""),
    "C51-adts": (ADTS, "AAC (ADTS)"),
    "C51-adts-mpeg-2": (b"\xff\xf9" + ADTS[2:], "AAC (ADTS)"),
    "C51-adts-without-a-checksum": (b"\xff\xf0" + ADTS[2:], "AAC (ADTS)"),
    "C51-adts-behind-id3": (id3(bytes(63)) + ADTS, "AAC (ADTS)"),
    "C51-adts-of-ffmpeg": (make("adts", "aac", 1.0, 44_100), "AAC (ADTS)"),
    "C51-adif": (b"ADIF" + bytes(100), "AAC (ADIF)"),
    "C53-flac-without-its-first-block": (b"fLaC\x04\0\0\x22" + bytes(100), ""),
    "C53-ogg-with-video-alone": (THEORA + page([b"x"], 1, serial=7), "Ogg without audio"),
    "C53-ogg-of-a-stranger": (page([b"whatever"], 0, begins=True), "Ogg without audio"),
    "C55-matroska": (ebml(b"matroska"), "Matroska"),
    "C55-matroska-of-ffmpeg": (make("matroska", "libopus", 1.0, 48_000), "Matroska"),
    "C55-longer-than-webm": (ebml(b"webmx"), "EBML"),
    "C55-webm-in-capitals": (ebml(b"WEBM"), "EBML"),
    "C56-quicktime": (brands(b"qt  ", b"qt  ", b"mp42"), "QuickTime"),
    "C56-quicktime-of-ffmpeg": (make("mov", "aac", 1.0, 44_100), "QuickTime"),
    "C56-mdat-first": (box(b"mdat", bytes(100)), "QuickTime"),
    "C56-heic": (brands(b"heic", b"mif1", b"iso8"), "a HEIC picture"),
    "C56-avif": (brands(b"avif", b"mif1"), "an AVIF picture"),
    "C56-unknown-brand": (brands(b"zzzz", b"yyyy"), "an ISO media file of unknown brand"),
    "C56-70-kb-before-ftyp": (box(b"free", bytes(70_000)) + brands(b"M4A "), ""),
    "C56-no-size": (b"\0\0\0\x08ftypisom" + bytes(100), ""),
    "C58-aiff": (make("aiff", "pcm_s16be", 1.0), "AIFF"),
    "C58-aifc": (b"FORM\0\0\1\0AIFCFVER" + bytes(100), "AIFF"),
    "C58-caf": (make("caf", "pcm_s16le", 1.0), "CAF"),
    "C58-amr": (b"#!AMR\n" + bytes(100), "AMR"),
    "C58-amr-wide-band": (b"#!AMR-WB\n" + bytes(100), "AMR"),
    "C58-wma": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(100), "WMA (ASF)"),
    "C58-au": (b".snd\0\0\0\x18" + bytes(100), "AU"),
    "C58-midi": (b"MThd\0\0\0\6" + bytes(100), "MIDI"),
    "C58-wave64": (make("w64", "pcm_s16le", 1.0), "Wave64"),
    "C58-mpeg-transport-stream": ((b"\x47\x40\0\x10" + bytes(184)) * 20, ""),
    "C58-mpeg-video": (b"\0\0\1\xb3\x16\0\xf0" + bytes(100), "MPEG video without a container"),
    "C58-program-stream-without-its-mark": (b"\0\0\1\xba\xff" + bytes(100), ""),
}

ACCEPTED: dict[str, tuple[bytes, str]] = {
    "C49-rf64": (b"RF64\xff\xff\xff\xffWAVEds64" + bytes(100), "wav"),
    "C49-bw64": (b"BW64\xff\xff\xff\xffWAVEds64" + bytes(100), "wav"),
    "C53-flac-behind-id3": (id3(bytes(300)) + FLAC + bytes(100), "flac"),
    "C53-flac-behind-1-mb-of-id3": (id3(noise(1 << 20)) + FLAC + bytes(100), "flac"),
    "C53-mp3-behind-1-mb-of-id3": (id3(noise(1 << 20)) + MP3, "mp3"),
    "C53-mp3-behind-two-tags": (id3(bytes(300)) + id3(noise(70_000)) + MP3, "mp3"),
    "C53-flac-in-ogg": (OGG_FLAC, "ogg"),
    "C53-opus-behind-video": (THEORA + OPUS, "ogg"),
    "C55-webm": (ebml(b"webm"), "webm"),
    "C55-padded": (ebml(b"webm\0\0"), "webm"),
    "C56-m4a": (brands(b"M4A ", b"mp42", b"isom"), "m4a"),
    "C56-m4b": (brands(b"M4B "), "m4a"),
    "C56-video": (brands(b"M4V "), "mp4"),
    **{
        f"C56-{brand.decode()}": (brands(brand), "mp4")
        for brand in (b"mp41", b"mp42", b"isom", b"iso5", b"iso6", b"dash")
    },
    "C56-3gp": (brands(b"3gp5"), "mp4"),
    "C56-3g2": (brands(b"3g2a"), "mp4"),
    "C56-stranger-that-is-compatible": (brands(b"zzzz", b"mp42"), "mp4"),
    "C56-moov-first": (box(b"moov", box(b"mvhd", bytes(100))) + FRAGMENT, "mp4"),
    "C56-free-first": (box(b"free", bytes(40)) + brands(b"M4A "), "m4a"),
    "C56-60-kb-of-free-first": (box(b"free", bytes(60_000)) + brands(b"M4A "), "m4a"),
    "C56-wide-and-skip-first": (box(b"wide") + box(b"skip", bytes(9)) + brands(b"isom"), "mp4"),
    "P270-mp3-cut-in-a-frame": (MP3_FRAME[100:] + MP3, "mp3"),
    "P270-mp3-behind-junk": (b"xx" + MP3, "mp3"),
    "P270-mp3-behind-zeros": (bytes(300) + MP3, "mp3"),
    "P270-mp3-cut-in-a-frame-behind-id3": (id3(bytes(300)) + MP3_FRAME[100:] + MP3, "mp3"),
    "C58-mpeg-1-program-stream": (b"\0\0\1\xba\x21" + bytes(100), "mpeg"),
    "C58-mpeg-2-program-stream": (b"\0\0\1\xba\x44" + bytes(100), "mpeg"),
    "C59-mp3-with-a-zip-behind": (MP3 + b"PK\3\4" + noise(500) + b"PK\5\6" + bytes(18), "mp3"),
    "C59-wav-with-html-behind": (CLIP + b"<!doctype html><script>alert(1)</script>", "wav"),
    "C59-mp3-behind-html-in-its-tag": (id3(b"<!doctype html><script>alert(1)</script>") + MP3, "mp3"),
    "C59-flac-with-a-program-behind": (FLAC + b"\x7fELF" + noise(500), "flac"),
    "C60-12-bytes-of-wav": (CLIP[:12], "wav"),
}


@pytest.mark.parametrize(("audio", "kind"), REJECTED.values(), ids=REJECTED.keys())
def test_a_rejected_file_is_named_in_the_error(
    gateway: GatewayProcess, upstream: ScriptedUpstream, audio: bytes, kind: str
) -> None:
    before = upstream.connections_opened
    for filename in ("x.mp3", "upload"):
        with counts_refusals(gateway, "invalid_file_format"):
            answer = post(gateway, form(audio=audio, filename=filename))
            refused(answer, 400, "invalid_file_format", "file")
        assert kind in error_of(answer)["message"]
    assert (upstream.journal, upstream.connections_opened) == ([], before)


WEBM = make("webm", "libopus", 3.0, 48_000)
FLAC_FRAMES = make("flac", "flac", 1.0)
WITHOUT_HEADER: dict[str, tuple[bytes, str]] = {
    "P271-webm-from-a-cluster-on": (WEBM[WEBM.index(b"\x1f\x43\xb6\x75") :], "WebM"),
    "P271-moof-first": (FRAGMENT + box(b"mdat", bytes(100)), "fragmented MP4"),
    "P271-styp-and-sidx-first": (
        box(b"styp", b"msdh", bytes(4)) + box(b"sidx", bytes(24)) + FRAGMENT,
        "fragmented MP4",
    ),
    "P271-ogg-from-a-page-on": (page([bytes(40)], 960) + page([bytes(40)], 1920), "Ogg"),
    "P271-flac-from-a-frame-on": (FLAC_FRAMES[FLAC_FRAMES.index(b"\xff\xf8", 42) :], "FLAC"),
}


@pytest.mark.parametrize(("audio", "kind"), WITHOUT_HEADER.values(), ids=WITHOUT_HEADER.keys())
def test_a_part_of_a_recording_without_its_header_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, audio: bytes, kind: str
) -> None:
    """MediaRecorder produces such parts: only the first one has the header."""
    answer = post(gateway, form(audio=audio))
    refused(answer, 400, "invalid_file_format", "file")
    assert f"{kind} without its header" in error_of(answer)["message"]
    assert upstream.journal == []


@pytest.mark.parametrize("order", [1, -1], ids=["model-first", "file-first"])
@pytest.mark.parametrize(("audio", "extension"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_file_is_recognised_by_its_bytes(
    gateway: GatewayProcess, upstream: ScriptedUpstream, audio: bytes, extension: str, order: int
) -> None:
    """It is sent upstream unchanged, whatever follows its head."""
    assert post(gateway, form(audio=audio, filename="x.exe")[::order]).status == 200
    file = upstream.journal[0].file
    assert (file.filename, file.data) == (f"audio.{extension}", audio)


def test_C47_a_file_is_rejected_before_it_has_arrived(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    opening = multipart(form(audio=b"MZ\x90\x00" + bytes(200)), closing=False)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([opening], last=b""))
        head = caller.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in head.lower()
    assert upstream.journal == []


FILENAMES = [
    "clip",
    "clip.MP3",
    "clip.mp3.exe",
    "clip.exe.mp3",
    "clip.mp3.",
    "clip.mp3 ",
    ".mp3",
    ".",
    "wav",
    "clip.PDF",
    "blob",
    "audio.flac?x=1",
    "\N{FULLWIDTH FULL STOP}mp3",
]


@pytest.mark.parametrize("filename", FILENAMES)
def test_C48_the_file_name_is_ignored(gateway: GatewayProcess, upstream: ScriptedUpstream, filename: str) -> None:
    audio = make("flac", "flac", 1.0)
    assert post(gateway, form(audio=audio, filename=filename)).status == 200
    assert (upstream.journal[0].file.filename, upstream.journal[0].file.data) == ("audio.flac", audio)
    refused(post(gateway, form(audio=b"MZ" + bytes(3000), filename=filename)), 400, "invalid_file_format", "file")


CONTAINERS = [
    (("wav", "pcm_s16le"), "wav", "audio/wav"),
    (("flac", "flac"), "flac", "audio/flac"),
    (("mp3", "libmp3lame"), "mp3", "audio/mpeg"),
    (("ogg", "flac"), "ogg", "audio/ogg"),
    (("ogg", "libopus"), "ogg", "audio/ogg"),
    (("ipod", "aac"), "m4a", "audio/mp4"),
    (("mp4", "aac"), "mp4", "video/mp4"),
    (("webm", "libopus"), "webm", "audio/webm"),
    (("mpeg", "mp2"), "mpeg", "video/mpeg"),
]


@pytest.mark.parametrize(("made", "extension", "kind"), CONTAINERS, ids=["-".join(each[0]) for each in CONTAINERS])
def test_C49_the_extension_upstream_is_that_of_the_actual_container(
    gateway: GatewayProcess, upstream: ScriptedUpstream, made: tuple[str, str], extension: str, kind: str
) -> None:
    """With every allowed extension, none, and an unknown one."""
    audio = make(made[0], made[1], 1.0, 48_000)
    for name in (*(f"clip.{each}" for each in FORMATS), "upload", "x.exe", "CLIP.WAV"):
        assert post(gateway, form(audio=audio, filename=name)).status == 200
        file = upstream.journal[-1].file
        assert (file.filename, file.content_type, file.data) == (f"audio.{extension}", kind, audio)


def test_C58_a_program_stream_is_measured(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = post(gateway, form(audio=make("mpeg", "mp2", 2.0, 48_000)))
    row = gateway.row(request_id(answer))
    assert (row["state"], row["container"], row["source"]) == ("settled", "mpeg", "measured")
    assert row["cost_nano_usd"] > 0


HEADS = {"wav": CLIP, "mp3": MP3, "flac": FLAC, "ogg": OPUS, "m4a": brands(b"M4A "), "webm": ebml(b"webm")}


@pytest.mark.parametrize("container", HEADS)
def test_C60_a_file_too_short_to_be_recognised(
    gateway: GatewayProcess, upstream: ScriptedUpstream, container: str
) -> None:
    for size in range(1, 12):
        answer = post(gateway, form(audio=HEADS[container][:size]))
        refused(answer, 400, "invalid_file_format", "file")
    assert upstream.journal == []


TEN_HOURS = 36_000


def opus(seconds: int) -> bytes:
    return OPUS + page([b"OpusTags" + bytes(20)], 0, number=1) + page([bytes(40)] * 10, seconds * 48_000, number=2)


def flac(seconds: int) -> bytes:
    packed = (16_000 << 44 | 15 << 36 | seconds * 16_000).to_bytes(8, "big")
    return b"fLaC\x80\0\0\x22" + b"\x10\0\x10\0" + bytes(6) + packed + bytes(16) + noise(600)


def wav(seconds: int) -> bytes:
    layout = b"\1\0\1\0" + (16_000).to_bytes(4, "little") + (32_000).to_bytes(4, "little") + b"\2\0\x10\0"
    inner = b"WAVE" + chunk(b"fmt ", layout) + chunk(b"data", noise(600), seconds * 32_000)
    return b"RIFF" + (len(inner)).to_bytes(4, "little") + inner


def m4a(seconds: int) -> bytes:
    header = bytes(12) + (1000).to_bytes(4, "big") + (seconds * 1000).to_bytes(4, "big") + bytes(80)
    return brands(b"M4A ")[:16] + box(b"moov", box(b"mvhd", header)) + box(b"mdat", noise(600))


def webm(seconds: int) -> bytes:
    info = element(0x2AD7B1, (1_000_000_000).to_bytes(4, "big")) + element(0x4489, _float(seconds))
    return ebml(b"webm")[:-64] + element(0x18538067, element(0x1549A966, info) + noise(600))


def _float(value: float) -> bytes:
    return struct.pack(">d", value)


@pytest.mark.parametrize("order", [1, -1], ids=["streamed", "kept"])
@pytest.mark.parametrize("claim", [opus, flac, wav, m4a, webm])
def test_C62_a_stated_length_that_does_not_fit_the_size_is_ignored(
    gateway: GatewayProcess, upstream: ScriptedUpstream, claim: Callable[[int], bytes], order: int
) -> None:
    """Ten hours in a kilobyte: accepted, but reserved and charged for what a kilobyte can hold."""
    audio = claim(TEN_HOURS)
    assert len(audio) < 2000
    answer = post(gateway, form(audio=audio)[::order])
    assert answer.status == 200
    row = gateway.row(request_id(answer))
    assert row["state"] == "settled"
    assert 0 <= row["cost_nano_usd"] <= row["bound_nano_usd"] < 30 * WHISPER_NANO_USD_A_SECOND
    assert row["audio_ms"] < 30_000
