"""G: signals, kills, settings. A stop lets requests finish, a kill loses no usage, invalid settings do nothing."""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.behaviour.caller import begin, connect, error_of, fence, form, held_row, post, request_id
from tests.behaviour.test_kill import check_nothing_lost, kill_often
from tests.faults.asking import PATIENCE, STREAM, Asking
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import RawConnection, chunked, multipart, request
from tests.stubs.upstream import TOKENS, Exchange, ScriptedUpstream, json_answer, sse_answer

SHORT_GRACE = "[timeouts]\ngrace = 1"
LONG_GRACE = "[timeouts]\ngrace = 600"  # longer than any test waits: only something else can have ended it

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
def gate(upstream: ScriptedUpstream) -> Iterator[threading.Event]:
    """The provider responds when the event is set, at the latest when the test ends."""
    event = threading.Event()
    upstream.default = json_answer("late", TOKENS).but(gate=event)
    yield event
    event.set()


def in_flight(upstream: ScriptedUpstream) -> Exchange:
    """The first request, once the provider has the complete form."""
    exchange = upstream.wait_for(1)
    upstream.wait_until(lambda: exchange.complete)
    return exchange


def wait_until_it_stops_listening(gateway: GatewayProcess) -> None:
    """Waits until new connections are refused; one accepted at the last moment is closed."""
    deadline = monotonic() + PATIENCE
    with suppress(ConnectionError):
        while monotonic() < deadline:
            connect(gateway).close()
            sleep(0.02)
        raise AssertionError("it still listens")


def ended(gateway: GatewayProcess) -> int:
    """The exit status, without another signal."""
    assert gateway.process is not None
    return gateway.process.wait(timeout=PATIENCE)


# -- a stop -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [TERM, INT], ids=["SIGTERM", "SIGINT"])
def test_G107_requests_in_flight_finish_and_the_exit_status_is_0(
    upstream: ScriptedUpstream, gate: threading.Event, tmp_path: Path, number: signal.Signals
) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway, Asking(gateway) as asking:
        in_flight(upstream)
        gateway.signal(number)
        wait_until_it_stops_listening(gateway)
        gate.set()
        assert (asking.answer.status, asking.answer.json()["text"]) == (200, "late")
        assert ended(gateway) == 0
        (row,) = gateway.rows()
        assert (row["state"], row["id"], row["total_tokens"]) == ("settled", request_id(asking.answer), 59)


