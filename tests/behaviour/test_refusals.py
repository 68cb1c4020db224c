"""What is refused, with which status, code and param, how early, and that nothing of it goes upstream."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from openai import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)

from app.wire import apikey
from tests.audio import make
from tests.behaviour.caller import (
    CLIP,
    CLOSING,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    begin,
    connect,
    error_of,
    form,
    held_row,
    post,
    post_bytes,
    request_id,
    sdk,
)
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Headers, Part, RawResponse, chunked, multipart, request
from tests.stubs.upstream import ScriptedUpstream

FORMATS = "flac, mp3, mp4, mpeg, mpga, m4a, oga, ogg, wav, webm"
UNKNOWN_KEY = apikey.mint(bytes(range(24)))


def refused(answer: RawResponse) -> tuple[int, object, object]:
    error = error_of(answer)
    assert error["type"] == ("server_error" if answer.status >= 500 else "invalid_request_error")
    assert error["message"]
    return answer.status, error["code"], error["param"]


def new_key(gateway: GatewayProcess, name: str, *options: str) -> str:
    """The key of a new caller, as the command prints it."""
    done = gateway.command("keys", "create", name, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- the model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper_only(gateway: GatewayProcess) -> str:
    return new_key(gateway, "whisper-team", "--model", "whisper-1")


@pytest.mark.parametrize("file_first", [False, True], ids=["model first", "file first"])
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        (None, 400, "missing_required_parameter"),
        ("", 400, "missing_required_parameter"),
        (" \t", 400, "missing_required_parameter"),
        ("whisper-2", 404, "model_not_found"),
        ("WHISPER-1", 404, "model_not_found"),
        ("whisper-1 ", 404, "model_not_found"),
        ('"whisper-1"', 404, "model_not_found"),
        ("'whisper-1'", 404, "model_not_found"),
        ("m" * 257, 400, "invalid_field"),
    ],
)
def test_a_model_that_cannot_be_used(
    gateway: GatewayProcess, upstream: ScriptedUpstream, model: str | None, status: int, code: str, file_first: bool
) -> None:
    parts = form(model)
    answer = post(gateway, parts[::-1] if file_first else parts)
    assert refused(answer) == (status, code, "model")
    if code == "model_not_found":
        for name in ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe-diarize", "gpt-4o-mini-transcribe-2025-12-15"):
            assert name in error_of(answer)["message"]
    assert upstream.journal == []
    assert gateway.rows(f"id = '{request_id(answer)}'") == []


def test_a_model_that_is_not_for_this_task(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = post(gateway, form("gpt-4o-transcribe"), TRANSLATIONS)
    assert refused(answer) == (400, "unsupported_model", "model")
    assert error_of(answer)["message"].endswith("does not translate audio. Models that do: whisper-1.")
    assert upstream.journal == []


def test_a_model_that_this_caller_may_not_use(
    gateway: GatewayProcess, upstream: ScriptedUpstream, whisper_only: str
) -> None:
    key = [("Authorization", whisper_only)]
    answer = post(gateway, form("gpt-transcribe"), headers=key)
    assert refused(answer) == (403, "model_not_allowed", "model")
    assert error_of(answer)["message"].endswith("it may use: whisper-1.")
    unknown = post(gateway, form("whisper-2"), headers=key)
    assert refused(unknown) == (404, "model_not_found", "model")
    assert error_of(unknown)["message"].endswith("Models: whisper-1.")
    assert upstream.journal == []
    assert post(gateway, form("whisper-1"), headers=key).status == 200


# -- the file ---------------------------------------------------------------------------------------------------------

NOT_AUDIO = {
    "a Windows program": b"MZ\x90\x00\x03" + bytes(3000),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(3000),
    "a zip": b"PK\x03\x04\x14\x00" + bytes(3000),
    "HTML": b"<!doctype html><html>" + b" " * 3000,
    "a PDF": b"%PDF-1.7\n" + bytes(3000),
    "JSON": b'{"text": "hello"}' + b" " * 3000,
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(3000),
    "a JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(3000),
    "AAC without a container": b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(3000),
    "AIFF": b"FORM\x00\x00\x10\x00AIFFCOMM" + bytes(3000),
    "Matroska": b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska" + bytes(3000),
    "text": b"hello, this is no audio at all. " * 100,
    "zeros": bytes(100_000),
    "one byte": b"R",
    "eleven bytes of a WAV": CLIP[:11],
}


@pytest.mark.parametrize("filename", ["clip.wav", "clip.mp3", "upload"])
@pytest.mark.parametrize("kind", NOT_AUDIO)
def test_bytes_that_are_no_audio_are_refused_under_every_name(
    gateway: GatewayProcess, upstream: ScriptedUpstream, kind: str, filename: str
) -> None:
    before = upstream.connections_opened
    answer = post(gateway, form(audio=NOT_AUDIO[kind], filename=filename))
    assert refused(answer) == (400, "invalid_file_format", "file")
    assert FORMATS in error_of(answer)["message"]
    assert (upstream.journal, upstream.connections_opened) == ([], before)


def test_a_format_is_refused_before_the_file_has_come(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    opening = multipart(form(audio=b"MZ\x90\x00" + bytes(200)), closing=False)
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([opening], last=b""))
        head = caller.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in head.lower()
    assert upstream.journal == []


@pytest.mark.parametrize("filename", ["clip.wav", "clip.exe", "clip", ".", "wav", "a.exe.mp3 ", "clip.PDF"])
def test_good_audio_is_taken_under_every_name(
    gateway: GatewayProcess, upstream: ScriptedUpstream, filename: str
) -> None:
    audio = make("flac", "flac", 1.0)
    assert post(gateway, form(audio=audio, filename=filename)).status == 200
    assert (upstream.journal[0].file.filename, upstream.journal[0].file.data) == ("audio.flac", audio)


@pytest.fixture(scope="module")
def small_gateway(
    shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that takes files of the clip's size, and not of one byte more."""
    limit = f"[server]\nmax_file_bytes = {len(CLIP)}\ndocs = false"
    with GatewayProcess(tmp_path_factory.mktemp("small"), shared_upstream.base_url, limit) as process:
        yield process


