import struct

import pytest

from app.wire.media import AudioLength, Container
from app.wire.media.containers.wav import byte_rate
from tests.audio import duration, make
from tests.wire.media.parts import bound, chunk, is_close, measure

PCM_16K = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
AUDIO = bytes(64_000)


def riff(*chunks: bytes, form: bytes = b"RIFF") -> bytes:
    return form + b"\0\0\0\0WAVE" + b"".join(chunks)


@pytest.mark.parametrize(
    ("codec", "sample_rate", "channels"),
    [
        ("pcm_s16le", 16_000, 1),
        ("pcm_s24le", 44_100, 2),
        ("pcm_f32le", 48_000, 2),
        ("pcm_u8", 8_000, 1),
        ("pcm_alaw", 8_000, 1),
        ("adpcm_ms", 8_000, 1),
        ("adpcm_ima_wav", 22_050, 1),
        ("libmp3lame", 44_100, 1),
    ],
)
def test_measures_every_codec(codec: str, sample_rate: int, channels: int) -> None:
    data = make("wav", codec, 7.3, sample_rate, channels)
    assert is_close(measure(data), duration(data))


@pytest.mark.parametrize("options", [(("rf64", "always"),), (("write_bext", "1"),)])
def test_measures_other_output_of_ffmpeg(options: tuple[tuple[str, str], ...]) -> None:
    assert is_close(measure(make("wav", "pcm_s16le", 7.3, options=options)), 7.3)


def test_measures_a_file_written_to_a_pipe() -> None:
    assert is_close(measure(make("wav", "pcm_s16le", 7.3, seekable=False)), 7.3)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 64_002])
def test_an_unset_size_means_to_the_end(size: int) -> None:
    assert measure(riff(chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO, size))) == AudioLength(2.0, True)


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_reads_the_size_from_ds64(form: bytes) -> None:
    sizes = struct.pack("<QQQI", 0, len(AUDIO), 0, 0)
    data = riff(
        chunk(b"ds64", sizes),
        chunk(b"fmt ", PCM_16K),
        chunk(b"data", AUDIO, 0xFFFFFFFF),
        chunk(b"LIST", AUDIO),
        form=form,
    )
    assert measure(data) == AudioLength(2.0, True)


def test_other_chunks_do_not_count() -> None:
    odd = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    data = riff(chunk(b"LIST", bytes(999)), chunk(b"fmt ", odd), chunk(b"data", bytes(8_001)), chunk(b"LIST", AUDIO))
    assert measure(data) == AudioLength(8_001 / 8_000, True)


def test_further_data_chunks_count() -> None:
    data = riff(chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO), chunk(b"LIST", b"abc"), chunk(b"data", AUDIO))
    assert measure(data) == AudioLength(4.0, True)


def test_garbage_after_the_audio_does_not_count() -> None:
    data = riff(chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO)) + bytes(1_000_000)
    assert measure(data) == AudioLength(2.0, True)


def test_a_cut_file_counts_what_is_present() -> None:
    data = riff(chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO))
    assert is_close(measure(data[: 44 + 16_000]), 0.5)


def test_a_false_byte_rate_does_not_shorten_pcm() -> None:
    false = struct.pack("<HHIIHH", 1, 1, 16_000, 4_000_000_000, 60_000, 16)
    assert measure(riff(chunk(b"fmt ", false), chunk(b"data", AUDIO))) == AudioLength(2.0, True)


@pytest.mark.parametrize(
    ("fields", "rest", "expected"),
    [
        ((1, 2, 44_100, 0, 0, 16), b"", (176_400.0, True)),
        ((1, 1, 8_000, 0, 0, 12), b"", (16_000.0, True)),
        ((1, 1, 8_000, 0, 0, 65_535), b"", (None, False)),
        ((0xFFFE, 2, 48_000, 0, 0, 24), struct.pack("<HHIH", 22, 24, 3, 1) + bytes(14), (288_000.0, True)),
        ((0xFFFE, 1, 16_000, 0, 8, 64), struct.pack("<HHIH", 22, 8, 4, 1) + bytes(14), (16_000.0, True)),
        ((0xFFFE, 1, 16_000, 0, 4, 32), struct.pack("<HHIH", 22, 24, 4, 1) + bytes(14), (64_000.0, True)),
        ((6, 1, 8_000, 0, 0, 64), b"", (8_000.0, True)),
        ((2, 1, 8_000, 4_096, 1024, 4), struct.pack("<HH", 32, 2036), (1024 * 8_000 / 2036, True)),
        ((2, 1, 8_000, 4_096, 1024, 4), struct.pack("<HH", 32, 1), (1024 * 8_000 / 2036, True)),
        ((0x11, 1, 8_000, 4_096, 1024, 4), struct.pack("<HH", 2, 1), (1024 * 8_000 / 2041, True)),
        ((0x31, 1, 8_000, 4_000_000_000, 65_000, 0), b"", (1_625.0, True)),
        ((0x42, 1, 8_000, 4_000_000_000, 24, 0), b"", (800.0, True)),
        ((0x28F, 1, 16_000, 4_000_000_000, 1, 8), b"", (8_000.0, True)),
        ((0x161, 2, 44_100, 24_000, 24, 0), b"", (24_000.0, False)),
        ((0x161, 2, 44_100, 4_000_000_000, 24, 0), b"", (40_000.0, False)),
        ((0x161, 1, 8_000, 0, 24, 0), b"", (None, False)),
        ((1, 0, 44_100, 0, 0, 16), b"", (None, True)),
    ],
)
def test_byte_rate(fields: tuple[int, ...], rest: bytes, expected: tuple[float | None, bool]) -> None:
    assert byte_rate(struct.pack("<HHIIHH", *fields) + rest) == expected


def test_a_second_format_does_not_shorten_the_audio() -> None:
    large = struct.pack("<HHIIHH", 1, 8, 192_000, 1, 64, 64)
    for formats in ((PCM_16K, large), (large, PCM_16K)):
        assert measure(riff(*(chunk(b"fmt ", each) for each in formats), chunk(b"data", AUDIO))) == (2.0, False)
    assert measure(riff(chunk(b"fmt ", PCM_16K), chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO))) == (2.0, True)


def test_a_chunk_of_any_name_may_stand_before_the_audio() -> None:
    assert measure(riff(chunk(b"\0\0\0\0", b"abcd"), chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO))) == (2.0, True)


def test_the_bound_is_the_size_over_the_byte_rate() -> None:
    data = riff(chunk(b"fmt ", PCM_16K), chunk(b"data", AUDIO))
    assert bound(data, Container.WAV, 32_000 * 60) == 60.0


def test_without_a_format_the_bound_is_by_the_lowest_rate_and_the_length_an_estimate() -> None:
    data = riff(chunk(b"data", AUDIO))
    assert bound(data, Container.WAV) == len(data) * 8 / Container.WAV.lowest_bit_rate
    assert measure(data) == AudioLength(len(data) * 8 / Container.WAV.nominal_bit_rate, False)
