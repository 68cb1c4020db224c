import struct

import pytest

from app.wire.media import AudioLength, Container
from tests.audio import duration, make
from tests.wire.media.parts import bound, box, boxes, is_close, measure

FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "1000000"))
HYBRID = (("movflags", "frag_keyframe"), ("frag_duration", "1000000"))
DASH = (("movflags", "dash+frag_keyframe+empty_moov"), ("frag_duration", "1000000"))
FTYP = box(b"ftyp", b"isom", bytes(4), b"isom")


def m4a(sample_rate: int = 44_100, *, first: bool = False, seconds: float = 7.3) -> bytes:
    options = (("movflags", "faststart"),) if first else ()
    return make("ipod", "aac", seconds, sample_rate, options=options)


def movie_header(scale: int, length: int) -> bytes:
    return box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, scale, length), bytes(80))


def track(number: int, handler: bytes, scale: int, length: int, *more: bytes, long: bool = False) -> bytes:
    if long:
        header = box(b"tkhd", b"\1\0\0\0", bytes(16), struct.pack(">I", number), bytes(72))
        media = box(b"mdhd", b"\1\0\0\0", bytes(16), struct.pack(">IQ", scale, length), bytes(4))
    else:
        header = box(b"tkhd", bytes(12), struct.pack(">I", number), bytes(68))
        media = box(b"mdhd", bytes(12), struct.pack(">II", scale, length), bytes(4))
    handled = box(b"hdlr", bytes(8), handler, bytes(13))
    return box(b"trak", header, *more, box(b"mdia", media, handled))


def fragment(number: int, count: int, *durations: int, default: int | None = None) -> bytes:
    header = struct.pack(">II", 0 if default is None else 8, number)
    header += b"" if default is None else struct.pack(">I", default)
    run = (
        struct.pack(">II", 0x101 if durations else 1, count) + bytes(4) + struct.pack(f">{len(durations)}I", *durations)
    )
    return box(b"moof", box(b"mfhd", bytes(8)), box(b"traf", box(b"tfhd", header), box(b"trun", run)))


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("first", [True, False])
def test_measures_with_moov_first_or_last(sample_rate: int, first: bool) -> None:
    names = list(boxes(m4a(sample_rate, first=first)))
    assert (names.index(b"moov") < names.index(b"mdat")) is first
    assert is_close(measure(m4a(sample_rate, first=first)), 7.3)


@pytest.mark.parametrize(
    ("options", "seekable"), [(FRAGMENTED, True), (FRAGMENTED, False), (DASH, True), (HYBRID, True)]
)
def test_measures_fragments(options: tuple[tuple[str, str], ...], seekable: bool) -> None:
    data = make("mp4", "aac", 7.3, 44_100, options=options, seekable=seekable)
    assert is_close(measure(data), duration(data))


@pytest.mark.parametrize(("container", "codec", "rate"), [("ipod", "alac", 44_100), ("mp4", "libopus", 48_000)])
def test_measures_other_codecs(container: str, codec: str, rate: int) -> None:
    assert is_close(measure(make(container, codec, 7.3, rate)), 7.3)


def test_reads_sizes_of_64_bits_and_of_none() -> None:
    found = boxes(m4a())
    media, moov = found[b"mdat"][8:], found[b"moov"][8:]
    assert is_close(measure(FTYP + box(b"mdat", media, long=True) + box(b"moov", moov)), 7.3)
    assert is_close(measure(FTYP + box(b"moov", moov, long=True) + box(b"mdat", media, to_the_end=True)), 7.3)


def test_reads_the_long_form_of_the_headers() -> None:
    moov = box(b"moov", movie_header(1000, 9_000), track(1, b"soun", 48_000, 48_000 * 7, long=True))
    assert measure(FTYP + moov + box(b"mdat", bytes(50_000))) == AudioLength(7.0, True)


def test_the_sound_counts_before_the_movie_and_the_picture() -> None:
    tracks = track(1, b"vide", 90_000, 90_000 * 20), track(2, b"soun", 48_000, 48_000 * 7)
    moov = box(b"moov", movie_header(1000, 20_000), *tracks)
    assert measure(FTYP + moov + box(b"mdat", bytes(50_000))) == AudioLength(7.0, True)


def test_without_sound_the_movie_counts() -> None:
    moov = box(b"moov", movie_header(1000, 20_000), track(1, b"vide", 90_000, 90_000 * 10))
    assert measure(FTYP + moov + box(b"mdat", bytes(50_000))) == AudioLength(20.0, True)