def too_large(answer: RawResponse) -> bool:
    assert f"limit of {len(CLIP)} bytes" in error_of(answer)["message"]
    return refused(answer) == (413, "request_too_large", "file")


@pytest.mark.parametrize("file_first", [False, True], ids=["model first", "file first"])
@pytest.mark.parametrize("declared", [False, True], ids=["chunked", "Content-Length"])
def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    small_gateway: GatewayProcess, upstream: ScriptedUpstream, declared: bool, file_first: bool
) -> None:
    for extra in (b"", b"x"):
        body = multipart(form(audio=CLIP + extra)[:: -1 if file_first else 1])
        with connect(small_gateway) as caller:
            if declared:
                caller.send(post_bytes(small_gateway, body))
            else:
                begin(small_gateway, caller)
                caller.send(chunked([body]))
            answer = caller.read_response()
        assert too_large(answer) if extra else answer.status == 200
    assert [exchange for exchange in upstream.journal if exchange.complete] == upstream.journal[:1]


def test_the_first_byte_above_the_limit_ends_a_file_that_streams(
    small_gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    opening = multipart(form(), closing=False).removesuffix(b"\r\n")
    with connect(small_gateway) as caller:
        begin(small_gateway, caller)
        caller.send(chunked([opening], last=b""))
        exchange = upstream.wait_for(1)
        caller.send(chunked([b"x" * 40], last=b""))
        head = caller.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        upstream.wait_until(lambda: exchange.aborted, timeout=10)
    (row,) = small_gateway.rows("state = 'released' AND error = 'request_too_large'")[-1:]
    assert row["cost_nano_usd"] == 0


@pytest.mark.parametrize("above", [0, 1])
def test_a_declared_size_above_the_slack_is_refused_before_the_body(small_gateway: GatewayProcess, above: int) -> None:
    """A form may have 1 MiB besides its file."""
    length = len(CLIP) + 1024 * 1024 + above
    with connect(small_gateway) as caller:
        headers = [("Content-Length", str(length)), ("Expect", "100-continue")]
        caller.send(post_bytes(small_gateway, b"", headers=headers))
        if above:
            answer = caller.read_response()
            assert too_large(answer)
            assert answer.interim == []
        else:
            assert caller.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"


def test_the_default_limit_is_that_of_openai(gateway: GatewayProcess) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(27 * 1024 * 1024))]))
        answer = caller.read_response()
    assert refused(answer) == (413, "request_too_large", "file")
    assert "26214400 bytes (25 MiB)" in error_of(answer)["message"]


# -- the form ---------------------------------------------------------------------------------------------------------

