"""Errors with a success status, in bodies and in events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.failure import is_error, is_error_event, is_failure_event
from app.wire.sse import Event

ERRORS: dict[str, object] = {
    "OpenAI": {"error": {"message": "m", "type": "t", "param": None, "code": "c"}},
    "Azure": {"error": {"code": "BadRequest", "message": "m", "innererror": {"code": "x"}}},
    "an error beside no words": {"text": "", "error": "out of memory"},
    "a string": {"error": "out of memory"},
    "a list": {"errors": [{"message": "m"}]},
    "FastAPI": {"detail": "Internal Server Error"},
    "FastAPI, a field": {"detail": [{"loc": ["body", "file"], "msg": "m", "type": "missing"}]},
    "code and message": {"code": 50001, "message": "Model is busy.", "data": None},
    "a code alone": {"code": 50001},
    "AWS": {"Message": "m"},
    "RFC 9457": {"type": "about:blank", "title": "Busy", "status": 503},
    "Deepgram": {"err_code": "X", "err_msg": "m", "request_id": "r"},
    "Baidu": {"err_no": 3301, "err_msg": "m", "sn": "1"},
    "no success": {"success": False},
    "a status": {"id": "1", "status": "failed"},
    "a status in capitals": {"status": "ERROR", "text": None},
}
TRANSCRIPTS: dict[str, object] = {
    "json": {"text": "hello"},
    "silence": {"text": ""},
    "no error": {"text": "hello", "error": None},
    "words beside an error": {"text": "hello", "error": {"message": "the last second is missing"}},
    "words beside a code": {"text": "", "code": 200, "message": "ok"},
    "segments": {"segments": [{"text": "hello"}], "message": "ok"},
    "another API": {"code": 0, "message": "success", "data": {"words": ["hello"]}},
    "a result": {"message": "ok", "result": "hello"},
    "a shape that is not known": {"spoken": "hello", "language": "en"},
    "a job": {"id": "1", "status": "queued"},
    "nothing": {},
    "a list of segments": [{"text": "hello"}],
    "a string": "hello",
}


@pytest.mark.parametrize("shape", ERRORS)
def test_an_error_with_a_success_status(shape: str) -> None:
    assert is_error(ERRORS[shape])


@pytest.mark.parametrize("shape", TRANSCRIPTS)
def test_a_possible_transcript_is_not_an_error(shape: str) -> None:
    assert not is_error(TRANSCRIPTS[shape])


@pytest.mark.parametrize(
    ("raw", "failed"),
    [
        ('data: {"error": {"message": "m"}}', True),
        ('event: error\ndata: {"message": "m"}', True),
        ("event: failure\ndata: out of memory", True),
        ("event:transcript.failed\ndata: {}", True),
        ('data: {"type": "transcript.failed", "reason": "m"}', True),
        ('data: {"type":"transcript.text.failed"}', True),
        ('data: {"type": "error", "message": "m"}', True),
        ('data: {"type": "progress", "status": "failed"}', True),
        ('data: {"detail": "m"}', True),
        ('data: {"code": 50001,\ndata: "message": "m"}', True),
        ('data: {"type": "transcript.text.delta", "delta": "event: error"}', False),
        ('data: {"type":"transcript.text.delta","delta":"{\\"error\\": 1}"}', False),
        ('data: {"type": "transcript.text.segment", "text": "failed"}', False),
        ('event: transcript.text.done\ndata: {"type": "transcript.text.done", "text": "error"}', False),
        ('data: {"type": "progress", "message": "loading the model"}', False),
        ('data: {"text": "hel"}', False),
        ('data: {"choices": [], "error": null}', False),
        ("data: error", False),
        ("data: [DONE]", False),
        (": error", False),
        ("data: {error", False),
        ("event: ping\ndata: []", False),
        ("", False),
    ],
)
def test_a_failure_event(raw: str, failed: bool) -> None:
    assert is_failure_event(Event(raw.encode() + b"\n\n")) is failed


@given(st.binary(max_size=80))
def test_no_event_raises(noise: bytes) -> None:
    for event in (Event(noise), Event(b"data: {" + noise), Event(b"event: " + noise + b"\n\n")):
        assert is_failure_event(event) in (True, False)
        assert is_error_event(event) in (True, False)


@pytest.mark.parametrize(
    ("raw", "is_it"),
    [
        ('data: {"error": {"message": "x"}}', True),
        ('data: {"error": "x"}', True),
        ('event: error\ndata: {"error": {"message": "x"}}', True),
        ('data: {"error": null, "type": "transcript.text.delta"}', False),
        ('data: {"delta": "\\"error\\""}', False),
        ('data: ["error"]', False),
        ('data: {"error": ', False),
        ("event: error", False),
    ],
)
def test_an_error_event(raw: str, is_it: bool) -> None:
    assert is_error_event(Event(raw.encode())) is is_it
