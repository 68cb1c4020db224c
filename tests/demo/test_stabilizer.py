from app.demo.stabilizer import HELD, LAG_SECONDS, Stabilizer
from app.demo.transcript import Word, joined

HELLO = Word("hello", 0.1, 0.5)
ICON = Word("icon", 0.6, 0.9)
PRONOUN = Word("i", 0.6, 0.7)
COME = Word("come", 0.7, 0.95)


def test_a_word_settles_once_it_held_and_lies_behind() -> None:
    settling = Stabilizer()
    now = HELLO.end + LAG_SECONDS
    assert [joined(settling.feed(now, (HELLO,))) for _ in range(HELD + 2)] == [""] * (HELD - 1) + ["hello", "", ""]


def test_a_word_that_was_just_heard_is_not_settled_however_often_it_held() -> None:
    settling = Stabilizer()
    now = HELLO.end + LAG_SECONDS / 2
    assert [settling.feed(now, (HELLO,)) for _ in range(5)] == [()] * 5


def test_a_word_that_changes_holds_back_all_that_follow_it() -> None:
    settling = Stabilizer()
    for first in ("hello", "hill", "hello"):
        assert settling.feed(9.0, (Word(first, 0.1, 0.5), PRONOUN, COME)) == ()


def test_finish_settles_the_rest_and_nothing_twice() -> None:
    settling = Stabilizer()
    settled = [settling.feed(HELLO.end + LAG_SECONDS, (HELLO, PRONOUN, COME)) for _ in range(HELD)]
    assert settled[-1] == (HELLO,)
    assert settling.finish((HELLO, PRONOUN, COME)) == (PRONOUN, COME)


def test_a_settled_word_stays_when_the_recogniser_changes_its_mind() -> None:
    settling = Stabilizer()
    settled = [settling.feed(9.0, (HELLO, ICON)) for _ in range(HELD)]
    later = Word("from", 1.0, 1.3)
    assert joined(settled[-1] + settling.finish((HELLO, PRONOUN, COME, later))) == "hello icon from"


def test_an_utterance_shorter_than_the_lag_is_settled_at_its_finish() -> None:
    assert Stabilizer().finish((HELLO,)) == (HELLO,)
    assert Stabilizer().finish(()) == ()
