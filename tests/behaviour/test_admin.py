"""The admin API: it needs the admin key, is off without one, and shows a key only in the response that creates it."""

import json
import re
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.wire import apikey
from tests.behaviour.test_kill import SILENCE
from tests.stubs.gateway import ADMIN_KEY, NO_TLS, GatewayProcess
from tests.stubs.raw import RawConnection, request
from tests.stubs.upstream import ScriptedUpstream, no_answer

ROUTES = [
    ("GET", "/callers"),
    ("POST", "/callers"),
    ("GET", "/callers/alice"),
    ("PATCH", "/callers/alice"),
    ("POST", "/callers/alice/keys"),
    ("DELETE", "/callers/alice/keys"),
    ("DELETE", "/callers/alice/keys/key_1"),
    ("GET", "/unknown"),
    ("POST", "/unknown/req_1"),
    ("GET", "/usage"),
    ("GET", "/audit"),
]
STRANGERS: dict[str, tuple[str, ...]] = {
    "no key": (),
    "a caller's key": ("Bearer {caller}",),
    "a wrong key": ("Bearer admin-0123456789abcdeg",),
    "a longer key": ("Bearer {admin}x",),
    "a shorter key": ("Bearer admin-0123456789abcde",),
    "an empty key": ("Bearer",),
    "another scheme": ("Basic {admin}",),
}


def ask(gateway: GatewayProcess, method: str, path: str, authorization: tuple[str, ...]) -> httpx.Response:
    headers = [("authorization", value.format(caller=gateway.key, admin=ADMIN_KEY)) for value in authorization]
    return httpx.request(
        method, f"{gateway.host}/admin/v1{path}", headers=headers, content=b"{not json", timeout=30, **NO_TLS
    )


@pytest.mark.parametrize("authorization", STRANGERS.values(), ids=STRANGERS.keys())
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_answers_401_without_the_admin_key(
    gateway: GatewayProcess, method: str, path: str, authorization: tuple[str, ...]
) -> None:
    answer = ask(gateway, method, path, authorization)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.content == ask(gateway, "GET", "/callers", ()).content


@pytest.mark.parametrize("authorization", ["Bearer {admin}", "bearer {admin}", "{admin}"])
def test_the_admin_key_is_accepted_in_every_authorization_format(gateway: GatewayProcess, authorization: str) -> None:
    assert ask(gateway, "GET", "/callers", (authorization,)).status_code == 200


def test_two_keys_are_a_bad_request(gateway: GatewayProcess) -> None:
    assert ask(gateway, "GET", "/callers", ("Bearer {admin}", "Bearer {caller}")).status_code == 400


def test_the_body_is_not_read_without_the_admin_key(gateway: GatewayProcess) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Length", "1000000000"), ("Expect", "100-continue")]
    with RawConnection("127.0.0.1", gateway.port) as connection:
        connection.send(request("POST", "/admin/v1/callers", headers))
        answer = connection.read_response()
    assert (answer.status, answer.interim) == (401, [])


def test_the_admin_key_is_not_a_caller_key(gateway: GatewayProcess) -> None:
    assert gateway.transcribe(ADMIN_KEY, SILENCE).status_code == 401
    assert httpx.get(f"{gateway.base_url}/usage", headers={"authorization": ADMIN_KEY}).status_code == 401


