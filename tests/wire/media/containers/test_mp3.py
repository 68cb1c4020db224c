import pytest

from app.wire.media import AudioLength, Container
from app.wire.media.containers.mp3 import FRAMES, same_stream, stated_frames
from tests.audio import duration, make
from tests.wire.media.parts import bound, id3, is_close, measure, noise

NO_XING = (("write_xing", "0"), ("id3v2_version", "0"))
VBR = (("q", "4"),)
ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
PICTURE = b"\xff\xd8\xff\xe0" + noise(100_000) + b"\xff\xd9"
APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (len(PICTURE) + 32).to_bytes(4, "little") + bytes(16) + PICTURE


def cbr(sample_rate: int = 44_100, *, xing: bool = True, seconds: float = 7.3) -> bytes:
    return make("mp3", "libmp3lame", seconds, sample_rate, options=NO_XING[xing:])


def vbr(*, xing: bool = True) -> bytes:
    return make("mp3", "libmp3lame", 7.3, 44_100, 2, codec_options=VBR, options=() if xing else NO_XING)


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("xing", [True, False])
def test_measures_every_version_of_layer_iii(sample_rate: int, xing: bool) -> None:
    data = cbr(sample_rate, xing=xing)
    assert is_close(measure(data), duration(data))


@pytest.mark.parametrize("xing", [True, False])
def test_measures_a_variable_bit_rate(xing: bool) -> None:
    assert is_close(measure(vbr(xing=xing)), duration(vbr(xing=xing)))


@pytest.mark.parametrize("sample_rate", [16_000, 24_000, 44_100, 48_000])
def test_measures_layer_ii(sample_rate: int) -> None:
    assert is_close(measure(make("mp2", "mp2", 7.3, sample_rate)), 7.3)


@pytest.mark.parametrize(
    ("header", "length", "seconds"),
    [
        (b"\xff\xff\x90", 312, 384 / 44_100),
        (b"\xff\xff\x92", 316, 384 / 44_100),
        (b"\xff\xf7\x14", 64, 384 / 24_000),
        (b"\xff\xfd\x90", 522, 1152 / 44_100),
        (b"\xff\xfb\x92", 418, 1152 / 44_100),
        (b"\xff\xf3\x14", 24, 576 / 24_000),
        (b"\xff\xe3\x18", 72, 576 / 8_000),
    ],
)
def test_frames_of_every_layer(header: bytes, length: int, seconds: float) -> None:
    assert FRAMES[header].length == length
    assert measure((header + bytes(length - 3)) * 50).seconds == pytest.approx(50 * seconds)


@pytest.mark.parametrize("before", [b"", id3(b"x" * 500), id3(PICTURE), id3(b"x") * 2 + bytes(1000)])
@pytest.mark.parametrize("behind", [b"", ID3V1, APE, APE + ID3V1, PICTURE, noise(50_000)])
@pytest.mark.parametrize("xing", [True, False])
def test_tags_and_garbage_do_not_count(before: bytes, behind: bytes, xing: bool) -> None:
    assert is_close(measure(before + cbr(xing=xing) + behind), 7.3)


def test_a_tag_between_two_files_joined_does_not_count() -> None:
    assert is_close(measure(cbr(xing=False) + ID3V1 + id3(PICTURE) + cbr(xing=False)), 14.6)


def test_resumes_after_damage() -> None:
    data = cbr(xing=False)
    assert is_close(measure(data[:20_000] + noise(900) + data[20_900:]), 7.3)


def test_the_frames_count_and_not_what_is_claimed() -> None:
    data = cbr()
    at = data.index(b"Info") if b"Info" in data else data.index(b"Xing")
    assert is_close(measure(data[: at + 8] + b"\x7f\xff\xff\xff" + data[at + 12 :]), 7.3)


def test_a_cut_file_counts_what_is_present() -> None:
    data = cbr(seconds=8.0)
    assert is_close(measure(data[: len(data) // 2]), 4.0)


def test_a_single_frame() -> None:
    assert measure(b"\xff\xfb\x90\xc4" + bytes(413)) == AudioLength(1152 / 44_100, True)


def test_stated_frames() -> None:
    frame = b"\xff\xfb\x90\xc4"
    vbri = frame + bytes(32) + b"VBRI" + bytes(10) + (1234).to_bytes(4, "big") + bytes(100)
    xing = frame + bytes(32) + b"Xing" + b"\0\0\0\1" + (77).to_bytes(4, "big") + bytes(200)
    assert stated_frames(vbri) == (1234, 0)
    assert stated_frames(xing) == (77, 0)
    assert stated_frames(frame + bytes(200)) == (None, 0)
    lame = bytearray(xing)
    lame[43], lame[36 + 141 : 36 + 144] = 0x0F, (576 << 12 | 1000).to_bytes(3, "big")
    assert stated_frames(bytes(lame)) == (77, 1576)


def test_a_vbri_header_is_not_audio() -> None:
    first = (b"\xff\xfb\x90\xc4" + bytes(32) + b"VBRI" + bytes(10) + (300).to_bytes(4, "big")).ljust(417, b"\0")
    data = first + (b"\xff\xfb\x90\xc4" + bytes(413)) * 300
    assert measure(data).seconds == pytest.approx(300 * 1152 / 44_100)
    assert bound(data, Container.MP3) == pytest.approx(300 * 1152 / 44_100)


def test_same_stream() -> None:
    assert same_stream(b"\xff\xfb\x90", b"\xff\xfa\xb2")
    assert not same_stream(b"\xff\xfb\x90", b"\xff\xfb\x94")
    assert not same_stream(b"\xff\xfb\x90", b"\xff\xfd\x90")
    assert not same_stream(b"\xff\xfb\x90", b"\xff\xfb")


def test_the_bound() -> None:
    assert bound(cbr(), Container.MP3) == pytest.approx(7.3, abs=0.1)
    assert bound(cbr(xing=False), Container.MP3) == len(cbr(xing=False)) * 8 / 8000
    tagged = id3(bytes(60_000)) + cbr(xing=False)
    assert bound(tagged, Container.MP3) == len(cbr(xing=False)) * 8 / 8000
