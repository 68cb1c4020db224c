from app.demo.engine.transcript import PAUSE_SECONDS, SEGMENT_SECONDS, Transcript, Word


def test_a_transcript_without_words_has_an_empty_text_and_no_segment() -> None:
    silence = Transcript((), 3.0)
    assert silence.text == ""
    assert list(silence.segments()) == []


def test_a_pause_ends_a_segment() -> None:
    words = (Word("one", 0.0, 0.4), Word("two", 0.5, 0.9), Word("three", 1.0 + PAUSE_SECONDS, 2.0))
    segments = list(Transcript(words, 2.0).segments())
    assert [segment.text for segment in segments] == ["one two", "three"]
    assert [(segment.start, segment.end) for segment in segments] == [(0.0, 0.9), (1.0 + PAUSE_SECONDS, 2.0)]


def test_speech_without_a_pause_is_cut_into_segments_of_bounded_length() -> None:
    words = tuple(Word("word", float(second), second + 0.9) for second in range(30))
    segments = list(Transcript(words, 30.0).segments())
    assert len(segments) > 3
    assert all(segment.end - segment.start <= SEGMENT_SECONDS for segment in segments)
    assert [word for segment in segments for word in segment.words] == list(words)
