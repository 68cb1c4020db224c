import io
from array import array
from itertools import accumulate

import pytest

from app.demo.engine.decoding import BYTES_PER_SECOND, Audio
from app.demo.engine.utterances import MAX_SECONDS, PEAK, normalise, utterances
from tests.demo.clips import SECONDS, clip


def spoken() -> bytes:
    with Audio(io.BytesIO(clip("wav"))) as audio:
        return b"".join(audio)


def test_silence_has_no_utterance() -> None:
    assert list(utterances([bytes(BYTES_PER_SECOND)] * 3)) == []
    assert list(utterances([])) == []
    assert list(utterances([b"\0\0"])) == []


def test_a_pause_separates_two_utterances() -> None:
    first, second = utterances([spoken(), bytes(2 * BYTES_PER_SECOND), spoken()])
    assert first.start < 0.5
    assert abs(second.start - (SECONDS + 2)) < 0.5
    assert abs(len(second.pcm) / BYTES_PER_SECOND - SECONDS) < 0.5


def test_the_size_of_the_chunks_does_not_matter() -> None:
    pcm = spoken()
    pieces = [pcm[begin : begin + 1234] for begin in range(0, len(pcm), 1234)]
    assert list(utterances(pieces)) == list(utterances([pcm]))


def test_speech_without_a_pause_is_cut_at_the_longest_utterance() -> None:
    unbroken = spoken()[3200:-16_000]
    parts = list(utterances([unbroken] * 8))
    lengths = [len(part.pcm) / BYTES_PER_SECOND for part in parts]
    assert len(parts) > 1
    assert max(lengths) <= MAX_SECONDS + 1
    assert [part.start for part in parts] == pytest.approx([0.0, *accumulate(lengths[:-1])])


def test_normalising_sets_the_loudest_sample_to_the_peak() -> None:
    quiet = array("h", [0, 100, -200, 50]).tobytes()
    assert list(array("h", normalise(quiet))) == [0, PEAK // 2, -PEAK, PEAK // 4]
    assert normalise(bytes(8)) == bytes(8)
