"""Refused requests: their status, code and param, how early they end, and that nothing goes upstream."""

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
    error_of,
    form,
    post,
    sdk,
)
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawResponse
from tests.stubs.upstream import ScriptedUpstream

UNKNOWN_KEY = apikey.mint(bytes(range(24)))


def refused(answer: RawResponse) -> tuple[int, object, object]:
    error = error_of(answer)
    assert error["type"] == ("server_error" if answer.status >= 500 else "invalid_request_error")
    assert error["message"]
    return answer.status, error["code"], error["param"]


def new_key(gateway: GatewayProcess, name: str, *options: str) -> str:
    """The key of a new caller, as the command prints it."""
    result = gateway.command("keys", "create", name, *options)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


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


def test_the_sdk_raises_for_an_unknown_key_and_a_forbidden_model(gateway: GatewayProcess, whisper_only: str) -> None:
    with pytest.raises(AuthenticationError) as unknown:
        transcribe(sdk(gateway, UNKNOWN_KEY))
    assert (unknown.value.code, unknown.value.param) == ("invalid_api_key", None)
    assert (unknown.value.request_id or "").startswith("req_")
    with pytest.raises(PermissionDeniedError) as forbidden:
        transcribe(sdk(gateway, whisper_only), model="gpt-transcribe")
    assert (forbidden.value.code, forbidden.value.param) == ("model_not_allowed", "model")


def test_the_sdk_raises_for_an_unknown_path(gateway: GatewayProcess) -> None:
    with pytest.raises(NotFoundError) as unknown:
        sdk(gateway).chat.completions.create(model="x", messages=[])
    assert (unknown.value.code, unknown.value.status_code) == ("unknown_url", 404)


def refused_count(gateway: GatewayProcess) -> int:
    """The number of refused requests. Sends a request first: a refusal is counted before the next row is written."""
    assert post(gateway, form()).status == 200
    return sum(row["refused"] for row in gateway.usage("--by", "model"))


def test_only_refusals_of_known_callers_are_counted(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """The last test of this module: the totals include all refusals above."""
    before = refused_count(gateway)
    assert post(gateway, form("whisper-2")).status == 404
    assert post(gateway, form(), headers=[("Authorization", UNKNOWN_KEY)]).status == 401
    assert refused_count(gateway) == before + 1
