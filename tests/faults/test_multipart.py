"""B: forms that are truncated, ambiguous, endless or incomplete."""

import itertools
from collections.abc import Callable, Sequence

import pytest

from tests.audio import make
from tests.behaviour.caller import (
    CLIP,
    CLOSING,
    TRANSLATIONS,
    begin,
    connect,
    error_of,
    fence,
    form,
    held_row,
    post,
    post_bytes,
    request_id,
)
from tests.faults.forms import (
    LATE,
    MALFORMED,
    MODEL,
    NAMED_FILE,
    SHORT_CLIP,
    UNFIT,
    WHOLE,
    part,
    submit,
)
from tests.faults.outcomes import counts_refusals, refused, refused_and_closed, wait_for
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Part, RawConnection, chunked, multipart
from tests.stubs.upstream import ScriptedUpstream
from tests.stubs.vitals import unlinked_files

LONG_CLIP = make("wav", "pcm_s16le", 20)


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_form_is_rejected(gateway: GatewayProcess, upstream: ScriptedUpstream, body: bytes) -> None:
    before = upstream.connections_opened
    with counts_refusals(gateway, "invalid_multipart"):
        refused(submit(gateway, body), 400, "invalid_multipart")
    assert (upstream.journal, upstream.connections_opened) == ([], before)


@pytest.mark.parametrize(("body", "status", "code", "param"), UNFIT.values(), ids=UNFIT.keys())
def test_a_form_with_wrong_fields_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, body: bytes, status: int, code: str, param: str
) -> None:
    before = upstream.connections_opened
    with counts_refusals(gateway, code):
        refused(submit(gateway, body), status, code, param)
    assert (upstream.journal, upstream.connections_opened) == ([], before)


@pytest.mark.parametrize(
    "boundary",
    [
        "",
        "; boundary=",
        '; boundary=""',
        "; boundary=a; boundary=b",
        "; boundary=test-boundary; boundary=test-boundary",
        "; boundary=test-boundary; BOUNDARY=test-boundary",
        "; boundary*=UTF-8''test-boundary",
        "; boundary*0=test-; boundary*1=boundary",
        "; boundary =test-boundary",
        "; boundary= test-boundary",
        "; boundary=test-boundary x",
        ", boundary=test-boundary",
        "; charset=utf-8",
    ],
)
def test_B20_a_form_needs_exactly_one_boundary(
    gateway: GatewayProcess, upstream: ScriptedUpstream, boundary: str
) -> None:
    content_type = f"multipart/form-data{boundary}"
    code, status = ("invalid_content_type", 415) if boundary.startswith(",") else ("invalid_multipart", 400)
    with counts_refusals(gateway, code):
        refused(submit(gateway, WHOLE, [("Content-Type", content_type)]), status, code)
    assert upstream.journal == []


@pytest.mark.parametrize(
    "boundary",
    ["a" * 71, "a" * 256, '"a "', '" "', "a@b", '"a@b"', '"a\\"b"', '"a%b"', '"\xe9"', "a\tb", '"a'],
)
def test_B21_an_invalid_boundary_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, boundary: str
) -> None:
    body = WHOLE.replace(b"test-boundary", boundary.strip('"').encode("latin-1"))
    with counts_refusals(gateway, "invalid_multipart"):
        answer = submit(gateway, body, [("Content-Type", f"multipart/form-data; boundary={boundary}")])
        refused(answer, 400, "invalid_multipart")
    assert upstream.journal == []


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=" + "a" * 70, "a" * 70),
        ('multipart/form-data; boundary="test-boundary"', "test-boundary"),
        ("Multipart/Form-Data;BOUNDARY=test-boundary; charset=utf-8", "test-boundary"),
        ('multipart/form-data; boundary="a b"', "a b"),
        ("multipart/form-data; boundary=-", "-"),
        ("multipart/form-data; boundary=test-boundary ", "test-boundary"),
        ("multipart/form-data; boundary=----=_Part_1_2.3", "----=_Part_1_2.3"),
        ("multipart/form-data; boundary=a/b,c:d?; charset=utf-8", "a/b,c:d?"),
    ],
)
def test_B21_valid_boundaries_are_accepted(
    gateway: GatewayProcess, upstream: ScriptedUpstream, content_type: str, boundary: str
) -> None:
    body = WHOLE.replace(b"test-boundary", boundary.encode())
    assert submit(gateway, body, [("Content-Type", content_type)]).status == 200
    assert upstream.journal[0].file.data == CLIP


