"""The strict upstream accepts the recorded requests of curl, sent as curl sends them."""

from tests.sdk.curl import EXPECT_ABOVE, transcription, translation
from tests.stubs.raw import RawConnection
from tests.stubs.upstream import ScriptedUpstream


def test_the_file_comes_first_and_the_key_is_bare() -> None:
    with ScriptedUpstream() as upstream, RawConnection("127.0.0.1", upstream.port) as caller:
        for request in (transcription("gateway.test", "key", b"RIFF"), translation("gateway.test", "key", b"RIFF")):
            caller.send(request.whole)
            assert caller.read_response().interim == []
        first, second = upstream.journal
    assert (first.path, second.path) == ("/v1/speech/transcriptions", "/v1/audio/translations")
    assert first.header("authorization") == "key"
    assert [part.name for part in first.form()] == ["file", "model"]
    assert (first.file.data, first.file.filename) == (b"RIFF", "clip.wav")


def test_a_body_above_one_mebibyte_waits_for_100_continue() -> None:
    request = transcription("gateway.test", "key", bytes(EXPECT_ABOVE))
    assert request.expects_continue
    with ScriptedUpstream() as upstream, RawConnection("127.0.0.1", upstream.port) as caller:
        caller.send(request.head)
        assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        caller.send(request.body)
        assert caller.read_response().status == 200
        assert upstream.journal[0].body == request.body
