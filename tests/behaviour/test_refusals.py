"""What is refused, with which status, code and param, how early, and that nothing of it goes upstream."""

from collections.abc import Iterator, Sequence

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
from tests.behaviour.caller import (
    CLIP,
    begin,
    connect,
    error_of,
    form,
    post,
    post_bytes,
    sdk,
)
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawResponse, chunked, multipart
from tests.stubs.upstream import ScriptedUpstream

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


# -- the size ---------------------------------------------------------------------------------------------------------


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


# -- through the SDK --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper_only(gateway: GatewayProcess) -> str:
    return new_key(gateway, "whisper-team", "--model", "whisper-1")


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