# -- the model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper_only(gateway: GatewayProcess) -> str:
    return gateway.create_caller("whisper-team", models=["whisper-1"])


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
        ("whisper-1\n", 404, "model_not_found"),
        ('"whisper-1"', 404, "model_not_found"),
        ("'whisper-1'", 404, "model_not_found"),
        ("whisper\N{NON-BREAKING HYPHEN}1", 404, "model_not_found"),
        ("m" * 257, 400, "invalid_field"),
    ],
)
def test_B28_an_invalid_model_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, model: str | None, status: int, code: str, file_first: bool
) -> None:
    parts = form(model)
    with counts_refusals(gateway, code):
        answer = post(gateway, parts[::-1] if file_first else parts)
        refused(answer, status, code, "model")
    if code == "model_not_found":
        for name in ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe-diarize", "gpt-4o-mini-transcribe-2025-12-15"):
            assert name in error_of(answer)["message"]
    assert upstream.journal == []


def test_B28_a_model_for_another_task_is_rejected(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = post(gateway, form("gpt-4o-transcribe"), TRANSLATIONS)
    refused(answer, 400, "unsupported_model", "model")
    assert error_of(answer)["message"].endswith("does not translate audio. Models that do: whisper-1.")
    assert upstream.journal == []


def test_B28_a_model_that_the_key_does_not_allow_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, whisper_only: str
) -> None:
    key = [("Authorization", whisper_only)]
    answer = post(gateway, form("gpt-transcribe"), headers=key)
    refused(answer, 403, "model_not_allowed", "model")
    assert error_of(answer)["message"].endswith("it may use: whisper-1.")
    unknown = post(gateway, form("whisper-2"), headers=key)
    refused(unknown, 404, "model_not_found", "model")
    assert error_of(unknown)["message"].endswith("Models: whisper-1.")
    assert upstream.journal == []
    assert post(gateway, form("whisper-1"), headers=key).status == 200


@pytest.mark.parametrize("model", ["whisper-1", "no-such-model"])
def test_B27_a_file_before_its_model_is_spooled_without_a_name(
    gateway: GatewayProcess, upstream: ScriptedUpstream, model: str
) -> None:
    """The file is larger than the spool keeps in memory. Nothing is sent before the model, and nothing remains."""
    whole = multipart([Part("file", LONG_CLIP, "clip.wav"), Part("model", model.encode()), Part("prompt", b"x")])
    at, before = whole.index(model.encode()), sorted(gateway.folder.iterdir())
    opened = upstream.connections_opened
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([whole[:at]], last=b""))
        wait_for(lambda: unlinked_files(gateway.proc, gateway.folder))
        assert sorted(gateway.folder.iterdir()) == before
        assert (upstream.journal, upstream.connections_opened) == ([], opened)
        caller.send(chunked([whole[at:]]))
        answer = caller.read_response()
    if model == "whisper-1":
        assert answer.status == 200
        assert gateway.row(request_id(answer))["state"] == "settled"
        assert [(part.name, part.data) for part in upstream.journal[0].form()][1:] == [
            ("model", b"whisper-1"),
            ("prompt", b"x"),
        ]
        assert upstream.journal[0].file.data == LONG_CLIP
    else:
        refused(answer, 404, "model_not_found", "model")
        assert (upstream.journal, upstream.connections_opened) == ([], opened)
    wait_for(lambda: not unlinked_files(gateway.proc, gateway.folder))


# -- rejected after the file has begun ---------------------------------------------------------------------------------

STREAMING = multipart(form(), closing=False)


@pytest.mark.parametrize(("rest", "code", "param"), LATE.values(), ids=LATE.keys())
def test_an_error_after_the_file_ends_the_upload_and_releases_the_reservation(
    gateway: GatewayProcess, upstream: ScriptedUpstream, rest: bytes, code: str, param: str | None
) -> None:
    """The upstream has the file by then, but never the end of the form."""
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([STREAMING], last=b""))
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: CLIP[:-40] in exchange.body)
        caller.send(chunked([rest] if rest else []))
        answer = caller.read_response()
    refused(answer, 400, code, param)
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0)
    assert b"second" not in exchange.body
    row = gateway.row(request_id(answer))
    assert (row["state"], row["error"], row["cost_nano_usd"], row["audio_ms"]) == ("released", code, 0, 0)


@pytest.mark.parametrize("behind", [b"", b"x" * 1000, MODEL + part(NAMED_FILE, b"second") + CLOSING])
def test_B40_a_short_epilogue_is_dropped(gateway: GatewayProcess, upstream: ScriptedUpstream, behind: bytes) -> None:
    answer = submit(gateway, WHOLE + behind)
    assert answer.status == 200
    assert gateway.row(request_id(answer))["state"] == "settled"
    assert [(part.name, part.data) for part in upstream.journal[0].form()] == [("model", b"whisper-1"), ("file", CLIP)]


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"This is a form.\r\n", b"x" * 1024 + b"\r\n"])
def test_B40_P265_a_short_preamble_is_dropped(
    gateway: GatewayProcess, upstream: ScriptedUpstream, before: bytes
) -> None:
    """Unity begins its forms with a line break."""
    assert submit(gateway, before + WHOLE).status == 200
    assert [(part.name, part.data) for part in upstream.journal[0].form()] == [("model", b"whisper-1"), ("file", CLIP)]


