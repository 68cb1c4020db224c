import pytest

from app.wire.media.containers.iso_bmff.tracks import Movie, Track


def test_a_track_states_its_length_in_its_own_time_scale() -> None:
    assert Track(time_scale=48_000, duration=96_000).stated(1000) == 2.0
    assert Track(time_scale=48_000, duration=96_000, edited=1_500).stated(1000) == 1.5
    assert Track(time_scale=0, duration=96_000).stated(1000) == 0.0


def test_samples_of_a_hybrid_file_are_those_of_moov_and_of_its_fragments() -> None:
    assert Track(time_scale=100, duration=300, fragments=500).counted() == 5.0
    assert Track(time_scale=100, duration=300, is_hybrid=True, fragments=500).counted() == 8.0
    assert Track(time_scale=100, duration=300, samples=3).counted() == 0.0


@pytest.mark.parametrize("version", [0, 1])
def test_a_duration_of_all_ones_is_unknown(version: int) -> None:
    movie = Movie()
    scale = (1000).to_bytes(4, "big")
    movie.fields[b"mvhd"](bytes([version, 0, 0, 0]) + bytes(16 if version else 8) + scale + b"\xff" * 12)
    assert movie.stated == 0.0


def test_fragments_of_a_track_that_moov_does_not_know_do_not_count() -> None:
    movie = Movie()
    movie.enter(b"moof")
    movie.fields[b"tfhd"](bytes(7) + b"\x09" + bytes(32))
    movie.track.fragments += 1000
    assert movie.counted == 0.0
