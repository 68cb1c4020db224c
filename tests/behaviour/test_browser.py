"""Browsers: CORS for configured origins, the content security policy of the docs page, HSTS under TLS."""

import re
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.behaviour.caller import TRANSCRIPTIONS
from tests.behaviour.test_kill import SILENCE
from tests.stubs.gateway import NO_TLS, GatewayProcess
from tests.stubs.upstream import TOKENS, ScriptedUpstream, sse_answer

PAGE, STRANGER = "https://app.example.com", "https://elsewhere.example.com"

# As a browser asks for the SDK's request.
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


@pytest.fixture(scope="module")
def open_to_a_page(
    shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    settings = f'[cors]\norigins = ["{PAGE}"]\n[server]\nforwarded_allow_ips = ["127.0.0.1"]\n'
    with GatewayProcess(tmp_path_factory.mktemp("cors"), shared_upstream.base_url, settings) as process:
        yield process


def preflight(gateway: GatewayProcess, origin: str, **others: str) -> httpx.Response:
    headers = {"origin": origin, **PREFLIGHT, **others}
    return httpx.options(f"{gateway.host}{TRANSCRIPTIONS}", headers=headers, timeout=30, **NO_TLS)


def get(gateway: GatewayProcess, path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{gateway.host}{path}", headers=named, timeout=30, **NO_TLS)


# -- CORS -------------------------------------------------------------------------------------------------------------


def test_a_preflight_from_a_configured_origin_is_allowed(open_to_a_page: GatewayProcess) -> None:
    answer = preflight(open_to_a_page, PAGE)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "x-stainless-lang" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(("origin", "method"), [(STRANGER, "POST"), (PAGE, "DELETE")], ids=["origin", "method"])
def test_other_preflights_are_refused_with_an_envelope(
    origin: str, method: str, open_to_a_page: GatewayProcess
) -> None:
    answer = preflight(open_to_a_page, origin, **{"access-control-request-method": method})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert "access-control-allow-origin" not in answer.headers


def test_a_configured_origin_can_read_responses_and_streams(
    open_to_a_page: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    plain = open_to_a_page.transcribe(open_to_a_page.key, SILENCE, origin=PAGE)
    upstream.reply(sse_answer(["Hello"], TOKENS))
    streamed = open_to_a_page.transcribe(open_to_a_page.key, SILENCE, origin=PAGE)
    refused = open_to_a_page.transcribe("sk-agw-wrong", SILENCE, origin=PAGE)
    assert [each.status_code for each in (plain, streamed, refused)] == [200, 200, 401]
    for answer in (plain, streamed, refused):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert {"x-request-id", "retry-after"} <= set(answer.headers["access-control-expose-headers"].split(", "))


def test_another_origin_cannot_read_them(open_to_a_page: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = open_to_a_page.transcribe(open_to_a_page.key, SILENCE, origin=STRANGER)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_cors_is_off_by_default(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    refused = preflight(gateway, PAGE)
    assert (refused.status_code, refused.headers["allow"]) == (204, "OPTIONS, POST")
    answer = gateway.transcribe(gateway.key, SILENCE, origin=PAGE)
    assert answer.status_code == 200
    assert [name for name in (*refused.headers, *answer.headers) if name.startswith("access-control")] == []


# -- pages ------------------------------------------------------------------------------------------------------------


def test_the_docs_page_allows_only_its_own_scripts(gateway: GatewayProcess) -> None:
    answer = get(gateway, "/docs")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"


# -- HSTS, and who is believed ----------------------------------------------------------------------------------------


def test_a_trusted_proxy_reports_tls(open_to_a_page: GatewayProcess) -> None:
    over_tls = get(open_to_a_page, "/docs", x_forwarded_proto="https", x_forwarded_for="203.0.113.7")
    assert over_tls.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in get(open_to_a_page, "/docs").headers


def test_no_proxy_is_trusted_by_default(gateway: GatewayProcess) -> None:
    response = get(gateway, "/docs", x_forwarded_proto="https", x_forwarded_for="203.0.113.7")
    assert "strict-transport-security" not in response.headers


def test_an_unlisted_proxy_is_not_trusted(tmp_path: Path, shared_upstream: ScriptedUpstream) -> None:
    settings = '[server]\nforwarded_allow_ips = ["10.0.0.0/8"]\n'
    with GatewayProcess(tmp_path, shared_upstream.base_url, settings, FORWARDED_ALLOW_IPS="*") as process:
        assert "strict-transport-security" not in get(process, "/docs", x_forwarded_proto="https").headers


@pytest.mark.parametrize("believed", [True, False])
def test_the_callers_address_is_forwarded_only_by_a_trusted_proxy(
    believed: bool, gateway: GatewayProcess, open_to_a_page: GatewayProcess
) -> None:
    target = open_to_a_page if believed else gateway
    refused = get(target, "/v1/models", authorization="Bearer sk-agw-wrong", x_forwarded_for="203.0.113.7")
    address = "203.0.113.7" if believed else "127.0.0.1"
    message = f"request {refused.headers['x-request-id']} from {address} is refused"
    deadline = time.monotonic() + 30
    while not any(message in line["message"] for line in target.log_lines("log")):
        assert time.monotonic() < deadline, target.log.read_text()
        time.sleep(0.05)
