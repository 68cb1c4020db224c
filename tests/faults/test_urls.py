"""P: paths and methods of real clients: HEAD, OPTIONS, a slightly wrong base_url, CORS origins."""

from collections.abc import Iterator

import httpx
import pytest

from tests.behaviour.caller import FORM, connect, error_of, form
from tests.faults.heads import HEALTH
from tests.faults.outcomes import refused
from tests.stubs.gateway import ADMIN_KEY, METRICS_KEY, NO_TLS, GatewayProcess
from tests.stubs.raw import RawResponse, multipart, request
from tests.stubs.upstream import ScriptedUpstream

GET_PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v1/models",
    "/v1/models/whisper-1",
    "/v1/models/no-such-model",
    "/v1/usage",
    "/v1/unknown",
    "/admin/v1/callers",
    "/admin/v1/callers/team",
    "/admin/v1/audit",
)
VOLATILE = {"date", "x-request-id", "content-length"}


def key_for(gateway: GatewayProcess, path: str) -> str:
    return ADMIN_KEY if path.startswith(("/admin", "/metrics")) else gateway.key


def ask(gateway: GatewayProcess, method: str, path: str, key: str = "", **headers: str) -> RawResponse:
    """Returns the response, and checks that the connection accepts another request."""
    given = [("Authorization", f"Bearer {key}")] if key else []
    with connect(gateway) as caller:
        caller.send(request(method, path, [*given, *headers.items()]))
        answer = caller.read_response(method)
        caller.send(HEALTH)
        assert caller.read_response().status == 200
    return answer


@pytest.mark.parametrize("with_key", [True, False], ids=["key", "no-key"])
@pytest.mark.parametrize("path", GET_PATHS)
def test_P256_head_gets_the_headers_of_get(gateway: GatewayProcess, path: str, with_key: bool) -> None:
    key = key_for(gateway, path) if with_key else ""
    get, head = ask(gateway, "GET", path, key), ask(gateway, "HEAD", path, key)
    assert get.body
    assert (head.status, head.body) == (get.status, b"")
    assert {name for name, _ in head.headers} == {name for name, _ in get.headers}
    assert [h for h in head.headers if h[0] not in VOLATILE] == [h for h in get.headers if h[0] not in VOLATILE]
    if path != "/metrics":
        # An error names its method: GET, or HEAD.
        assert abs(int(head.header("content-length") or 0) - int(get.header("content-length") or 0)) <= 1


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/audio/transcriptions", "OPTIONS, POST"),
        ("/admin/v1/callers", "GET, HEAD, OPTIONS, POST"),
        ("/admin/v1/callers/team", "GET, HEAD, OPTIONS, PATCH"),
        ("/admin/v1/callers/team/keys", "DELETE, OPTIONS, POST"),
        ("/admin/v1/callers/team/keys/x", "DELETE, OPTIONS"),
    ],
)
def test_P257_a_wrong_method_gets_405_with_all_methods_of_the_path(
    gateway: GatewayProcess, path: str, allowed: str
) -> None:
    for method in {"DELETE", "GET", "PATCH", "POST", "PUT", "TRACE"} - set(allowed.split(", ")):
        answer = ask(gateway, method, path, ADMIN_KEY)
        refused(answer, 405, "method_not_allowed")
        assert answer.header("allow") == allowed
        assert error_of(answer)["message"].endswith(f"it takes {allowed}.")
    answer = ask(gateway, "OPTIONS", path)
    assert (answer.status, answer.header("allow"), answer.body) == (204, allowed, b"")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/speech/translations", "/v1/speech/translations"),
        ("/v1/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1//audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/audio/transcriptions/", "/v1/audio/transcriptions"),
        ("/v1/models/", "/v1/models"),
        ("/models/whisper-1", "/v1/models/whisper-1"),
        ("/v1/audio/transcriptions/audio/transcriptions", "/v1/audio/transcriptions"),
    ],
)
def test_P258_the_error_names_the_mistake_in_a_slightly_wrong_base_url(
    gateway: GatewayProcess, upstream: ScriptedUpstream, path: str, meant: str
) -> None:
    method, body = ("GET", b"") if "models" in path else ("POST", multipart(form()))
    with connect(gateway) as caller:
        caller.send(request(method, path, [("Authorization", gateway.key), FORM], body))
        answer = caller.read_response()
    refused(answer, 404, "unknown_url")
    assert error_of(answer)["message"].startswith(f"Unknown request URL: {method} {path}. Did you mean {meant}? ")
    assert upstream.journal == []


def test_P260_metrics_need_their_key_behind_a_proxy_without_headers(gateway: GatewayProcess) -> None:
    """nginx with `proxy_pass` alone forwards from this machine, without forwarding headers."""
    for key, status in (("", 401), (f"Bearer {gateway.key}", 401), (f"Bearer {METRICS_KEY}", 200)):
        headers = [("Host", f"127.0.0.1:{gateway.port}"), ("Connection", "close"), ("Authorization", key)]
        with connect(gateway) as caller:
            caller.send(request("GET", "/metrics", headers).replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert caller.read_response().status == status


# -- CORS -------------------------------------------------------------------------------------------------------------

ORIGINS = (
    "app://obsidian.md",
    "tauri://localhost",
    "capacitor://localhost",
    "chrome-extension://abcdef",
    "file://",
    "null",
)


@pytest.fixture(scope="module")
def for_apps(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = f"[cors]\norigins = {list(ORIGINS)}"
    with GatewayProcess(tmp_path_factory.mktemp("apps"), shared_upstream.base_url, settings) as process:
        yield process


def preflight(gateway: GatewayProcess, origin: str) -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
        "access-control-request-private-network": "true",
    }
    return httpx.options(f"{gateway.base_url}/audio/transcriptions", headers=headers, timeout=30, **NO_TLS)


@pytest.mark.parametrize("origin", ORIGINS)
def test_P259_an_allowed_origin_passes_the_preflight(for_apps: GatewayProcess, origin: str) -> None:
    answer = preflight(for_apps, origin)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "app://elsewhere", "tauri://localhost.evil"])
def test_P259_another_origin_fails_the_preflight(for_apps: GatewayProcess, origin: str) -> None:
    answer = preflight(for_apps, origin)
    assert answer.status_code == 400
    assert [name for name in answer.headers if name.startswith("access-control")] == []