FORM_FAULTS: dict[str, tuple[list[Part], str, str | None]] = {
    "an empty file": (form(audio=b""), "empty_file", "file"),
    "no file": (form()[:1], "missing_required_parameter", "file"),
    "a file without a filename": ([*form()[:1], Part("file", CLIP)], "missing_required_parameter", "file"),
    "a file with an empty filename": (form(filename=""), "missing_required_parameter", "file"),
    "two files": ([*form(), Part("file", CLIP, "b.wav")], "duplicate_parameter", "file"),
    "two models": ([Part("model", b"whisper-1"), *form()], "duplicate_parameter", "model"),
    "two models, one behind": ([*form(), Part("model", b"whisper-1")], "duplicate_parameter", "model"),
    "another file": ([Part("image", b"x", "x.png"), *form()], "invalid_field", "image"),
    "another file, behind": ([*form(), Part("image", b"x", "x.png")], "invalid_field", "image"),
    "a model that is a file": ([Part("model", b"whisper-1", "m.txt"), *form(None)], "invalid_field", "model"),
    "a field that is not UTF-8": ([Part("prompt", b"\xc3\x28"), *form()], "invalid_field", "prompt"),
    "a field with NUL": ([Part("prompt", b"a\0b"), *form()], "invalid_field", "prompt"),
    "a field above the cap": ([Part("prompt", b"a" * (4 * 1024 * 1024 + 1)), *form()], "invalid_field", "prompt"),
    "a part without a name": ([Part("", b"x"), *form()], "invalid_multipart", None),
    "257 parts": ([Part("x", b"1")] * 255 + form(), "invalid_multipart", None),
}


@pytest.mark.parametrize("fault", FORM_FAULTS)
def test_a_form_that_is_not_as_it_must_be(gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str) -> None:
    parts, code, param = FORM_FAULTS[fault]
    assert refused(post(gateway, parts)) == (400, code, param)
    assert [exchange for exchange in upstream.journal if exchange.complete] == []


WHOLE = multipart(form())
BROKEN = {
    "no bytes": b"",
    "cut in a part's head": WHOLE[:40],
    "cut in the file": WHOLE[:-5000],
    "cut before the closing boundary": WHOLE.removesuffix(CLOSING),
    "cut in the closing boundary": WHOLE.removesuffix(b"--\r\n"),
    "a preamble": b"preamble\r\n" + WHOLE,
    "a long epilogue": WHOLE + bytes(2000),
    "LF alone": WHOLE.replace(CLIP, b"x").replace(b"\r\n", b"\n"),
    "another boundary": WHOLE.replace(b"test-boundary", b"best-boundary"),
    "two names": WHOLE.replace(b'name="model"', b'name="model"; name="prompt"'),
    "no disposition": WHOLE.replace(b'Content-Disposition: form-data; name="model"', b"X: y"),
    "base64": WHOLE.replace(b'name="file"', b'name="file"').replace(
        b'filename="clip.wav"', b'filename="clip.wav"\r\nContent-Transfer-Encoding: base64'
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_body_that_is_not_the_form_it_announced(
    gateway: GatewayProcess, upstream: ScriptedUpstream, fault: str
) -> None:
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, BROKEN[fault], headers=[("Content-Length", str(len(BROKEN[fault])))]))
        answer = caller.read_response()
    status, code, _ = refused(answer)
    assert (status, code) == (400, "invalid_multipart")
    assert [exchange for exchange in upstream.journal if exchange.complete] == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([("Content-Type", "application/json")], 415, "invalid_content_type"),
        ([("Content-Type", "application/x-www-form-urlencoded")], 415, "invalid_content_type"),
        ([("Content-Type", "multipart/mixed; boundary=test-boundary")], 415, "invalid_content_type"),
        ([("Content-Type", "")], 415, "invalid_content_type"),
        ([("Content-Encoding", "gzip")], 415, "unsupported_content_encoding"),
        ([("Content-Encoding", "br")], 415, "unsupported_content_encoding"),
        ([("Content-Type", "multipart/form-data")], 400, "invalid_multipart"),
        ([("Content-Type", "multipart/form-data; boundary=")], 400, "invalid_multipart"),
        ([("Content-Type", "multipart/form-data; boundary=a; boundary=b")], 400, "invalid_multipart"),
        ([("Content-Type", "multipart/form-data; boundary=" + "a" * 71)], 400, "invalid_multipart"),
        ([("Content-Type", 'multipart/form-data; boundary="a\\"b"')], 400, "invalid_multipart"),
    ],
)
def test_a_body_of_another_kind(
    gateway: GatewayProcess, upstream: ScriptedUpstream, headers: Headers, status: int, code: str
) -> None:
    assert refused(post(gateway, form(), headers=headers)) == (status, code, None)
    assert upstream.journal == []