def moment(text: str) -> float:
    """Seconds since the epoch of a time in a document."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return datetime.fromisoformat(text).timestamp()


def test_every_route_is_described(gateway: GatewayProcess) -> None:
    described = httpx.get(f"{gateway.host}/openapi.json").json()["paths"]
    for method, path in ROUTES:
        name = path.replace("alice", "{caller}").replace("key_1", "{key_id}").replace("req_1", "{request_id}")
        assert described[f"/admin/v1{name}"][method.lower()]["summary"]


def test_the_lifecycle_of_a_caller(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    policy: dict[str, Any] = {
        "models": ["whisper-1"],
        "tasks": ["transcribe"],
        "rpm": 600,
        "burst": 60,
        "concurrency": 4,
        "budgets": ["5usd/day"],
        "tags": {"team": "search"},
    }
    created = gateway.admin("POST", "/callers", {"caller": "alice", "expires_in_hours": 24, **policy})
    assert created.status_code == 201
    first = created.json()["key"]
    assert apikey.is_well_formed(first)
    assert (created.json()["caller"], created.json()["terms"]) == ("alice", policy)
    (key,) = created.json()["keys"]
    assert (key["state"], key["last4"]) == ("good", first[-4:])
    assert moment(key["expires_at"]) - moment(key["created_at"]) == pytest.approx(24 * 3_600, abs=1)
    assert [each["left"] for each in created.json()["budgets"]] == ["5"]
    assert gateway.transcribe(first, SILENCE).status_code == 200

    changed = gateway.admin("PATCH", "/callers/alice", {"rpm": None, "burst": None, "concurrency": 9}).json()
    kept = {part: value for part, value in policy.items() if part not in ("rpm", "burst")}
    assert changed["terms"] == kept | {"concurrency": 9}
    assert "x-ratelimit-limit-requests" not in gateway.transcribe(first, SILENCE).headers

    rotated = gateway.admin("POST", "/callers/alice/keys", {"overlap_hours": 1}).json()
    second = rotated["key"]
    old, new = rotated["keys"]
    assert moment(old["expires_at"]) - moment(new["created_at"]) == 3_600
    assert moment(new["expires_at"]) - moment(new["created_at"]) == pytest.approx(24 * 3_600, abs=1)
    assert [gateway.transcribe(each, SILENCE).status_code for each in (first, second)] == [200, 200]

    assert gateway.admin("DELETE", f"/callers/team/keys/{old['id']}").status_code == 404
    assert gateway.admin("DELETE", f"/callers/alice/keys/{old['id']}").json() == {"revoked": [old["id"]]}
    assert [gateway.transcribe(each, SILENCE).status_code for each in (first, second)] == [401, 200]
    assert gateway.admin("DELETE", "/callers/alice/keys").json() == {"revoked": [new["id"]]}
    assert gateway.admin("DELETE", "/callers/alice/keys").status_code == 404

    (usage,) = gateway.admin("GET", "/usage?caller=alice").json()["data"]
    assert (usage["caller"], usage["requests"], usage["settled"], usage["total_tokens"]) == ("alice", 5, 5, 0)
    by_key = gateway.admin("GET", "/usage?caller=alice&by=key").json()["data"]
    assert [(each["key"], each["requests"]) for each in by_key] == [(old["id"], 3), (new["id"], 2)]
    assert gateway.admin("GET", "/usage?caller=alice&until=9999-12-31").json()["data"] == [usage]
    assert gateway.admin("GET", "/usage?caller=alice&since=2100-01-01").json()["data"] == []

    entries = gateway.admin("GET", "/audit?limit=5").json()["data"]
    assert [entry["action"] for entry in entries] == ["revoke", "revoke", "rotate", "update", "create"]
    assert {entry["actor"] for entry in entries} == {"admin-api"}
    assert (entries[3]["before"], entries[3]["after"]) == (policy, changed["terms"])

    answers = [gateway.admin("GET", path).text for path in ("/callers", "/callers/alice", "/usage", "/audit")]
    for secret in (first, second, ADMIN_KEY, apikey.digest(first)):
        assert all(secret not in answer for answer in answers)
        assert secret not in gateway.log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "named"),
    [
        ("POST", "/callers", {"caller": "a b"}, 400, "invalid_value", "name"),
        ("POST", "/callers", {"caller": "team"}, 409, "conflict", "team"),
        ("POST", "/callers", {}, 400, "invalid_value", "caller"),
        ("POST", "/callers", {"caller": "x", "rmp": 5}, 400, "invalid_value", "rmp"),
        ("POST", "/callers", {"caller": "x", "rpm": 0}, 400, "invalid_value", "rpm"),
        ("POST", "/callers", {"caller": "x", "models": ["gpt-9"]}, 400, "invalid_value", "gpt-9"),
        ("POST", "/callers", {"caller": "x", "budgets": ["5eur"]}, 400, "invalid_value", "5eur"),
        ("POST", "/callers", {"caller": "x", "expires_in_hours": 0}, 400, "invalid_value", "expires_in_hours"),
        ("POST", "/callers", {"caller": "x", "expires_in_hours": 1e300}, 400, "invalid_value", "expires_in_hours"),
        ("POST", "/callers", {"caller": "x", "expires_in_hours": 1e9}, 400, "invalid_value", "expires_in_hours"),
        ("POST", "/callers/x/keys", {"overlap_hours": -1}, 400, "invalid_value", "overlap_hours"),
        ("POST", "/callers/x/keys", {}, 404, "not_found", "x"),
        ("POST", "/callers/x/keys", None, 404, "not_found", "x"),
        ("PATCH", "/callers/x", None, 404, "not_found", "x"),
        ("POST", "/callers", None, 400, "invalid_value", "body: is required"),
        ("POST", "/unknown/x", {"release": True}, 404, "not_found", "no unknown request x"),
        ("POST", "/unknown/x", {}, 400, "invalid_value", "exactly one of release, seconds and cost_usd"),
        ("POST", "/unknown/x", {"release": True, "seconds": 1}, 400, "invalid_value", "exactly one"),
        ("POST", "/unknown/x", {"release": False}, 400, "invalid_value", "release"),
        ("GET", "/usage?caller=x", None, 404, "not_found", "no caller named x"),
        ("GET", "/usage?since=2026-11-02&until=2026-11-01", None, 400, "invalid_value", "is after until"),
        ("PATCH", "/callers/x", {"rpm": 5}, 404, "not_found", "x"),
        ("PATCH", "/callers/x", {"name": "y"}, 400, "invalid_value", "name"),
        ("GET", "/callers/x", None, 404, "not_found", "x"),
        ("DELETE", "/callers/x/keys", None, 404, "not_found", "x"),
        ("DELETE", "/callers/x/keys/key_1", None, 404, "not_found", "x"),
        ("GET", "/usage?by=colour", None, 400, "invalid_value", "by"),
        ("GET", "/usage?since=yesterday", None, 400, "invalid_value", "since"),
        ("GET", "/audit?limit=0", None, 400, "invalid_value", "limit"),
        ("GET", "/nothing", None, 404, "unknown_url", "/admin/v1/nothing"),
        ("PUT", "/callers", None, 405, "method_not_allowed", "PUT"),
    ],
)
def test_invalid_changes_are_refused(
    gateway: GatewayProcess, method: str, path: str, body: object, status: int, code: str, named: str
) -> None:
    answer = gateway.admin(method, path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert named in answer.json()["error"]["message"]
    assert "x" not in [each["caller"] for each in gateway.admin("GET", "/callers").json()["data"]]


def test_without_an_admin_key_the_api_does_not_exist(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1") as gateway:
        for method, path in ROUTES:
            for authorization in (("Bearer {admin}",), ("Bearer {caller}",), ()):
                answer = ask(gateway, method, path, authorization)
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
        described = httpx.get(f"{gateway.host}/openapi.json").json()["paths"]
        assert "/v1/usage" in described
        assert not [path for path in described if path.startswith("/admin")]


def test_the_admin_key_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text(ADMIN_KEY + "\n")
    settings = f'[admin]\nkey_file = "{tmp_path / "admin.key"}"'
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", settings) as gateway:
        assert ask(gateway, "GET", "/callers", ("Bearer {admin}",)).status_code == 200


def test_commands_and_the_api_write_the_same_audit(gateway: GatewayProcess) -> None:
    gateway.create_caller("both")
    assert gateway.command("keys", "update", "both", "--rpm", "5").returncode == 0
    entries = [entry for entry in gateway.admin("GET", "/audit").json()["data"] if entry["subject"] == "both"]
    assert [(entry["action"], entry["actor"].partition(":")[0]) for entry in entries] == [
        ("update", "cli"),
        ("create", "admin-api"),
    ]
    assert json.dumps(entries[0]["after"]) == '{"rpm": 5}'


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.headers["content-type"], answer.json()["error"]["code"]


def changed(gateway: GatewayProcess, sql: str) -> None:
    with closing(sqlite3.connect(gateway.ledger)) as connection:
        connection.execute(sql)
        connection.commit()


def test_callers_of_the_settings_are_listed_but_cannot_be_changed(gateway: GatewayProcess) -> None:
    team = gateway.admin("GET", "/callers/team").json()
    assert team == {
        "caller": "team",
        "origin": "settings",
        "created_at": None,
        "terms": {},
        "keys": [],
        "budgets": [],
    }
    assert team in gateway.admin("GET", "/callers").json()["data"]
    for method, path, body in (
        ("PATCH", "/callers/team", {"rpm": 5}),
        ("POST", "/callers/team/keys", {}),
        ("DELETE", "/callers/team/keys", None),
    ):
        answer = gateway.admin(method, path, body)
        assert error_of(answer) == (409, "application/json", "conflict")


def test_an_unexpected_error_is_an_envelope_and_is_logged_once(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", admin_key=ADMIN_KEY) as gateway:
        gateway.create_caller("alice")
        changed(gateway, "UPDATE callers SET terms = '{no json'")
        answer = gateway.admin("GET", "/callers")
        assert error_of(answer) == (500, "application/json", "internal_error")
        request_id = answer.headers["x-request-id"]
        deadline = time.monotonic() + 5
        while not (lines := [each for each in gateway.log_lines("log") if each["level"] == "error"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert [request_id in line["message"] for line in lines] == [True]
        assert "JSONDecodeError" in lines[0]["exception"]


def test_an_unreadable_ledger_is_a_503_with_retry_after(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", admin_key=ADMIN_KEY) as gateway:
        for table in ("refusals", "audit", "keys"):
            changed(gateway, f"DROP TABLE {table}")
        own = httpx.get(f"{gateway.base_url}/usage", headers={"authorization": gateway.key}, timeout=30, **NO_TLS)
        answers = [
            own,
            gateway.admin("GET", "/usage"),
            gateway.admin("GET", "/audit"),
            gateway.admin("POST", "/callers", {"caller": "alice"}),
        ]
        for answer in answers:
            assert error_of(answer) == (503, "application/json", "ledger_unavailable")
            assert answer.headers["retry-after"] == "5"
        assert [each["caller"] for each in gateway.admin("GET", "/callers").json()["data"]] == ["team"]


def test_a_budget_that_is_too_large_is_an_invalid_value(gateway: GatewayProcess) -> None:
    answer = gateway.admin("POST", "/callers", {"caller": "endless", "budgets": ["9" * 1_000_000 + "usd"]})
    assert error_of(answer) == (400, "application/json", "invalid_value")


def test_two_callers_with_the_same_key_stop_the_start(tmp_path: Path) -> None:
    key = apikey.mint(b"0" * apikey.RANDOM_BYTES)
    twice = f'[[callers]]\nname = "{{}}"\nkey_sha256 = "{apikey.digest(key)}"\n'
    variable = '[[callers]]\nname = "{}"\nkey_env = "{}"\n'
    both_in_one = variable.format("a", "KEY_A") + variable.format("b", "KEY_A")
    both_in_two = variable.format("a", "KEY_A") + variable.format("b", "KEY_B")
    one_of_each = twice.format("a") + variable.format("b", "KEY_B")
    for settings in (twice.format("a") + twice.format("b"), both_in_one, both_in_two, one_of_each):
        gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", settings, KEY_A=key, KEY_B=f" {key} ")
        for command in ("serve", "check"):
            result = gateway.command(command)
            assert result.returncode == 2
            assert result.stderr.count("\n") == 1
            assert "callers.b: has the same key as callers.a" in result.stderr
            assert key not in result.stderr


def test_a_body_of_optional_fields_can_be_omitted(gateway: GatewayProcess) -> None:
    gateway.create_caller("bodiless", rpm=5)
    rotated = gateway.admin("POST", "/callers/bodiless/keys")
    assert rotated.status_code == 201
    old, new = rotated.json()["keys"]
    assert moment(old["expires_at"]) - moment(new["created_at"]) == 24 * 3_600
    changes = len(gateway.admin("GET", "/audit").json()["data"])
    unchanged = gateway.admin("PATCH", "/callers/bodiless")
    assert (unchanged.status_code, unchanged.json()["terms"]) == (200, {"rpm": 5})
    assert len(gateway.admin("GET", "/audit").json()["data"]) == changes


def test_a_caller_without_valid_keys_gets_a_key_only_with_revive(gateway: GatewayProcess) -> None:
    gateway.create_caller("gone")
    gateway.admin("DELETE", "/callers/gone/keys")
    refused = gateway.admin("POST", "/callers/gone/keys")
    assert error_of(refused) == (409, "application/json", "conflict")
    assert gateway.admin("POST", "/callers/gone/keys", {"revive": True}).status_code == 201


def test_the_error_for_a_wrong_admin_key_names_the_admin_key(gateway: GatewayProcess) -> None:
    for authorization in ((), (f"Bearer {gateway.key}",)):
        message = ask(gateway, "GET", "/callers", authorization).json()["error"]["message"]
        assert "admin key" in message
        assert "AUDIO_GATEWAY_ADMIN_KEY" in message
        assert "sk-agw-" not in message


@pytest.mark.parametrize(
    ("billed", "expected"),
    [
        ({"release": True}, {"state": "released", "cost_usd": "0", "audio_seconds": 0}),
        ({"seconds": 0.1}, {"state": "settled", "cost_usd": "0.00001", "audio_seconds": 0.1}),
        ({"cost_usd": "0.5"}, {"state": "settled", "cost_usd": "0.5"}),
    ],
    ids=["released", "seconds", "cost"],
)
def test_unknown_requests_are_listed_and_resolved(
    upstream: ScriptedUpstream, gateway: GatewayProcess, billed: dict[str, Any], expected: dict[str, Any]
) -> None:
    key = gateway.create_caller(f"unsure-{next(iter(billed))}")
    upstream.reply(no_answer())
    request_id = gateway.transcribe(key, SILENCE).headers["x-request-id"]
    gateway.wait_for_row(request_id, "unknown")
    (row,) = gateway.admin("GET", "/unknown").json()["data"]
    assert (row["id"], row["caller"], row["model"]) == (request_id, f"unsure-{next(iter(billed))}", "whisper-1")
    assert moment(row["admitted_at"]) == pytest.approx(time.time(), abs=60)
    wrong = gateway.admin("POST", f"/unknown/{request_id}", {"cost_usd": "much"})
    assert error_of(wrong) == (400, "application/json", "invalid_value")
    closed = gateway.admin("POST", f"/unknown/{request_id}", billed)
    whole = {"id": request_id, "audio_seconds": row["held_seconds"], **expected}
    assert (closed.status_code, closed.json()) == (200, whole)
    assert gateway.row(request_id)["state"] == expected["state"]
    assert gateway.admin("GET", "/unknown").json()["data"] == []
    assert gateway.admin("POST", f"/unknown/{request_id}", billed).status_code == 404
    entry = gateway.admin("GET", "/audit").json()["data"][0]
    assert (entry["action"], entry["actor"], entry["subject"]) == ("resolve", "admin-api", request_id)


def test_every_response_of_the_admin_api_has_a_schema(gateway: GatewayProcess) -> None:
    document = httpx.get(f"{gateway.host}/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/admin"):
                (good,) = (each for status, each in operation["responses"].items() if status.startswith("2"))
                name = good["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert document["components"]["schemas"][name]["properties"], (method, path)


def test_the_api_and_the_command_show_the_same_caller(gateway: GatewayProcess) -> None:
    gateway.create_caller("twofold", rpm=5, budgets=["5usd/day", "10min"], tags={"team": "search"})
    result = gateway.invoke("keys", "show", "twofold", "--format", "json")
    assert json.loads(result.stdout) == [gateway.admin("GET", "/callers/twofold").json()]
