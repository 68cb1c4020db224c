import pytest

from app.wire.media import AudioLength, Container
from app.wire.media.containers.flac import crc8
from tests.audio import make
from tests.wire.media.parts import bound, id3, is_close, measure, noise


def with_total(data: bytes, samples: int) -> bytes:
    """The file with another number of samples in STREAMINFO (36 bits from the middle of byte 21)."""
    high = data[21] & 0xF0 | samples >> 32
    return data[:21] + bytes([high]) + (samples & 0xFFFFFFFF).to_bytes(4, "big") + data[26:]


@pytest.mark.parametrize(("sample_rate", "channels"), [(8_000, 1), (16_000, 1), (44_100, 2), (48_000, 2), (37_000, 1)])
def test_measures(sample_rate: int, channels: int) -> None:
    assert is_close(measure(make("flac", "flac", 7.3, sample_rate, channels)), 7.3)


def test_measures_a_stream_without_a_total() -> None:
    piped = make("flac", "flac", 7.3, 44_100, 2, seekable=False)
    assert with_total(piped, 0) == piped
    assert is_close(measure(piped), 7.3)


@pytest.mark.parametrize("tag", [id3(noise(100)), id3(noise(1 << 20)), id3(b"x" * 50) + bytes(99)])
@pytest.mark.parametrize("total", [0, 7 * 44_100])
def test_measures_after_a_tag(tag: bytes, total: int) -> None:
    data = with_total(make("flac", "flac", 7.0, 44_100, 1), total)
    assert is_close(measure(tag + data), 7.0)


def test_a_picture_in_front_of_the_frames_does_not_count() -> None:
    data = make("flac", "flac", 7.0, 44_100, 1)
    frame = data.index(b"\xff\xf8", 42)
    picture = b"\x06" + (5 * 2000).to_bytes(3, "big") + data[frame : frame + 2000] * 5
    assert is_close(measure(data[:42] + picture + data[42:]), 7.0)


def test_a_cut_file_counts_what_is_present() -> None:
    data = make("flac", "flac", 8.0, 44_100, 1)
    assert is_close(measure(data[: len(data) // 2]), 4.0)


@pytest.mark.parametrize("claimed", [1, 36_000 * 44_100])
def test_the_frames_count_and_not_what_is_claimed(claimed: int) -> None:
    assert is_close(measure(with_total(make("flac", "flac", 7.0, 44_100, 1), claimed)), 7.0)


def test_a_claim_without_frames_is_believed_if_it_fits_the_size() -> None:
    padded = (b"fLaC\x80" + make("flac", "flac", 7.0, 44_100, 1)[5:42]).ljust(1000, b"\0")
    assert measure(with_total(padded, 7 * 44_100)) == AudioLength(7.0, True)
    assert measure(with_total(padded, 36_000 * 44_100)) == AudioLength(8000 / Container.FLAC.nominal_bit_rate, False)


def test_the_bound() -> None:
    data = make("flac", "flac", 7.3, 44_100, 1)
    assert bound(data, Container.FLAC) == pytest.approx(7.3)
    assert bound(with_total(data, 0), Container.FLAC) == len(data) * 8 / 1000
    assert bound(with_total(data, 36_000 * 44_100), Container.FLAC, 1000) == 8.0


@pytest.mark.parametrize(("data", "crc"), [(b"", 0), (b"\x01", 0x07), (b"123456789", 0xF4)])
def test_crc8(data: bytes, crc: int) -> None:
    assert crc8(data) == crc
