"""`audio-gateway doctor`: which checks pass, which fail, and which setting is at fault."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from app.demo import SAMPLE
from tests.stubs.certificate import certificate, serving
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess, free_port
from tests.stubs.upstream import Exchange, Reply, ScriptedUpstream, error_answer, json_answer

CHECKS = ["settings", "ledger", "disk", "dns", "tls", "clock"]
SPEECH_PATH = 'set transcriptions_path = "/speech/transcriptions" in [[upstreams]]'
BARE_KEY = 'set auth_scheme = "none" in [[upstreams]]'
TRANSCRIPT = json_answer("a clip")
NOT_HERE = error_answer(404, None, "no such path")

Wanted = Callable[[Exchange], bool]


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        scripted.default = TRANSCRIPT
        yield scripted


def run(folder: Path, url: str, *arguments: str, settings: str = "") -> "subprocess.CompletedProcess[str]":
    """`audio-gateway doctor` for a gateway that is not running."""
    return GatewayProcess(folder, url, upstream_settings=settings).invoke("doctor", *arguments)


def findings(command: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in json.loads(command.stdout)}


def transcribed(folder: Path, upstream: ScriptedUpstream, settings: str = "") -> dict[str, Any]:
    """What `--transcribe` finds."""
    done = run(folder, upstream.base_url, "--transcribe", "--format", "json", settings=settings)
    assert PROVIDER_KEY not in done.stdout + done.stderr
    found = findings(done)["transcribe"]
    assert done.returncode == (0 if found["ok"] else 1)
    return found


def probes(upstream: ScriptedUpstream) -> list[Exchange]:
    """The requests with a clip."""
    return [exchange for exchange in upstream.journal if exchange.method == "POST"]


def test_all_checks_pass_and_nothing_is_billed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.default = TRANSCRIPT.but(headers=[*TRANSCRIPT.headers, ("Date", formatdate(usegmt=True))])
    done = GatewayProcess(tmp_path, upstream.base_url).command("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["ok", check] for check in CHECKS]
    (exchange,) = upstream.journal
    assert (exchange.method, exchange.header("authorization"), exchange.size) == ("GET", None, 0)
    assert not (tmp_path / "ledger.db").exists()


def test_the_transcription_request_is_the_gateways_own(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    found = transcribed(tmp_path, upstream)
    assert (found["ok"], found["told"]) == (True, "whisper-1 transcribed: a clip")
    (doctors,) = probes(upstream)
    with GatewayProcess(tmp_path, upstream.base_url) as gateway:
        assert gateway.transcribe(gateway.key, SAMPLE.read_bytes()).status_code == 200
    gateways = upstream.journal[-1]
    assert doctors.form() == gateways.form()
    assert doctors.path == gateways.path
    names = {name.lower() for name, _ in gateways.headers}
    assert {name.lower() for name, _ in doctors.headers} == names
    assert [doctors.header(name) for name in names - {"content-type"}] == [
        gateways.header(name) for name in names - {"content-type"}
    ]


WANTED: dict[str, tuple[str, Wanted, Reply, str, str]] = {
    "path": (
        "",
        lambda exchange: exchange.path == "/v1/speech/transcriptions",
        NOT_HERE,
        "path",
        SPEECH_PATH,
    ),
    "bare key": (
        "",
        lambda exchange: exchange.header("authorization") == PROVIDER_KEY,
        error_answer(401, "invalid_api_key", f"no such key: Bearer {PROVIDER_KEY}"),
        "auth scheme",
        BARE_KEY,
    ),
    "Bearer": (
        'auth_scheme = "none"',
        lambda exchange: exchange.header("authorization") == f"Bearer {PROVIDER_KEY}",
        error_answer(403, None, "forbidden"),
        "auth scheme",
        'set auth_scheme = "Bearer" in [[upstreams]]',
    ),
    "length": (
        "",
        lambda exchange: exchange.header("content-length") is not None,
        error_answer(411, None, "Length Required"),
        "framing",
        'set framing = "length" in [[upstreams]]',
    ),
    "chunked": (
        'framing = "length"',
        lambda exchange: exchange.header("transfer-encoding") == "chunked",
        error_answer(500, None, "unexpected"),
        "framing",
        'set framing = "chunked" in [[upstreams]]',
    ),
    "model": (
        "",
        lambda exchange: exchange.field("model") == "gpt-4o-transcribe",
        error_answer(400, "model_not_found", "no such model"),
        "model",
        "remove whisper-1 from [[models]], or set its upstream_model to the provider's name for it",
    ),
    "path and bare key": (
        "",
        lambda exchange: (
            (exchange.path, exchange.header("authorization")) == ("/v1/speech/transcriptions", PROVIDER_KEY)
        ),
        NOT_HERE,
        "path, auth scheme",
        f"{SPEECH_PATH}; {BARE_KEY}",
    ),
    "a page in place of a transcript": (
        "",
        lambda exchange: exchange.path == "/v1/speech/transcriptions",
        Reply(headers=[("Content-Type", "text/html")], body=b"<!doctype html><title>Welcome</title>"),
        "path",
        SPEECH_PATH,
    ),
}


@pytest.mark.parametrize(("settings", "wanted", "refusal", "fault", "advice"), WANTED.values(), ids=WANTED)
def test_the_setting_at_fault_is_named(
    settings: str, wanted: Wanted, refusal: Reply, fault: str, advice: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    succeeded: list[Exchange] = []

    def answer(exchange: Exchange) -> Reply:
        if exchange.method == "POST" and wanted(exchange):
            succeeded.append(exchange)
            return TRANSCRIPT
        return refusal

    upstream.default = answer
    found = transcribed(tmp_path, upstream, settings)
    assert found["told"].endswith(f"; at fault: {fault}")
    assert found["told"].startswith(f"fails with these settings ({refusal.status}: ")
    assert found["advice"] == advice
    assert succeeded == [probes(upstream)[-1]], "more than one request would be billed"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_every_variant_has_refused_is_at_fault(
    status: int, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.default = error_answer(status, None, f"refused: {PROVIDER_KEY}")
    found = transcribed(tmp_path, upstream)
    assert "the provider refuses the key in every variant" in found["advice"]
    assert "[redacted]" in found["told"]
    # One with each thing changed: the path, the scheme, the framing, each of the other models.
    assert len(probes(upstream)) == 1 + 3 + 5


@pytest.mark.parametrize(("status", "advice"), [(402, "top it up"), (429, "try again later")])
def test_it_stops_where_no_other_variant_can_succeed(
    status: int, advice: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.default = error_answer(status, None, "no")
    assert advice in transcribed(tmp_path, upstream)["advice"]
    assert len(probes(upstream)) == 1


def test_a_provider_that_fails_every_variant_is_reported_with_its_message(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.default = error_answer(500, None, "out of\x1b[31m order\n")
    found = transcribed(tmp_path, upstream)
    assert found["told"].startswith("500: ")
    assert "47 other variants fail as well" in found["told"]
    assert "\x1b" not in found["told"]


def test_an_unreachable_provider(tmp_path: Path) -> None:
    done = run(tmp_path, f"http://127.0.0.1:{free_port()}/v1", "--transcribe", "--format", "json")
    found = findings(done)
    assert done.returncode == 1
    assert [check for check, each in found.items() if not each["ok"]] == ["clock", "transcribe"]


def test_a_host_name_without_an_address(tmp_path: Path) -> None:
    done = run(tmp_path, "https://nobody.invalid/v1")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert [line.split()[1] for line in lines] == ["dns", "tls", "clock"]
    assert "nobody.invalid" in lines[0]


def test_a_wrong_clock(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    ahead = formatdate(time.time() + 3600, usegmt=True)
    upstream.default = TRANSCRIPT.but(headers=[*TRANSCRIPT.headers, ("Date", ahead)])
    found = findings(run(tmp_path, upstream.base_url, "--format", "json"))["clock"]
    assert "s behind the provider's" in found["told"]
    assert "NTP" in found["advice"]


def test_an_untrusted_certificate(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    context = serving(certificate(tmp_path))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                context.wrap_socket(connection, server_side=True).close()
            except (ValueError, OSError):
                if listener.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    done = run(tmp_path, f"https://127.0.0.1:{listener.getsockname()[1]}/v1", "--format", "json")
    listener.close()
    found = findings(done)["tls"]
    assert "self-signed certificate" in found["told"]
    assert "trust" in found["advice"]


def test_a_damaged_ledger(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url) as gateway:
        assert gateway.transcribe(gateway.key, SAMPLE.read_bytes()).status_code == 200
        assert "can be written, 1 requests" in findings(gateway.invoke("doctor", "--format", "json"))["ledger"]["told"]
    pages = bytearray(gateway.ledger.read_bytes())
    pages[4096 : 4096 * 3] = bytes(8192)
    gateway.ledger.write_bytes(pages)
    done = gateway.invoke("doctor", "--format", "json")
    assert done.returncode == 1
    assert findings(done)["ledger"]["advice"]


def test_invalid_settings_are_a_failed_check(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    done = run(tmp_path, upstream.base_url, settings="colour = 'red'")
    assert done.returncode == 2
    assert done.stdout.startswith("FAIL  settings")
    assert "no such setting" in done.stdout
    assert upstream.journal == []


def test_a_model_outside_the_catalogue(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    done = run(tmp_path, upstream.base_url, "--transcribe", "--model", "gpt-9")
    assert done.returncode == 2
    assert "gpt-9" in done.stderr
    assert upstream.journal == []


def test_a_ledger_that_other_users_can_read_fails_the_check(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, upstream.base_url)
    assert gateway.command("keys", "create", "alice").returncode == 0
    assert findings(gateway.command("doctor", "--format", "json"))["ledger"]["ok"]
    gateway.ledger.chmod(0o644)
    found = findings(gateway.command("doctor", "--format", "json"))["ledger"]
    assert not found["ok"]
    assert "mode 644" in found["told"]
    assert "chmod 600" in found["advice"]
