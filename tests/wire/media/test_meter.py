import random
import time
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.media import HEAD_BYTES, AudioLength, AudioMeter, Container
from tests.audio import make
from tests.wire.media.parts import bound, id3, is_close, measure, noise, verdict

FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "500000"))

FILES: dict[str, Callable[[float], bytes]] = {
    "wav": lambda seconds: make("wav", "pcm_s16le", seconds, 8_000),
    "wav with mp3": lambda seconds: make("wav", "libmp3lame", seconds, 16_000),
    "flac": lambda seconds: make("flac", "flac", seconds, 8_000),
    "mp3": lambda seconds: id3(b"title") + make("mp3", "libmp3lame", seconds, 16_000),
    "ogg": lambda seconds: make("ogg", "libopus", seconds, 48_000, bit_rate=16_000),
    "m4a": lambda seconds: make("ipod", "aac", seconds, 16_000),
    "mp4": lambda seconds: make("mp4", "aac", seconds, 16_000, options=FRAGMENTED),
    "webm": lambda seconds: make("webm", "libopus", seconds, 48_000, bit_rate=16_000),
    "mpeg": lambda seconds: make("mpeg", "mp2", seconds, 16_000),
}


@cache
def sample(name: str, seconds: float = 1.0) -> tuple[Container, bytes]:
    data = FILES[name](seconds)
    container = verdict(data)
    assert isinstance(container, Container)
    return container, data


@pytest.mark.parametrize("name", FILES)
def test_the_length_is_the_same_for_every_split(name: str) -> None:
    container, data = sample(name)
    whole = measure(data, container)
    chance = random.Random(name)
    assert measure(data, container, range(len(data))) == whole
    for count in (1, 2, 5, 50):
        assert measure(data, container, chance.choices(range(len(data)), k=count)) == whole
    head = data[:1500]
    assert len({measure(head, container, [place]) for place in range(len(head))}) == 1


@pytest.mark.parametrize("name", FILES)
def test_the_bound_is_not_below_the_length(name: str) -> None:
    container, data = sample(name, 3.0)
    assert bound(data, container) >= measure(data, container).seconds - 0.1


def test_a_tag_counts_neither_for_the_bound_nor_for_an_estimate() -> None:
    data = id3(bytes(50_000)) + noise(1000)
    assert measure(data, Container.MP3) == AudioLength(8000 / Container.MP3.nominal_bit_rate, False)
    assert bound(data, Container.MP3) == 1.0


@pytest.mark.parametrize("container", list(Container))
def test_an_empty_file(container: Container) -> None:
    assert measure(b"", container) == AudioLength(0.0, False)
    assert bound(b"", container, 0) == 0.0


@pytest.mark.parametrize("name", FILES)
def test_the_meter_keeps_little_in_memory(name: str) -> None:
    container, data = sample(name, 3.0)
    meter = AudioMeter(container)
    for at in range(0, len(data), 1024):
        meter.feed(data[at : at + 1024])
        assert len(meter._cursor.window) <= 4096


@given(
    container=st.sampled_from(Container), data=st.binary(max_size=600), cuts=st.lists(st.integers(0, 600), max_size=4)
)
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(container: Container, data: bytes, cuts: list[int]) -> None:
    cuts = [cut for cut in cuts if cut <= len(data)]
    assert measure(data, container, cuts) == measure(data, container)
    assert verdict(data, cuts) == verdict(data)
    assert bound(data, container) >= 0
    assert measure(data, container).seconds >= 0


@given(
    name=st.sampled_from(list(FILES)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9)), max_size=6),
    kept=st.floats(0, 1),
    in_the_head=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=4),
)
@settings(max_examples=400, deadline=None)
def test_no_damage_raises(
    name: str, changes: list[tuple[float, bytes]], kept: float, in_the_head: bool, cuts: list[float]
) -> None:
    container, data = sample(name, 0.5)
    damaged = bytearray(data)
    for place, piece in changes:
        at = int(place * (min(400, len(data)) if in_the_head else len(data)))
        damaged[at : at + len(piece)] = piece
    whole = bytes(damaged[: int(len(damaged) * (1 - kept / 2))])
    places = [int(cut * len(whole)) for cut in cuts]
    length = measure(whole, container)
    assert 0 <= length.seconds < 1e9
    assert measure(whole, container, places) == length
    assert verdict(whole, places) == verdict(whole)
    assert bound(whole, container) >= 0


HOSTILE = {
    "empty elements": (Container.WEBM, b"\xec\x80"),
    "empty blocks": (Container.WEBM, b"\xa3\x84\x81\0\0\0"),
    "empty boxes": (Container.MP4, b"\0\0\0\x08free"),
    "boxes of boxes": (Container.MP4, b"\0\0\0\x08moov"),
    "empty chunks": (Container.WAV, b"JUNK\0\0\0\0"),
    "empty pages": (Container.OGG, b"OggS\0" + bytes(22)),
    "captures": (Container.OGG, b"OggS\0"),
    "headers that lead nowhere": (Container.MP3, b"\xff\xfb\x90\x00\x01"),
    "sync bits": (Container.MP3, b"\xff"),
    "empty tags": (Container.MP3, b"ID3\3\0\0\0\0\0\0"),
    "frames that are none": (Container.FLAC, b"\xff\xf8\xc5\x08\x00"),
}


@pytest.mark.parametrize(("container", "piece"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_take_proportional_time(container: Container, piece: bytes) -> None:
    """4 MiB of the most expensive bytes take a tenth of a second or less, except empty Ogg pages."""
    starts = {Container.WAV: b"RIFF\0\0\0\0WAVE", Container.FLAC: b"fLaC\x80" + sample("flac")[1][5:42]}
    data = starts.get(container, b"") + piece * ((4 << 20) // len(piece))
    began = time.perf_counter()
    measure(data, container, range(0, len(data), HEAD_BYTES))
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize("name", FILES)
def test_25_mib_take_little_time(name: str) -> None:
    """Tens of milliseconds on an idle core; printed with -s."""
    container, data = sample(name, 3.0)
    data = data * ((25 << 20) // len(data))
    began = time.perf_counter()
    length = measure(data, container, range(0, len(data), HEAD_BYTES))
    spent = time.perf_counter() - began
    print(f"{name}: {spent * 1e3:.1f} ms for {len(data) >> 20} MiB, {length}")
    assert spent < 20


def test_bytes_after_the_audio_change_nothing() -> None:
    container, data = sample("wav")
    assert is_close(measure(data + noise(3), container), 1.0)


@pytest.mark.parametrize("name", FILES)
def test_finish_always_returns_the_same_length(name: str) -> None:
    container, data = sample(name)
    meter = AudioMeter(container)
    meter.feed(data)
    assert len({meter.finish() for _ in range(3)}) == 1


@pytest.mark.parametrize("container", list(Container))
def test_no_claim_lowers_the_bound_below_the_highest_bit_rate(container: Container) -> None:
    assert container.lowest_bit_rate < container.nominal_bit_rate < container.highest_bit_rate


def test_a_claim_lowers_the_bound_only_to_the_highest_bit_rate() -> None:
    first = bytearray(make("mp3", "libmp3lame", 7.3, 44_100))
    at = max(first.find(b"Xing"), first.find(b"Info"))
    first[at + 8 : at + 12] = (40).to_bytes(4, "big")
    size = 25 << 20
    assert bound(bytes(first), Container.MP3, size) == pytest.approx(size * 8 / 320_000, rel=0.01)
