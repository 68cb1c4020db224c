import struct

import pytest

from app.wire.media import AudioLength, Container
from tests.audio import duration, make
from tests.wire.media.parts import bound, element, is_close, measure

LIVE = (("live", "1"),)


def webm(seconds: float = 7.3, *, live: bool = False, seekable: bool = True, bit_rate: int = 32_000) -> bytes:
    return make("webm", "libopus", seconds, 48_000, bit_rate=bit_rate, options=LIVE if live else (), seekable=seekable)


def number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def track(name: int, kind: int, default_duration: int = 0) -> bytes:
    default = element(0x23E383, number(default_duration)) if default_duration else b""
    return element(0xAE, element(0xD7, number(name)) + element(0x83, number(kind)) + default)


OPUS = element(0xAE, element(0xD7, number(1)) + element(0x83, number(2)) + element(0x86, b"A_OPUS"))
"""A track whose blocks of zeros are packets of 10 ms."""


def block(name: int, offset: int, size: int = 60, *, kind: int = 0xA3) -> bytes:
    return element(kind, bytes([0x80 | name]) + struct.pack(">h", offset) + b"\x80" + bytes(size))


def cluster(time: int, *blocks: bytes) -> bytes:
    return element(0x1F43B675, element(0xE7, number(time)) + b"".join(blocks), unknown=True)


def segment(
    *clusters: bytes, tracks: bytes = track(1, 2), duration: float | None = None, scale: int = 1_000_000
) -> bytes:
    stated = b"" if duration is None else element(0x4489, struct.pack(">d", duration))
    info = element(0x1549A966, element(0x2AD7B1, number(scale)) + stated)
    body = info + element(0x1654AE6B, tracks) + b"".join(clusters)
    return element(0x1A45DFA3, element(0x4282, b"webm")) + element(0x18538067, body, unknown=True)


def second(time: int, name: int = 1) -> bytes:
    """A cluster of fifty blocks, one every 20 ms."""
    return cluster(time, *(block(name, 20 * step) for step in range(50)))


@pytest.mark.parametrize("bit_rate", [6_000, 32_000, 128_000])
def test_measures_a_finished_file(bit_rate: int) -> None:
    assert is_close(measure(webm(bit_rate=bit_rate)), 7.3)


@pytest.mark.parametrize(("live", "seekable"), [(True, True), (False, False)])
def test_measures_without_a_duration(live: bool, seekable: bool) -> None:
    data = webm(live=live, seekable=seekable)
    assert b"\x44\x89\x88" not in data
    assert is_close(measure(data), 7.3)


def test_measures_clusters_of_unknown_size() -> None:
    assert measure(segment(*(second(1000 * time) for time in range(5)))) == AudioLength(5.0, True)


def test_a_late_start_does_not_count() -> None:
    assert measure(segment(*(second(3_600_000 + 1000 * time) for time in range(5)))) == AudioLength(5.0, True)


def test_counts_the_sound_and_not_the_picture() -> None:
    tracks = track(1, 1) + track(2, 2)
    data = segment(second(0, 2), second(1000, 1), second(2000, 1), second(9000, 1), tracks=tracks)
    assert measure(data) == AudioLength(1.0, True)


def test_two_recordings_in_sequence_add_up() -> None:
    assert measure(segment(second(0), second(1000)) + segment(second(0))) == AudioLength(3.0, True)


def test_the_scale_of_time_stamps() -> None:
    data = segment(*(second(1000 * time) for time in range(4)), tracks=OPUS, scale=500_000)
    assert measure(data) == AudioLength(2.0, True)


@pytest.mark.parametrize(
    ("last", "tracks", "seconds"),
    [
        (block(1, 980), track(1, 2), 1.0),
        (block(1, 980), track(1, 2, 60_000_000), 1.04),
        (element(0xA0, block(1, 980, kind=0xA1) + element(0x9B, b"\x0a")), track(1, 2), 0.99),
        (block(1, -20) + block(1, 980), track(1, 2), 1.0),
    ],
)
def test_the_last_block_has_a_length_too(last: bytes, tracks: bytes, seconds: float) -> None:
    data = segment(cluster(0, *(block(1, 20 * step) for step in range(49)), last), tracks=tracks)
    assert measure(data).seconds == pytest.approx(seconds)


def test_a_cut_file_counts_the_present_blocks() -> None:
    data = webm(8.0, live=True)[:16_000]
    assert is_close(measure(data), duration(data))


def test_a_time_that_does_not_fit_the_blocks_is_ignored() -> None:
    data = segment(cluster(0, block(1, 0)), cluster(36_000_000, block(1, 0)), duration=36_000_000.0)
    assert measure(data) == AudioLength(2 * 0.02, False)


def test_a_duration_without_blocks_is_believed_if_it_fits_the_size() -> None:
    assert measure(segment(duration=3_000.0) + element(0xEC, bytes(9_000))) == AudioLength(3.0, True)


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), -3_000.0])
def test_an_invalid_duration(duration: float) -> None:
    data = segment(duration=duration) + element(0xEC, bytes(9_000))
    assert not measure(data).measured
    assert bound(data, Container.WEBM) == len(data) * 8 / Container.WEBM.lowest_bit_rate


def test_a_track_number_of_two_bytes_is_not_that_of_one() -> None:
    sound = element(0xA3, b"\x40\x81\0\0\x80" + bytes(60))
    data = segment(cluster(0, sound, *(block(1, 20 * step) for step in range(50))), tracks=track(129, 2) + track(1, 1))
    assert measure(data, cuts=range(len(data))) == measure(data)
    assert not measure(data).measured


def test_the_bound() -> None:
    assert bound(webm(), Container.WEBM) == pytest.approx(7.3, abs=0.1)
    assert bound(webm(live=True), Container.WEBM) == len(webm(live=True)) * 8 / Container.WEBM.lowest_bit_rate