@pytest.mark.parametrize(
    "edits",
    [
        struct.pack(">IIIiI", 0, 1, 3_000, 2_048, 0x10000),
        struct.pack(">IIIiIIiI", 0, 2, 9_000, -1, 0x10000, 3_000, 0, 0x10000),
        struct.pack(">IIQqI", 1 << 24, 1, 3_000, 2_048, 0x10000),
    ],
)
def test_an_edit_list_cuts(edits: bytes) -> None:
    moov = box(
        b"moov", movie_header(1000, 3_000), track(1, b"soun", 48_000, 48_000 * 7, box(b"edts", box(b"elst", edits)))
    )
    assert measure(FTYP + moov + box(b"mdat", bytes(50_000))) == AudioLength(3.0, True)


def fragmented(*fragments: bytes, more: bytes = b"") -> bytes:
    defaults = box(b"trex", struct.pack(">IIIIII", 0, 2, 1, 1_024, 0, 0))
    tracks = track(1, b"vide", 90_000, 0), track(2, b"soun", 48_000, 0)
    return FTYP + box(b"moov", movie_header(1000, 0), *tracks, box(b"mvex", more, defaults)) + b"".join(fragments)


def test_samples_of_fragments_by_their_own_the_fragments_or_the_tracks_duration() -> None:
    media = box(b"mdat", bytes(30_000))
    own, pictures = fragment(2, 600, *[480] * 600), fragment(1, 50, default=90_000)
    data = fragmented(own, media, pictures, fragment(2, 100, default=960), media, fragment(2, 75), media)
    assert measure(data) == AudioLength((600 * 480 + 100 * 960 + 75 * 1024) / 48_000, True)


def test_mehd_states_the_length_of_a_fragmented_movie() -> None:
    data = fragmented(more=box(b"mehd", struct.pack(">II", 0, 12_000))) + box(b"mdat", bytes(50_000))
    assert bound(data, Container.MP4) == 12.0
    assert measure(data) == AudioLength(12.0, True)


def test_fragments_without_a_movie_go_by_their_indexes() -> None:
    found = make("mp4", "aac", 7.3, 44_100, options=DASH)
    bare = box(b"styp", b"msdh", bytes(4)) + found[found.index(b"sidx") - 4 :]
    assert is_close(measure(bare, Container.MP4), duration(found))


def test_a_cut_file_is_estimated_by_its_share_of_the_bytes() -> None:
    data = m4a(first=True, seconds=8.0)
    cut = measure(data[: len(data) - len(boxes(data)[b"mdat"]) // 2])
    assert cut.seconds == pytest.approx(4.0, abs=0.1)
    assert not cut.measured


def test_a_cut_file_with_moov_at_its_end_is_estimated() -> None:
    data = m4a()[:50_000]
    assert measure(data) == AudioLength(50_000 * 8 / Container.M4A.nominal_bit_rate, False)


def test_a_claim_that_does_not_fit_the_size_is_ignored() -> None:
    moov = box(b"moov", movie_header(1000, 36_000_000), track(1, b"soun", 1000, 36_000_000))
    data = FTYP + moov + box(b"mdat", bytes(500))
    assert measure(data) == AudioLength(len(data) * 8 / Container.MP4.nominal_bit_rate, False)
    assert bound(data, Container.MP4) == len(data) * 8 / Container.MP4.lowest_bit_rate
    lying = fragmented(fragment(2, 1 << 31), box(b"mdat", bytes(500)))
    assert not measure(lying).measured


def test_deeply_nested_boxes_are_walked_flat() -> None:
    assert not measure(FTYP + b"\x7f\xff\xff\xffmoov" * 100_000).measured


def test_the_bound() -> None:
    assert bound(m4a(first=True), Container.M4A) == pytest.approx(7.3, abs=0.1)
    fragments = make("mp4", "aac", 7.3, 44_100, options=FRAGMENTED)
    assert bound(fragments, Container.MP4) == len(fragments) * 8 / Container.MP4.lowest_bit_rate


def test_an_edit_list_that_hides_the_samples_leaves_an_estimate_of_all_of_them() -> None:
    data = m4a(16_000)
    at = data.index(b"elst") + 12
    length = measure(data[:at] + (1).to_bytes(4, "big") + data[at + 4 :])
    assert length.seconds == pytest.approx(7.3, abs=0.2)
    assert not length.measured
