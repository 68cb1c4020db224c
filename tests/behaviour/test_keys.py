"""Callers and keys from the command line, on a running gateway: from the first key to the last revocation."""

import json
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from app.wire import apikey
from tests.behaviour.test_kill import SILENCE
from tests.stubs.callers import BusyCallers
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.upstream import TOKENS, ScriptedUpstream, json_answer
from tests.stubs.vitals import wait_for

ALL_OPTIONS = [
    *("--model", "whisper-1", "--model", "gpt-transcribe", "--task", "transcribe", "--expires", "90d"),
    *("--rpm", "600", "--burst", "100", "--concurrency", "8", "--budget", "50usd/month", "--budget", "600min/day"),
    *("--budget", "1000000tokens/week", "--tag", "team=search", "--tag", "site=eu"),
]
ALL_TERMS = {
    "models": ["gpt-transcribe", "whisper-1"],
    "tasks": ["transcribe"],
    "rpm": 600,
    "burst": 100,
    "concurrency": 8,
    "budgets": ["50usd/month", "600min/day", "1000000tokens/week"],
    "tags": {"site": "eu", "team": "search"},
}


def keys(gateway: GatewayProcess, *arguments: str) -> list[dict[str, Any]]:
    """What `keys ... --format json` prints."""
    result = gateway.invoke("keys", *arguments, "--format", "json")
    assert result.returncode == 0, result.stderr
    assert result.stderr in ("", f"ledger: {gateway.ledger}\n")
    return list(json.loads(result.stdout))


def status_with(gateway: GatewayProcess, key: str) -> int:
    return httpx.get(f"{gateway.base_url}/models", headers={"authorization": f"Bearer {key}"}, timeout=30).status_code


