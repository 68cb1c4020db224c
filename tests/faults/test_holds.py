"""K: the reservation equals the measured length before the form is complete upstream, whatever a header claims."""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.audio import make
from tests.behaviour.caller import connect, error_of, form, post_bytes, request_id
from tests.behaviour.test_kill import SILENCE
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.raw import RawConnection, RawResponse, multipart
from tests.stubs.upstream import ScriptedUpstream, json_answer, no_answer

SECONDS = 50


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture(scope="module", params=["chunked", "length"])
def gateway(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway for each kind of upstream."""
    folder, framing = tmp_path_factory.mktemp("gateway"), f'framing = "{request.param}"'
    with GatewayProcess(folder, upstream.base_url, upstream_settings=framing, admin_key=ADMIN_KEY) as process:
        yield process


def lying_mp3(seconds: float = SECONDS) -> bytes:
    """An MP3 whose Xing header states four frames."""
    data = bytearray(make("mp3", "libmp3lame", seconds, 16_000, bit_rate=32_000))
    at = next(data.find(name) for name in (b"Xing", b"Info") if name in data[:2_000])
    struct.pack_into(">I", data, at + 8, 4)
    return bytes(data)


def lying_webm(seconds: float = SECONDS) -> bytes:
    """A WebM whose `Duration` is one millisecond."""
    data = bytearray(make("webm", "libopus", seconds, 48_000, bit_rate=32_000))
    at = data.index(b"\x44\x89\x88") + 3
    struct.pack_into(">d", data, at, 1.0)
    return bytes(data)


def moov_last(seconds: float = 60) -> bytes:
    """An M4A as FFmpeg writes it by default, with its header at the end."""
    data = make("ipod", "aac", seconds, 16_000, bit_rate=64_000)
    assert data.index(b"mdat") < data.index(b"moov")
    return data


LIES: dict[str, Callable[..., bytes]] = {"mp3": lying_mp3, "webm": lying_webm}


def begin_upload(gateway: GatewayProcess, caller: RawConnection, key: str, audio: bytes) -> bytes:
    """Sends the request head and the first bytes of the form; returns the rest."""
    body = multipart(form(audio=audio))
    headers = [("Authorization", f"Bearer {key}"), ("Content-Length", str(len(body)))]
    caller.send(post_bytes(gateway, body[:4_000], headers=headers))
    return body[4_000:]


def upload(gateway: GatewayProcess, key: str, audio: bytes) -> RawResponse:
    """Uploads in two parts; the second is sent when the first has created a row."""
    before = len(gateway.rows())
    with connect(gateway) as caller:
        rest = begin_upload(gateway, caller, key, audio)
        wait_for_rows(gateway, before + 1)
        caller.send(rest)
        return caller.read_response()


def wait_for_rows(gateway: GatewayProcess, count: int) -> None:
    wait_until(lambda: len(gateway.rows()) >= count)


def wait_until(comes_true: Callable[[], object]) -> None:
    deadline = monotonic() + 60
    while not comes_true():
        assert monotonic() < deadline
        sleep(0.01)


def caller_with(gateway: GatewayProcess, upstream: ScriptedUpstream, name: str, budget: str) -> str:
    upstream.reset(json_answer("hello"))
    return gateway.create_caller(name, budgets=[budget])


def rows_of(gateway: GatewayProcess, name: str) -> list[dict[str, Any]]:
    return gateway.rows(f"caller = '{name}'")


def test_K170_a_reservation_too_low_by_its_header_is_raised_before_the_form_is_complete(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    name, gate = "raised", threading.Event()
    key = caller_with(gateway, upstream, name, "10min/day")
    upstream.reply(json_answer("hello").but(gate=gate))
    with connect(gateway) as caller:
        rest = begin_upload(gateway, caller, key, lying_webm())
        wait_until(lambda: rows_of(gateway, name))
        assert rows_of(gateway, name)[0]["bound_audio_ms"] < 7_500
        caller.send(rest)
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: exchange.complete)
        (held,) = rows_of(gateway, name)
        gate.set()
        assert caller.read_response().status == 200
    assert held["state"] == "held"
    assert held["bound_audio_ms"] == pytest.approx(SECONDS * 1_000, abs=500)
    (row,) = rows_of(gateway, name)
    assert (row["state"], row["audio_ms"], row["bound_audio_ms"]) == ("settled", *[held["bound_audio_ms"]] * 2)


def test_K171_concurrent_files_with_lying_headers_never_exceed_a_budget(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    """Eight clips of 50 s and a budget of one minute: all are admitted by their headers, at most one fits."""
    name, audio, gate = "liars", lying_webm(), threading.Event()
    key = caller_with(gateway, upstream, name, "1min/day")
    upstream.default = json_answer("hello").but(gate=gate)
    with ExitStack() as stack:
        callers = [stack.enter_context(connect(gateway)) for _ in range(8)]
        rest = [begin_upload(gateway, caller, key, audio) for caller in callers]
        wait_until(lambda: len(rows_of(gateway, name)) == 8)
        for caller, left in zip(callers, rest, strict=True):
            caller.send(left)
        wait_until(lambda: sum(row["state"] == "released" for row in rows_of(gateway, name)) >= 7)
        gate.set()
        answers = [caller.read_response() for caller in callers]
    refused = [error_of(answer)["code"] for answer in answers if answer.status == 429]
    passed = sum(answer.status == 200 for answer in answers)
    assert (len(refused) + passed, set(refused)) == (8, {"budget_reserved"})
    assert sum(exchange.complete for exchange in upstream.journal) == passed <= 1
    assert sum(row["audio_ms"] for row in rows_of(gateway, name)) == pytest.approx(passed * 50_000, abs=500)


def test_K171_a_raise_in_a_spent_budget_is_not_retryable(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = caller_with(gateway, upstream, "spent-meanwhile", "1min/day")
    with connect(gateway) as caller:
        rest = begin_upload(gateway, caller, key, lying_webm())
        wait_until(lambda: rows_of(gateway, "spent-meanwhile"))
        upstream.reply(json_answer("hello", {"type": "duration", "seconds": 60}))
        assert gateway.transcribe(key, SILENCE).status_code == 200
        caller.send(rest)
        answer = caller.read_response()
    assert (answer.status, error_of(answer)["code"]) == (429, "insufficient_quota")
    assert answer.header("x-should-retry") == "false"
    assert gateway.row(request_id(answer))["state"] == "released"


def test_K172_a_file_with_its_length_at_the_end_blocks_its_caller_only_while_it_passes(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    key, gate = caller_with(gateway, upstream, "moov-last", "1.5min/day"), threading.Event()
    upstream.default = lambda exchange: json_answer("hello").but(gate=gate if exchange.size > 100_000 else None)
    with connect(gateway) as caller:
        rest = begin_upload(gateway, caller, key, moov_last())
        wait_until(lambda: rows_of(gateway, "moov-last"))
        assert rows_of(gateway, "moov-last")[0]["bound_audio_ms"] > 5 * 60_000
        early = gateway.transcribe(key, SILENCE)
        caller.send(rest)
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: exchange.complete)
        late = gateway.transcribe(key, SILENCE)
        gate.set()
        assert caller.read_response().status == 200
    assert (early.status_code, early.json()["error"]["code"]) == (429, "budget_reserved")
    assert late.status_code == 200
    row = rows_of(gateway, "moov-last")[0]
    assert row["audio_ms"] == row["bound_audio_ms"] == pytest.approx(60_000, abs=500)


@pytest.mark.parametrize("container", [*LIES, "m4a"])
@pytest.mark.parametrize("order", ["whole at once", "file first"])
def test_K173_a_form_complete_at_admission_is_reserved_at_its_measured_length(
    upstream: ScriptedUpstream, gateway: GatewayProcess, container: str, order: str
) -> None:
    audio = {**LIES, "m4a": moov_last}[container](10)
    parts, gate = form(audio=audio), threading.Event()
    upstream.reset(json_answer("late").but(gate=gate))
    with connect(gateway) as caller:
        body = multipart(parts if order == "whole at once" else parts[::-1])
        caller.send(post_bytes(gateway, body))
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: exchange.complete)
        (held,) = gateway.rows("state = 'held'")
        gate.set()
        assert caller.read_response().status == 200
    assert held["bound_audio_ms"] == pytest.approx(10_000, abs=500)


@pytest.mark.parametrize("case", ["too low", "too high"])
def test_K174_a_request_that_may_have_been_billed_is_charged_at_its_revised_reservation(
    upstream: ScriptedUpstream, gateway: GatewayProcess, case: str
) -> None:
    audio, seconds = (lying_webm(), SECONDS) if case == "too low" else (moov_last(), 60)
    upstream.reset(no_answer())
    row = gateway.wait_for_row(request_id(upload(gateway, gateway.key, audio)), "unknown")
    assert row["audio_ms"] == row["bound_audio_ms"] == pytest.approx(seconds * 1_000, abs=500)
    assert row["cost_nano_usd"] == row["bound_nano_usd"]


def test_K174_a_killed_process_leaves_the_raised_reservation(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """The raise is on disk before the provider has the complete form."""
    gate = threading.Event()
    upstream.reset(json_answer("late").but(gate=gate))
    with GatewayProcess(tmp_path, upstream.base_url) as gateway, connect(gateway) as caller:
        rest = begin_upload(gateway, caller, gateway.key, lying_webm())
        wait_for_rows(gateway, 1)
        caller.send(rest)
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: exchange.complete)
        gateway.kill()
        gate.set()
        gateway.start()
        (row,) = gateway.rows()
        assert (row["state"], row["error"]) == ("unknown", "gateway_stopped")
        assert row["audio_ms"] == pytest.approx(SECONDS * 1_000, abs=500)
