import pytest

from app.wire.media import AudioLength, Container
from tests.audio import duration, make
from tests.wire.media.parts import bound, is_close, measure, noise, page, pages

OPUS_HEAD = b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0"  # a pre-skip of 312
SPEEX_HEAD = b"Speex   " + bytes(28) + (16_000).to_bytes(4, "little") + bytes(40)
EXPERIMENTAL = (("strict", "-2"),)


def opus(seconds: float = 7.3, bit_rate: int = 32_000) -> bytes:
    return make("ogg", "libopus", seconds, 48_000, bit_rate=bit_rate)


def stream(head: bytes, granules: list[int], packets: int = 50, serial: int = 1) -> bytes:
    """A stream by hand: headers, and a page of packets for each granule position."""
    audio = [page([b"x" * 40] * packets, granule, serial=serial) for granule in granules]
    return page([head], 0, begins=True, serial=serial) + page([b"OpusTags"], 0, serial=serial) + b"".join(audio)


@pytest.mark.parametrize("bit_rate", [6_000, 32_000, 128_000])
def test_measures_opus(bit_rate: int) -> None:
    assert is_close(measure(opus(bit_rate=bit_rate)), 7.3)


@pytest.mark.parametrize("seconds", [0.2, 2.0, 7.3])
def test_measures_vorbis(seconds: float) -> None:
    data = make("ogg", "vorbis", seconds, 44_100, 2, codec_options=EXPERIMENTAL)
    assert is_close(measure(data), duration(data))


def test_measures_flac() -> None:
    assert is_close(measure(make("ogg", "flac", 7.3, 16_000)), 7.3)


def test_measures_speex() -> None:
    assert measure(stream(SPEEX_HEAD, [16_000, 32_000, 48_000])) == AudioLength(3.0, True)


def test_subtracts_the_pre_skip() -> None:
    assert measure(stream(OPUS_HEAD, [48_000, 96_312])) == AudioLength(2.0, True)


def test_chained_streams_add_up() -> None:
    assert is_close(measure(opus() + opus(2.0) + opus(3.0)), 12.3)
    assert is_close(measure(opus() + make("ogg", "flac", 7.3, 16_000)), 14.6)


def test_a_late_start_does_not_count() -> None:
    late = 48_000 * 3600
    granules = [late + 48_000 * second for second in range(1, 11)]
    assert is_close(measure(stream(OPUS_HEAD, granules)), 10.0)
    headers, audio = pages(opus(12.0))[:2], pages(opus(12.0))[6:]
    assert is_close(measure(b"".join(headers + audio)), len(audio) - 1)


def test_the_longest_of_parallel_streams_counts() -> None:
    heads = page([OPUS_HEAD], 0, begins=True) + page([SPEEX_HEAD], 0, begins=True, serial=2)
    audio = page([b"x"] * 50, 48_312) + page([b"x"] * 50, 32_000, serial=2) + page([b"x"] * 9, 1 << 40, serial=3)
    assert measure(heads + audio) == AudioLength(2.0, True)


def test_a_page_on_which_no_packet_ends_has_no_position() -> None:
    part = page([b"x" * 40], -1)
    data = stream(OPUS_HEAD, [48_000]) + part + page([b"x" * 40] * 50, 96_312)
    assert measure(data) == AudioLength(2.0, True)


def test_a_cut_file_counts_its_complete_pages() -> None:
    data = pages(opus(8.0))
    assert is_close(measure(b"".join(data[:6]) + data[6][:50]), 4.0)


def test_garbage_between_pages_does_not_count() -> None:
    data = pages(opus(8.0))
    assert is_close(measure(b"".join(data[:5]) + noise(3000) + b"OggS" + b"".join(data[5:]) + noise(999)), 8.0)


def test_a_position_that_does_not_fit_the_packets_is_ignored() -> None:
    data = stream(OPUS_HEAD, [48_000 * 36_000], packets=5).ljust(1000, b"\0")
    assert measure(data) == AudioLength(5 * 0.02, False)


def test_silence_in_tiny_packets_is_believed() -> None:
    granules = [48_000 * second for second in range(1, 601)]
    silent = [page([b"x"] * 5, granule) for granule in granules]
    data = page([OPUS_HEAD], 0, begins=True) + b"".join(silent)
    assert len(data) * 8 / 600 < Container.OGG.lowest_bit_rate
    assert is_close(measure(data), 600)


def test_the_bound() -> None:
    data = opus(bit_rate=6_000)
    assert bound(data, Container.OGG) == len(data) * 8 / Container.OGG.lowest_bit_rate
    assert bound(data, Container.OGG) >= 7.3
