import pytest

from app.wire.media.containers.iso_bmff.sample_entry import Packets, parse_sample_entries
from tests.wire.media.parts import box


def entry(kind: bytes, *more: bytes, rate: int = 48_000, channels: int = 1, bits: int = 16) -> bytes:
    fields = channels.to_bytes(2, "big") + bits.to_bytes(2, "big") + bytes(4) + (rate << 16).to_bytes(4, "big")
    return box(kind, bytes(16), fields, *more)


def described(*found: bytes) -> bytes:
    return bytes(4) + len(found).to_bytes(4, "big") + b"".join(found)


def aac(configuration: bytes, kind: int = 0x40) -> bytes:
    specific = b"\x05" + bytes([len(configuration)]) + configuration
    decoder = b"\x04" + bytes([13 + len(specific), kind]) + bytes(12) + specific
    return box(b"esds", bytes(4), b"\x03\x80\x80\x80", bytes([3 + len(decoder)]), bytes(3), decoder)


@pytest.mark.parametrize(
    ("configuration", "seconds", "highest"),
    [
        (b"\x14\x08", 1024 / 16_000, 96_000),
        (b"\x11\x90", 1024 / 48_000, 576_000),
        (b"\x14\x0c", 960 / 16_000, 102_400),
        (b"\x2b\x8a\x08\x00", 1024 / 22_050, 132_300),
        (b"\x17\x80\x1f\x40\x08", 1024 / 16_000, 96_000),
        (b"\xb9\x88\x00", 512 / 48_000, 576_000),
    ],
    ids=["LC", "LC in stereo", "960 samples", "HE", "a rate in full", "low delay"],
)
def test_aac_uses_its_own_configuration(configuration: bytes, seconds: float, highest: float) -> None:
    (found,) = parse_sample_entries(described(entry(b"mp4a", aac(configuration), rate=8_000)))
    assert found.seconds == pytest.approx(seconds)
    assert found.highest_bit_rate == pytest.approx(highest)


@pytest.mark.parametrize(
    ("found", "packets"),
    [
        (entry(b"mp4a", aac(b"", 0x6B), rate=16_000), Packets(576 / 16_000)),
        (entry(b"mp4a"), Packets(0.02)),
        (entry(b"Opus"), Packets(0.02)),
        (entry(b"sowt", rate=16_000), Packets(highest_bit_rate=256_000)),
        (entry(b"ulaw", rate=8_000, bits=16), Packets(highest_bit_rate=64_000)),
        (entry(b"ac-3"), Packets(0.032)),
        (entry(b"fLaC", box(b"dfLa", bytes(8), b"\x10\0\x10\0", bytes(6), b"\x0a\xc4\x40")), Packets(4096 / 44_100)),
    ],
)
def test_other_codecs(found: bytes, packets: Packets) -> None:
    assert parse_sample_entries(described(found)) == [packets]


def test_no_bytes_raise() -> None:
    whole = described(entry(b"mp4a", aac(b"\x14\x08")), entry(b"alac", box(b"alac", bytes(28))))
    for end in range(len(whole)):
        parse_sample_entries(whole[:end])
    assert len(parse_sample_entries(whole)) == 2
