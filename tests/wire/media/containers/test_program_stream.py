import pytest

from app.wire.media import Container
from app.wire.media.containers.program_stream import payload_at
from tests.audio import duration, make
from tests.wire.media.parts import bound, is_close, measure, noise


@pytest.mark.parametrize("muxer", ["mpeg", "vob"])
@pytest.mark.parametrize(("codec", "rate"), [("mp2", 16_000), ("mp2", 48_000), ("libmp3lame", 44_100)])
def test_measures_the_frames_of_the_audio(muxer: str, codec: str, rate: int) -> None:
    data = make(muxer, codec, 7.3, rate)
    assert is_close(measure(data, Container.MPEG), duration(data))


def test_a_cut_file_counts_what_is_present() -> None:
    data = make("mpeg", "mp2", 8.0, 48_000)
    assert is_close(measure(data[: len(data) // 2]), 4.0)


def test_garbage_between_the_packs_does_not_count() -> None:
    data = make("mpeg", "mp2", 7.3, 48_000)
    at = data.index(b"\0\0\1\xba", len(data) // 2)
    assert is_close(measure(data[:at] + noise(999) + data[at:]), 7.3)


def test_private_streams_are_estimated_by_their_bytes() -> None:
    data = make("vob", "ac3", 7.3, 48_000)
    length = measure(data)
    assert not length.measured
    assert length.seconds == pytest.approx(len(data) * 8 / Container.MPEG.nominal_bit_rate, rel=0.1)


@pytest.mark.parametrize(
    ("head", "at"),
    [
        (b"\0\0\1\xc0\0\x40\x80\x80\5" + bytes(20), 14),
        (b"\0\0\1\xc0\0\x40\x0f" + bytes(20), 7),
        (b"\0\0\1\xc0\0\x40\xff\xff\x40\x20\x21" + bytes(20), 15),
        (b"\0\0\1\xc0\0\x40\x31" + bytes(20), 16),
    ],
)
def test_where_a_payload_begins(head: bytes, at: int) -> None:
    assert payload_at(head) == at


def test_the_bound() -> None:
    data = make("mpeg", "mp2", 7.3, 48_000)
    assert bound(data, Container.MPEG) == len(data) * 8 / Container.MPEG.lowest_bit_rate
