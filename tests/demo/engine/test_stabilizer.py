from app.demo.engine.stabilizer import AGREEING, LAG_SECONDS, Stabilizer
from app.demo.engine.transcript import Word, joined

HELLO = Word("hello", 0.1, 0.5)
ICON = Word("icon", 0.6, 0.9)
PRONOUN = Word("i", 0.6, 0.7)
COME = Word("come", 0.7, 0.95)


def test_a_word_is_final_once_hypotheses_agree_and_it_ended_long_enough_ago() -> None:
    stabilizer = Stabilizer()
    now = HELLO.end + LAG_SECONDS
    assert [joined(stabilizer.feed(now, (HELLO,))) for _ in range(AGREEING + 2)] == [""] * (AGREEING - 1) + [
        "hello",
        "",
        "",
    ]


def test_a_recent_word_is_not_final_however_often_hypotheses_agree() -> None:
    stabilizer = Stabilizer()
    now = HELLO.end + LAG_SECONDS / 2
    assert [stabilizer.feed(now, (HELLO,)) for _ in range(5)] == [()] * 5


def test_a_changing_word_keeps_all_later_words_back() -> None:
    stabilizer = Stabilizer()
    for first in ("hello", "hill", "hello"):
        assert stabilizer.feed(9.0, (Word(first, 0.1, 0.5), PRONOUN, COME)) == ()


def test_finish_returns_the_remaining_words_once() -> None:
    stabilizer = Stabilizer()
    final = [stabilizer.feed(HELLO.end + LAG_SECONDS, (HELLO, PRONOUN, COME)) for _ in range(AGREEING)]
    assert final[-1] == (HELLO,)
    assert stabilizer.finish((HELLO, PRONOUN, COME)) == (PRONOUN, COME)


def test_a_final_word_stays_when_the_recogniser_changes_it() -> None:
    stabilizer = Stabilizer()
    final = [stabilizer.feed(9.0, (HELLO, ICON)) for _ in range(AGREEING)]
    later = Word("from", 1.0, 1.3)
    assert joined(final[-1] + stabilizer.finish((HELLO, PRONOUN, COME, later))) == "hello icon from"


def test_an_utterance_shorter_than_the_lag_is_final_at_its_end() -> None:
    assert Stabilizer().finish((HELLO,)) == (HELLO,)
    assert Stabilizer().finish(()) == ()