@pytest.mark.parametrize(
    "content_type",
    ['multipart/form-data; boundary="test-boundary"', "Multipart/Form-Data; boundary=test-boundary; charset=utf-8"],
)
def test_a_content_type_in_another_dress(
    gateway: GatewayProcess, upstream: ScriptedUpstream, content_type: str
) -> None:
    assert post(gateway, form(), headers=[("Content-Type", content_type)]).status == 200


# -- the key ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad_keys(gateway: GatewayProcess) -> dict[str, str | None]:
    revoked, expired = new_key(gateway, "revoked-team"), new_key(gateway, "expired-team", "--expires", "1m")
    for key in (revoked, expired):
        assert sdk(gateway, key).models.list().data
    assert gateway.command("keys", "revoke", "revoked-team").returncode == 0
    with closing(sqlite3.connect(gateway.ledger)) as ledger, ledger:
        ledger.execute("UPDATE keys SET expires_ms = created_ms - 1 WHERE caller = 'expired-team'")
    return {
        "missing": None,
        "empty": "",
        "a scheme alone": "Bearer",
        "another scheme": "Basic " + UNKNOWN_KEY,
        "three words": "Bearer a b",
        "malformed": "Bearer sk-1",
        "a wrong checksum": "Bearer " + gateway.key[:-1] + ("a" if gateway.key[-1] != "a" else "b"),
        "unknown": "Bearer " + UNKNOWN_KEY,
        "not ASCII": "Bearer sk-agw-\xe9",
        "revoked": "Bearer " + revoked,
        "expired": "Bearer " + expired,
    }


BAD_KEYS = (
    "missing",
    "empty",
    "a scheme alone",
    "another scheme",
    "three words",
    "malformed",
    "a wrong checksum",
    "unknown",
    "not ASCII",
    "revoked",
    "expired",
)


@pytest.mark.parametrize("kind", BAD_KEYS)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", TRANSCRIPTIONS), ("GET", "/v1/models"), ("GET", "/v1/models/x"), ("GET", "/v1/usage")]
)
def test_every_bad_key_gets_the_same_answer_before_the_body(
    gateway: GatewayProcess, bad_keys: dict[str, str | None], kind: str, method: str, path: str
) -> None:
    value = bad_keys[kind]
    headers = [("Content-Type", "multipart/form-data; boundary=test-boundary")]
    headers += [("Content-Length", "1000000"), ("Expect", "100-continue")] if method == "POST" else []
    headers += [("Authorization", value)] if value is not None else []
    with connect(gateway) as caller:
        caller.send(request(method, path, headers))
        answer = caller.read_response()
    assert refused(answer) == (401, "invalid_api_key", None)
    assert answer.interim == []
    assert answer.header("www-authenticate") == "Bearer"
    text = "Missing or invalid API key. Send a key of this gateway as 'Authorization: Bearer sk-agw-...'."
    assert error_of(answer)["message"] == text


@pytest.mark.parametrize(("method", "path"), [("POST", TRANSCRIPTIONS), ("GET", "/v1/models")])
def test_two_keys_are_none(gateway: GatewayProcess, method: str, path: str) -> None:
    with connect(gateway) as caller:
        good = ("Authorization", f"Bearer {gateway.key}")
        caller.send(request(method, path, [good, good]))
        assert refused(caller.read_response()) == (400, "bad_request", None)


# -- paths, methods, HTTP ---------------------------------------------------------------------------------------------

GET_PATHS = ("/v1/models", "/v1/models/whisper-1", "/v1/usage", "/healthz", "/readyz", "/docs")
POST_PATHS = (
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/speech/transcriptions",
    "/v1/speech/translations",
)
METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH", "TRACE")


def ask(gateway: GatewayProcess, method: str, path: str) -> RawResponse:
    with connect(gateway) as caller:
        caller.send(request(method, path, [("Authorization", gateway.key)]))
        return caller.read_response(method)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [*((path, "GET") for path in GET_PATHS), *((path, "POST") for path in POST_PATHS), ("/openapi.json", "GET, HEAD")],
)
def test_a_wrong_method_is_told_the_right_one(gateway: GatewayProcess, path: str, allowed: str) -> None:
    for method in METHODS:
        if method in allowed:
            continue
        answer = ask(gateway, method, path)
        assert (answer.status, answer.header("allow")) == (405, allowed), method
        assert answer.header("content-type") == "application/json"
        assert request_id(answer)
        if method != "HEAD":
            assert refused(answer) == (405, "method_not_allowed", None)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/audio",
        "/v1/audio/speech",
        "/v1/chat/completions",
        "/v1/audio/transcriptions/",
        "//v1/audio/transcriptions",
        "/v1/audio/transcriptions;x=1",
        "/v1/audio/../audio/transcriptions",
        "/V1/audio/transcriptions",
        "/admin",
        "/metrics",
    ],
)
def test_an_unknown_path_is_an_envelope_for_every_method(gateway: GatewayProcess, path: str) -> None:
    for method in METHODS:
        answer = ask(gateway, method, path)
        assert (answer.status, answer.header("content-type")) == (404, "application/json"), method
        assert request_id(answer)
        if method != "HEAD":
            assert refused(answer) == (404, "unknown_url", None)
            assert f"{method} {path}" in error_of(answer)["message"]