def test_G107_an_upload_and_a_stream_in_flight_finish(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    gate = threading.Event()
    upstream.reply(sse_answer(["a", "b"], TOKENS).but(tail_gate=gate), json_answer("hello", TOKENS))
    with (
        GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway,
        Asking(gateway, STREAM) as asking,
        connect(gateway) as caller,
    ):
        in_flight(upstream)
        whole = multipart(form())
        begin(gateway, caller)
        caller.send(chunked([whole[:4000]], last=b""))
        upstream.wait_for(2)
        gateway.signal(TERM)
        wait_until_it_stops_listening(gateway)
        caller.send(chunked([whole[4000:]]))
        uploaded = caller.read_response()
        gate.set()
        assert (uploaded.status, uploaded.json()["text"]) == (200, "hello")
        assert (asking.answer.complete, b"transcript.text.done" in asking.answer.body) == (True, True)
        assert ended(gateway) == 0
        assert [row["state"] for row in gateway.rows()] == ["settled", "settled"]


def test_G107_idle_connections_are_closed_and_do_not_delay_the_stop(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway:
        fresh, used, halfway = connect(gateway), connect(gateway), connect(gateway)
        used.send(request("GET", "/healthz"))
        assert used.read_response().status == 200
        halfway.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
        fence(gateway)
        gateway.signal(TERM)
        for each in (fresh, used, halfway):
            with each:
                assert each.closed(PATIENCE)
        assert ended(gateway) == 0


def test_G107_requests_cut_off_after_the_grace_period_get_an_error_and_stay_charged(
    upstream: ScriptedUpstream, gate: threading.Event, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, SHORT_GRACE) as gateway, Asking(gateway) as asking:
        in_flight(upstream)
        assert gateway.stop() == 0
        was_cut_off(gateway, asking)


def was_cut_off(gateway: GatewayProcess, asking: Asking) -> None:
    """Asserts that the error is not retryable, and that the row is charged at its reservation."""
    answer = asking.answer
    assert (answer.status, error_of(answer)["code"]) == (503, "shutting_down")
    assert answer.header("x-should-retry") == "false"
    (row,) = gateway.rows()
    assert (row["id"], row["state"], row["error"]) == (request_id(answer), "unknown", "interrupted")
    assert row["cost_nano_usd"] == row["bound_nano_usd"] > 0


@pytest.mark.parametrize("second", [TERM, INT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("first", [TERM, INT], ids=["SIGTERM", "SIGINT"])
def test_G107_a_second_signal_settles_requests_in_flight_and_stops(
    upstream: ScriptedUpstream, gate: threading.Event, tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway, Asking(gateway) as asking:
        in_flight(upstream)
        gateway.signal(first)
        wait_until_it_stops_listening(gateway)
        gateway.signal(second)
        assert ended(gateway) == 0
        was_cut_off(gateway, asking)


def test_G107_an_upload_cut_off_by_a_second_signal_is_free_and_retryable(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway, connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form())[:4000]], last=b""))
        exchange = upstream.wait_for(1)
        gateway.signal(TERM)
        wait_until_it_stops_listening(gateway)
        gateway.signal(TERM)
        answer = caller.read_response()
        assert (answer.status, error_of(answer)["code"]) == (503, "shutting_down")
        assert (answer.header("x-should-retry"), answer.header("retry-after")) == (None, "1")
        assert ended(gateway) == 0
        upstream.wait_until(lambda: exchange.aborted)
        (row,) = gateway.rows()
        assert (row["state"], row["cost_nano_usd"]) == ("released", 0)


def test_G107_a_stream_cut_off_by_a_second_signal_ends_with_an_error(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    gate = threading.Event()
    upstream.default = sse_answer(["a", "b"], TOKENS).but(tail_gate=gate)
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway, Asking(gateway, STREAM) as asking:
        exchange = in_flight(upstream)
        held_row(gateway)
        upstream.wait_until(lambda: exchange.complete)
        gateway.signal(TERM)
        wait_until_it_stops_listening(gateway)
        gateway.signal(TERM)
        assert ended(gateway) == 0
        gate.set()
        answer = asking.answer
        assert (answer.status, answer.complete) == (200, False)
        assert b'"code": "shutting_down"}}\n\n' in answer.body
        assert b"transcript.text.done" not in answer.body
        (row,) = gateway.rows()
        assert (row["state"], row["cost_nano_usd"]) == ("unknown", row["bound_nano_usd"])


def test_G107_a_caller_that_does_not_read_delays_no_second_signal(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    event = b"data: {" + b" " * 1_000_000 + b"}\n\n"
    upstream.default = sse_answer([]).but(body=[(0.0, event)] * 20)
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway:
        with RawConnection("127.0.0.1", gateway.port) as caller:
            begin(gateway, caller)
            caller.send(chunked([multipart(STREAM)]))
            in_flight(upstream)
            held_row(gateway)
            gateway.signal(TERM)
            wait_until_it_stops_listening(gateway)
            gateway.signal(TERM)
            assert ended(gateway) == 0
        assert [row["state"] for row in gateway.rows()] == ["unknown"]
        upstream.failures.clear()  # the provider, too, was cut off while it wrote


def test_G107_an_idle_gateway_stops_at_once_with_an_intact_ledger(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, LONG_GRACE) as gateway:
        assert post(gateway, form()).status == 200
        assert gateway.stop() == 0
        assert {path.name for path in tmp_path.glob("ledger.db*")} == {"ledger.db", "ledger.db.lock"}
        with closing(sqlite3.connect(gateway.ledger)) as ledger:
            assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_G107_a_port_in_use_stops_the_start(gateway: GatewayProcess, tmp_path: Path) -> None:
    other = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    done = other.command("serve", AUDIO_GATEWAY_SERVER__PORT=str(gateway.port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Address already in use" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr


# -- a kill -----------------------------------------------------------------------------------------------------------


def test_G109_every_delivered_response_is_in_the_ledger_after_kill_9(tmp_path: Path) -> None:
    gateway, seen = kill_often(tmp_path, times=8, seed=1)
    assert len(seen) > 50
    check_nothing_lost(gateway, seen)


Kill = Callable[[GatewayProcess, ScriptedUpstream, threading.Event], None]


def before_the_form_is_complete(gateway: GatewayProcess, upstream: ScriptedUpstream, gate: threading.Event) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form())[:4000]], last=b""))
        upstream.wait_for(1)
        held_row(gateway)
        gateway.kill()


def while_the_provider_works(gateway: GatewayProcess, upstream: ScriptedUpstream, gate: threading.Event) -> None:
    with Asking(gateway) as asking:
        in_flight(upstream)
        gateway.kill()
        assert asking.answer.status == 0


def before_the_settlement(gateway: GatewayProcess, upstream: ScriptedUpstream, gate: threading.Event) -> None:
    with Asking(gateway) as asking, closing(sqlite3.connect(gateway.ledger)) as other:
        exchange = in_flight(upstream)
        other.execute("BEGIN IMMEDIATE")
        gate.set()
        upstream.wait_until(lambda: exchange.answered_at)
        fence(gateway)
        gateway.kill()
        assert asking.answer.status == 0


KILLS = (before_the_form_is_complete, while_the_provider_works, before_the_settlement)


@pytest.mark.parametrize("kill", KILLS, ids=[each.__name__ for each in KILLS])
def test_G109_I140_reservations_left_by_a_kill_are_unknown_at_the_next_start(
    upstream: ScriptedUpstream, gate: threading.Event, tmp_path: Path, kill: Kill
) -> None:
    with GatewayProcess(tmp_path, upstream.base_url) as gateway:
        kill(gateway, upstream, gate)
        gateway.start()
        (row,) = gateway.rows()
        assert (row["state"], row["error"]) == ("unknown", "gateway_stopped")
        assert row["cost_nano_usd"] == row["bound_nano_usd"] > 0
        (told,) = gateway.usage()
        assert (told["requests"], told["unknown"], told["refused"]) == (1, 1, 0)
        (line,) = [each for each in gateway.log_lines("log") if "requests held" in str(each["message"])]
        assert line["level"] == "warning"


# -- settings ---------------------------------------------------------------------------------------------------------

GOOD = """
[server]
max_requests = 10
[[callers]]
name = "team"
key_env = "TEAM_KEY"
models = ["whisper-1"]
"""
PROVIDER_AT = b"[[upstreams]]\nname = 'a'\napi_key_env = 'A'\nbase_url = '%b'"
BAD_SETTINGS: dict[str, tuple[bytes, str]] = {
    "G119-bad-syntax": (b"[server\nport = 1", "at line 1"),
    "G119-half-written": (GOOD.encode()[:-8], "at end of document"),
    "G119-cut-in-a-character": (GOOD.encode() + "# caf\u00e9".encode()[:-1], "can't decode"),
    "G119-unknown-table": (b"[sever]\nport = 1", "sever: no such setting"),
    "G119-unknown-key": (b"[server]\nprot = 1", "server.prot: no such setting"),
    "G119-wrong-type": (b"[server]\nmax_requests = 'many'", "server.max_requests: "),
    "G119-out-of-range": (b"[timeouts]\ngrace = -1", "timeouts.grace: "),
    "G119-beyond-all-numbers": (b"[server]\nmax_file_bytes = " + b"9" * 400, "server.max_file_bytes: "),
    "G119-nested-without-end": (b"a = " + b"[" * 5_000, "is nested too deeply"),
    "G119-a-port-that-is-none": (PROVIDER_AT % b"https://a:99999/v1", "upstreams.0.base_url: Port out of range"),
    "G119-half-an-address": (PROVIDER_AT % b"https://[::1/v1", "upstreams.0.base_url: Invalid IPv6 URL"),
    "G119-a-table-for-a-list": (b"[models]\nid = 'x'", "models: "),
    "G119-a-removed-model": (GOOD.replace("whisper-1", "whisper-0").encode(), "'whisper-0' is not in the catalogue"),
    "G119-a-removed-key": (b"[[callers]]\nname = 'team'\nkey_env = 'NO_SUCH'", "NO_SUCH holds no key"),
    "G119-not-text": (b"\x00\x01\xff", "can't decode"),
    "G119-I146-a-model-without-a-price": (b"[[models]]\nid = 'x'\ntasks = ['transcribe']", "models.0.price: "),
    "G119-I146-a-price-of-nothing": (
        b"[[models]]\nid = 'x'\ntasks = ['transcribe']\nprice = { per_minute = 0 }",
        'has price = "free"',
    ),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_G119_invalid_settings_are_reported_in_one_line(tmp_path: Path, case: str) -> None:
    content, words = BAD_SETTINGS[case]
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", TEAM_KEY="sk-team-0123456789abcdef")
    gateway.config.write_bytes(content)
    done = gateway.invoke("check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("audio-gateway: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not gateway.ledger.exists()


def test_G119_invalid_settings_start_nothing(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    gateway.config.write_text(gateway.config.read_text() + "half_a_line = ")
    done, checked = gateway.command("serve"), gateway.command("check")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", checked.stderr)
    assert not gateway.ledger.exists()


def test_G119_valid_settings_are_reported_and_start_nothing(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", TEAM_KEY="sk-team-0123456789abcdef")
    gateway.config.write_text(GOOD)
    done = gateway.command("check", ONEROUTER_API_KEY=PROVIDER_KEY)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"settings   {gateway.config}: good" in done.stdout
    assert not gateway.ledger.exists()


def test_G119_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    gateway.config.unlink()
    done = gateway.command("check")
    assert (done.returncode, "No such file" in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_G119_a_bad_setting_in_the_environment_stops_the_start(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    done = gateway.command("serve", AUDIO_GATEWAY_SERVER__PROT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "audio-gateway: environment variable AUDIO_GATEWAY_SERVER__PROT: no such setting\n"