def test_the_lifecycle_of_a_caller(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    upstream.default = json_answer("hello", TOKENS)
    (created,) = keys(gateway, "create", "alice", *ALL_OPTIONS)
    assert created["caller"] == "alice"
    first = created["key"]
    answer = gateway.transcribe(first, SILENCE)
    assert answer.status_code == 200
    row = gateway.row(answer.headers["x-request-id"])

    (alice,) = keys(gateway, "show", "alice")
    assert (alice["caller"], alice["terms"]) == ("alice", ALL_TERMS)
    (key,) = alice["keys"]
    assert (key["id"], key["last4"], key["state"]) == (row["key_id"], first[-4:], "good")
    assert key["expires_at"] > key["created_at"]
    assert key["last_used_at"] is not None
    money, minutes, tokens = alice["budgets"]
    assert (money["budget"], money["spent"], money["held"]) == ("50usd/month", "0.0000496", "0")
    assert (money["left"], minutes["spent"]) == ("49.9999504", "0.008266667")
    assert (tokens["spent"], tokens["left"]) == ("59", "999941")

    (rotated,) = keys(gateway, "rotate", "alice", "--overlap", "24h")
    second = rotated["key"]
    assert second != first
    listed = {each["caller"]: each for each in keys(gateway, "list")}
    assert listed["team"]["keys"] == []  # of a caller in the settings there is nothing to manage
    old, new = listed["alice"]["keys"]
    assert (old["state"], new["state"], new["last4"]) == ("good", "good", second[-4:])
    assert listed["alice"]["terms"] == ALL_TERMS
    assert listed["alice"]["budgets"][2]["spent"] == "59"

    rows = [gateway.row(gateway.transcribe(each, SILENCE).headers["x-request-id"]) for each in (first, second)]
    assert [each["key_id"] for each in rows] == [old["id"], new["id"]]
    assert {each["caller"] for each in rows} == {"alice"}

    (updated,) = keys(gateway, "update", "alice", "--rpm", "30", "--unlimited", "budgets", "--unlimited", "burst")
    assert updated == {"caller": "alice"} | {
        part: value for part, value in ALL_TERMS.items() if part not in ("budgets", "burst")
    } | {"rpm": 30}
    assert gateway.transcribe(second, SILENCE).headers["x-ratelimit-limit-requests"] == "30"

    assert keys(gateway, "revoke", old["id"]) == [{"key": old["id"]}]
    assert (status_with(gateway, first), status_with(gateway, second)) == (401, 200)
    assert keys(gateway, "revoke", "alice") == [{"key": new["id"]}]
    assert status_with(gateway, second) == 401

    entries = json.loads(gateway.command("audit", "--format", "json").stdout)
    ours = [entry for entry in entries if entry["subject"] in ("alice", old["id"])]
    assert [entry["action"] for entry in ours] == ["revoke", "revoke", "update", "rotate", "create"]
    assert all(entry["actor"].startswith("cli") for entry in ours)
    assert all(secret not in json.dumps(entries) for secret in (first, second))


def test_a_key_is_printed_once_and_only_its_hash_is_kept(gateway: GatewayProcess) -> None:
    result = gateway.command("keys", "create", "bob")
    key = result.stdout.removesuffix("\n")
    assert apikey.is_well_formed(key)
    assert "bob" in result.stderr
    assert key not in result.stderr
    assert status_with(gateway, key) == 200
    later = [gateway.command(*words).stdout for words in (("keys", "list"), ("keys", "show", "bob"), ("audit",))]
    assert all("bob" in text and key not in text for text in later)
    kept = b"".join(file.read_bytes() for file in gateway.folder.iterdir() if file.is_file())
    assert key.encode() not in kept
    assert apikey.digest(key).encode() in kept
    assert PROVIDER_KEY.encode() not in kept


def test_the_policy_is_enforced(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("narrow", models=["gpt-transcribe"], tasks=["transcribe"])
    assert gateway.transcribe(key, SILENCE, "gpt-transcribe").status_code == 200
    other = gateway.transcribe(key, SILENCE, "whisper-1")
    assert (other.status_code, other.json()["error"]["code"]) == (403, "model_not_allowed")
    translation = httpx.post(
        f"{gateway.base_url}/audio/translations",
        headers={"authorization": key},
        data={"model": "whisper-1"},
        files={"file": ("a.wav", SILENCE)},
    )
    assert (translation.status_code, translation.json()["error"]["code"]) == (403, "task_not_allowed")
    assert len(upstream.journal) == 1


def test_a_key_expires_on_time(gateway: GatewayProcess) -> None:
    created = gateway.admin("POST", "/callers", {"caller": "brief", "expires_in_hours": 0.0003}).json()
    ends = datetime.fromisoformat(created["keys"][0]["expires_at"]).timestamp()
    assert status_with(gateway, created["key"]) == 200
    time.sleep(max(0.0, ends - time.time()))
    assert status_with(gateway, created["key"]) == 401
    assert gateway.admin("GET", "/callers/brief").json()["keys"][0]["state"] == "expired"


def test_a_rotation_under_load_fails_no_request(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    old = gateway.create_caller("busy")
    with BusyCallers(gateway, SILENCE, count=4, key=old) as callers:
        wait_for_more(callers, 20)
        (rotated,) = keys(gateway, "rotate", "busy", "--overlap", "1h")
        wait_for_more(callers, 20)
        callers.key = rotated["key"]
        wait_for_more(callers, 20)
    assert (callers.refused, callers.lost) == ([], 0)
    first, second = (key["id"] for key in gateway.admin("GET", "/callers/busy").json()["keys"])
    used = [row["key_id"] for row in gateway.rows("caller = 'busy'")]
    assert len(used) == len(callers.seen) >= 60
    assert set(used) == {first, second}
    assert used[:40] == [first] * 40
    assert used[-10:] == [second] * 10
    assert {each["caller"] for each in gateway.usage("--caller", "busy")} == {"busy"}


def wait_for_more(callers: BusyCallers, count: int) -> None:
    enough, deadline = len(callers.seen) + count, time.monotonic() + 20
    while len(callers.seen) < enough:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_an_overlap_the_old_key_expires_at_once(gateway: GatewayProcess) -> None:
    old = gateway.create_caller("abrupt")
    (rotated,) = keys(gateway, "rotate", "abrupt", "--overlap", "0m")
    assert (status_with(gateway, old), status_with(gateway, rotated["key"])) == (401, 200)


def test_a_revocation_takes_effect_within_a_second(gateway: GatewayProcess) -> None:
    key = gateway.create_caller("revoked")
    good_until, stop = 0.0, threading.Event()

    def ask() -> None:
        nonlocal good_until
        with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            while not stop.is_set():
                sent_at = time.time()
                if client.get(f"{gateway.base_url}/models").status_code != 200:
                    return
                good_until = sent_at

    asking = threading.Thread(target=ask)
    asking.start()
    assert wait_for(lambda: good_until > 0)
    keys(gateway, "revoke", "revoked")
    time.sleep(0.2)
    stop.set()
    asking.join()
    revoked_at = gateway.admin("GET", "/callers/revoked").json()["keys"][0]["revoked_at"]
    assert 0 < good_until < datetime.fromisoformat(revoked_at).timestamp() + 1
    assert status_with(gateway, key) == 401


def test_a_name_in_the_settings_and_the_ledger_stops_the_start(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    taken = gateway.command("keys", "create", "team")
    assert (taken.returncode, taken.stdout) == (1, "")
    assert "team" in taken.stderr
    assert gateway.command("keys", "create", "twin").returncode == 0
    gateway.config.write_text(gateway.config.read_text().replace('"team"', '"twin"'))
    result = gateway.command("serve")
    assert result.returncode == 2
    assert result.stderr.startswith("audio-gateway: callers.twin: ")