NOT_HTTP = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"BREW /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space before the colon": b"GET /v1/models HTTP/1.1\r\nHost : x\r\n\r\n",
    "NUL in a header": b"GET /v1/models HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "two lengths": (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
    ),
    "length and chunked": (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "a negative length": b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
}


@pytest.mark.parametrize("kind", NOT_HTTP)
def test_what_the_http_parser_refuses_is_an_envelope_too(gateway: GatewayProcess, kind: str) -> None:
    with connect(gateway) as caller:
        caller.send(NOT_HTTP[kind])
        answer = caller.read_response()
        assert refused(answer) == (400, "bad_request", None)
        assert answer.header("connection") == "close"
        assert caller.closed()


def test_a_chunk_that_is_none_ends_the_upload(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        exchange = upstream.wait_for(1)
        held = held_row(gateway)
        caller.send(b"xyz\r\n")
        answer = caller.read_response()
    assert refused(answer) == (400, "bad_request", None)
    upstream.wait_until(lambda: exchange.aborted, timeout=10)
    assert gateway.wait_for_row(held["id"], "released")["cost_nano_usd"] == 0


# -- through the SDK --------------------------------------------------------------------------------------------------


def transcribe(client: OpenAI, audio: bytes = CLIP, model: str = "whisper-1") -> None:
    client.audio.transcriptions.create(file=("clip.wav", audio), model=model)


@pytest.mark.parametrize(
    ("kind", "audio", "model", "code", "param"),
    [
        (BadRequestError, b"", "whisper-1", "empty_file", "file"),
        (BadRequestError, b"MZ" + bytes(3000), "whisper-1", "invalid_file_format", "file"),
        (BadRequestError, CLIP, "", "missing_required_parameter", "model"),
        (NotFoundError, CLIP, "whisper-2", "model_not_found", "model"),
    ],
)
def test_the_sdk_raises_its_typed_exception(
    gateway: GatewayProcess, kind: type[APIStatusError], audio: bytes, model: str, code: str, param: str
) -> None:
    with pytest.raises(kind) as raised:
        transcribe(sdk(gateway, retries=2), audio, model)
    error = raised.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.request_id is not None
    line = gateway.wait_for_log(error.request_id)
    assert (line["status"], line["error"], line["caller"]) == (error.status_code, code, "team")


def test_the_sdk_raises_for_a_key_and_for_a_model_of_others(gateway: GatewayProcess, whisper_only: str) -> None:
    with pytest.raises(AuthenticationError) as unknown:
        transcribe(sdk(gateway, UNKNOWN_KEY))
    assert (unknown.value.code, unknown.value.param) == ("invalid_api_key", None)
    assert (unknown.value.request_id or "").startswith("req_")
    with pytest.raises(PermissionDeniedError) as forbidden:
        transcribe(sdk(gateway, whisper_only), model="gpt-transcribe")
    assert (forbidden.value.code, forbidden.value.param) == ("model_not_allowed", "model")


def test_the_sdk_raises_for_a_path_and_for_a_size(gateway: GatewayProcess, small_gateway: GatewayProcess) -> None:
    with pytest.raises(NotFoundError) as unknown:
        sdk(gateway).chat.completions.create(model="x", messages=[])
    assert (unknown.value.code, unknown.value.status_code) == ("unknown_url", 404)
    with pytest.raises(APIStatusError) as large:
        transcribe(sdk(small_gateway), CLIP + b"x")
    assert (large.value.status_code, large.value.code, large.value.param) == (413, "request_too_large", "file")


def counted(rows: Sequence[dict[str, object]]) -> object:
    return sum(int(str(row["refused"])) for row in rows)


def test_refusals_of_a_known_caller_are_counted_and_those_of_others_not(gateway: GatewayProcess) -> None:
    """Last in this module: all refusals above are in the sums."""
    before = counted(gateway.usage("--by", "model"))
    assert post(gateway, form("whisper-2")).status == 404
    assert post(gateway, form(), headers=[("Authorization", UNKNOWN_KEY)]).status == 401
    assert counted(gateway.usage("--by", "model")) == int(str(before)) + 1