@pytest.mark.parametrize("declared", [False, True], ids=["chunked", "Content-Length"])
@pytest.mark.parametrize("closing", [False, True], ids=["in the file", "before the end of the body"])
@pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset], ids=["close", "reset"])
def test_B24_F101_a_caller_that_disconnects_mid_upload_completes_no_request(
    gateway: GatewayProcess,
    upstream: ScriptedUpstream,
    declared: bool,
    closing: bool,
    leave: Callable[[RawConnection], None],
) -> None:
    """Also a caller that sent the closing boundary, but not the end of the body."""
    body = multipart(form(), closing=closing)
    with connect(gateway) as caller:
        if declared:
            caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(len(body) + 1))]) + body)
        else:
            begin(gateway, caller)
            caller.send(chunked([body], last=b""))
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: CLIP[:-20] in exchange.body)
        held = held_row(gateway)
        leave(caller)
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0)
    assert not exchange.complete
    row = gateway.wait_for_row(held["id"], "released")
    assert (row["error"], row["cost_nano_usd"]) == ("client_closed_request", 0)
    assert gateway.wait_for_log(held["id"])["state"] == "released"


def test_B24_a_caller_that_disconnects_before_its_file_is_counted(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with counts_refusals(gateway, "client_closed_request"), connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([MODEL], last=b""))
        fence(gateway)
    assert upstream.journal == []


def test_B43_a_body_shorter_than_its_length_is_rejected(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """The form is complete, but the body is not."""
    with connect(hasty) as caller:
        caller.send(post_bytes(hasty, b"", headers=[("Content-Length", str(len(WHOLE) + 100))]) + WHOLE)
        exchange = upstream.wait_for(1)
        answer = refused_and_closed(caller, 408, "request_timeout")
    upstream.wait_until(lambda: exchange.aborted)
    assert not exchange.complete
    assert hasty.wait_for_row(request_id(answer), "released")["cost_nano_usd"] == 0


@pytest.mark.parametrize("missing", [1, 100, 10_000])
def test_B43_a_body_longer_than_its_length_is_rejected(
    gateway: GatewayProcess, upstream: ScriptedUpstream, missing: int
) -> None:
    """The bytes after the declared length are read as the next request, which is malformed."""
    body = WHOLE.removesuffix(b"\r\n")
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(len(body) - missing))]) + body)
        refused_and_closed(caller, 400, "invalid_multipart")
    assert [exchange for exchange in upstream.journal if exchange.complete] == []


# -- splits and order -------------------------------------------------------------------------------------------------

SHORT = multipart([*form(audio=SHORT_CLIP + b"\r\n--test-bound\r\n-- \r\r\n"), Part("prompt", b"x\r\n-")])


def test_B45_a_form_is_the_same_for_every_split(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Split in two at each position; the second half is sent when the first may have been read."""
    chunk = [("Transfer-Encoding", "chunked")]
    with connect(gateway) as caller:
        for at in range(1, len(SHORT)):
            caller.send(post_bytes(gateway, chunked([SHORT[:at]], last=b""), headers=chunk))
            caller.send(chunked([SHORT[at:]]))
            assert caller.read_response().status == 200, at
    assert len(upstream.journal) == len(SHORT) - 1
    forms = {tuple((part.name, part.data) for part in exchange.form()) for exchange in upstream.journal}
    expected = (("model", b"whisper-1"), ("file", SHORT_CLIP + b"\r\n--test-bound\r\n-- \r\r\n"), ("prompt", b"x\r\n-"))
    assert forms == {expected}


def test_B45_one_byte_at_a_time_is_the_same_form(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        for at in range(len(SHORT)):
            caller.send(chunked([SHORT[at : at + 1]], last=b""))
        caller.send(chunked([]))
        assert caller.read_response().status == 200
    assert [part.name for part in upstream.journal[0].form()] == ["model", "file", "prompt"]


@pytest.mark.parametrize(
    "parts",
    list(itertools.permutations([*form(), Part("prompt", b"x")])),
    ids=lambda parts: "-".join(each[0] for each in parts),
)
def test_B45_fields_in_any_order(gateway: GatewayProcess, upstream: ScriptedUpstream, parts: Sequence[Part]) -> None:
    """The fields before the file, the file, and the fields after it are relayed in their order."""
    assert post(gateway, parts).status == 200
    sent = [(part.name, part.data) for part in upstream.journal[0].form()]
    assert sent == [(part.name, part.data) for part in parts]
