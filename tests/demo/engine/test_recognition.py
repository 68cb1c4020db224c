import pytest

from app.demo import SAMPLE
from app.demo.engine.decoding import SAMPLE_RATE, Audio
from app.demo.engine.recognition import Recogniser
from app.demo.engine.transcript import joined
from app.demo.engine.utterances import Utterance, utterances
from tests.demo.clips import WORDS


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


@pytest.fixture(scope="module")
def utterance() -> Utterance:
    with SAMPLE.open("rb") as file, Audio(file) as audio:
        (only,) = utterances(audio)
    return only


def test_the_sample_gives_its_exact_words_with_times(recogniser: Recogniser, utterance: Utterance) -> None:
    *_, (now, words) = recogniser.hypotheses(utterance)
    assert joined(words) == WORDS
    assert now == pytest.approx(len(utterance.pcm) / 2 / SAMPLE_RATE)
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert all(word.start < word.end <= now for word in words)


def test_hypotheses_grow_and_an_abandoned_run_does_not_affect_the_next(
    recogniser: Recogniser, utterance: Utterance
) -> None:
    abandoned = recogniser.hypotheses(utterance)
    lengths = [len(next(abandoned)[1]) for _ in range(8)]
    abandoned.close()
    assert lengths[0] < lengths[-1] < len(WORDS.split())
    *_, (_, words) = recogniser.hypotheses(Utterance(10.0, utterance.pcm))
    assert joined(words) == WORDS
    assert words[0].start > 10.0


@pytest.mark.parametrize("samples", [1, 100, 1600])
def test_audio_too_short_for_a_word_gives_no_word(recogniser: Recogniser, utterance: Utterance, samples: int) -> None:
    *_, (_, words) = recogniser.hypotheses(Utterance(0.0, utterance.pcm[20_000 : 20_000 + 2 * samples]))
    assert words == ()
