"""Reports while the gateway runs: budgets, tags, exported rows, and unknown requests."""

import csv
import io
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.behaviour.test_kill import SILENCE
from tests.behaviour.test_limits import head_only
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream, no_answer

# What one request of SILENCE costs at the price of whisper-1, and what it holds.
COST = BOUND = "0.0000496"


@pytest.fixture(scope="module")
def tagged(gateway: GatewayProcess) -> str:
    """The key of a caller with a tag of his own."""
    return gateway.create_caller("tagged", tags={"site": "eu"})


def own_usage(gateway: GatewayProcess, key: str, query: str = "") -> dict[str, Any]:
    answer = httpx.get(f"{gateway.base_url}/usage{query}", headers={"authorization": key}, timeout=30)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def run(gateway: GatewayProcess, *arguments: str) -> str:
    result = gateway.invoke(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def eventually(predicate: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_budgets_are_the_same_in_every_report(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("alice", rpm=600, budgets=["0.001usd/day", "10min"])
    assert gateway.transcribe(key, SILENCE).status_code == 200
    own = own_usage(gateway, key)
    assert own["limits"] == {"rpm": 600, "burst": None, "concurrency": None}
    assert [(each["model"], each["requests"], each["cost_usd"]) for each in own["data"]] == [("whisper-1", 1, COST)]
    money, minutes = own["budgets"]
    tomorrow = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 86_400))
    assert money == {
        "budget": "0.001usd/day",
        "spent": COST,
        "held": "0",
        "left": "0.0009504",
        "resets_at": tomorrow,
    }
    assert minutes == {
        "budget": "10min/total",
        "spent": "0.008266667",
        "held": "0",
        "left": "9.991733333",
        "resets_at": None,
    }
    (row,) = gateway.usage("--caller", "alice")
    assert row["budgets"] == own["budgets"]
    assert row["limits"] == own["limits"]
    table = run(gateway, "usage", "--caller", "alice")
    assert all(word in table for word in ("0.001usd/day", "0.00095", "resets (UTC)", tomorrow[:10]))


def test_a_caller_sees_only_its_own_usage(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("lonely")
    assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
    assert own_usage(gateway, key)["data"] == []
    assert own_usage(gateway, key, "?caller=team&by=caller")["data"] == []


@pytest.mark.parametrize(
    "tags",
    [
        ["Team=search"],
        ["team"],
        ["team="],
        ["=search"],
        ["team=a,team=b"],
        ["team=a", "team=b"],
        ["team=" + "x" * 65],
        ["t" * 33 + "=x"],
        [",".join(f"k{n}=v" for n in range(9))],
        ["team=\u00e9"],
        [",".join(f"k{n}=v" for n in range(8))],  # one too many together with the caller's own
        [""],
    ],
)
def test_an_invalid_tag_is_refused_before_the_body(gateway: GatewayProcess, tagged: str, tags: list[str]) -> None:
    answer = head_only(gateway, tagged, *(("x-gateway-tag", tag) for tag in tags))
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_tag")
    assert answer.interim == []


def test_usage_by_tag(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("split", tags={"site": "eu"})
    for tags in ("project=a", "project=a, part=x", "project=b/c d", None, "site=us"):
        more = {} if tags is None else {"x_gateway_tag": tags}
        assert gateway.transcribe(key, SILENCE, **more).status_code == 200
    expected = {"part=x": 1, "project=a": 2, "project=b/c d": 1, "site=eu": 4, "site=us": 1}
    assert {each["tag"]: each["requests"] for each in own_usage(gateway, key, "?by=tag")["data"]} == expected
    assert {each["tag"]: each["requests"] for each in gateway.usage("--by", "tag", "--caller", "split")} == expected
    (row,) = gateway.usage("--tag", "project=a", "--tag", "site=eu", "--caller", "split")
    assert (row["requests"], row["cost_usd"]) == (2, "0.0000992")
    (row,) = own_usage(gateway, key, "?tag=project%3Da&tag=part%3Dx")["data"]
    assert row["requests"] == 1
    wrong = httpx.get(f"{gateway.base_url}/usage?tag=project", headers={"authorization": key})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_field")
    assert not [name for exchange in upstream.journal for name, _ in exchange.headers if "tag" in name.lower()]


def test_the_export_has_the_rows(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    key = gateway.create_caller("exported")
    ids = [gateway.transcribe(key, SILENCE, x_gateway_tag="n=1").headers["x-request-id"] for _ in range(3)]
    lines = [json.loads(line) for line in run(gateway, "usage", "export").splitlines()]
    ours = [line for line in lines if line["caller"] == "exported"]
    assert [line["id"] for line in ours] == ids
    assert {(line["state"], line["cost_usd"], line["held_usd"]) for line in ours} == {("settled", COST, BOUND)}
    assert all(line["tags"] == {"n": "1"} for line in ours)
    result = gateway.command("usage", "export", "--format", "csv", "--verify")
    assert (result.returncode, result.stderr) == (0, "audio-gateway: totals and states agree with the rows\n")
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["id"] for row in table] == [line["id"] for line in lines]
    assert set(table[0]) == set(lines[0])
    assert run(gateway, "usage", "export", "--until", "2020-01-01") == ""
    with closing(sqlite3.connect(gateway.ledger)) as connection, connection:
        connection.execute("UPDATE daily SET cost_nano_usd = cost_nano_usd + 1 WHERE caller = 'exported'")
    result = gateway.command("usage", "export", "--verify")
    with closing(sqlite3.connect(gateway.ledger)) as connection, connection:
        connection.execute("UPDATE daily SET cost_nano_usd = cost_nano_usd - 1 WHERE caller = 'exported'")
    assert result.returncode == 1
    assert "the sums of exported / " in result.stderr


def test_unknown_requests_are_resolved_in_three_ways(upstream: ScriptedUpstream, gateway: GatewayProcess) -> None:
    """Each leaves 50.6 of 60 millionths of a dollar charged until somebody has looked."""
    ids: list[str] = []
    ways = {
        ("--release",): ("released", "0"),
        ("--seconds", "0.1"): ("settled", "0.00001"),
        ("--cost", "0.00007"): ("settled", "0.00007"),
    }
    for way, (state, spent) in ways.items():
        key = gateway.create_caller(f"unsure-{way[0][2:]}", budgets=["0.00006usd"])
        upstream.reply(no_answer())
        lost = gateway.transcribe(key, SILENCE)
        assert (lost.status_code, lost.headers["x-should-retry"]) == (502, "false")
        ids.append(lost.headers["x-request-id"])
        gateway.wait_for_row(ids[-1], "unknown")
        (unknown,) = json.loads(run(gateway, "ledger", "unknown", "--format", "json"))
        assert (unknown["id"], unknown["caller"], unknown["held_usd"]) == (ids[-1], f"unsure-{way[0][2:]}", BOUND)
        assert ids[-1] in run(gateway, "ledger", "resolve", ids[-1], *way)
        row = gateway.row(ids[-1])
        assert row["state"] == state
        assert own_usage(gateway, key)["budgets"][0]["spent"] == spent
    assert run(gateway, "ledger", "unknown", "--format", "json") == "[]\n"
    again = gateway.command("ledger", "resolve", ids[0], "--release")
    assert (again.returncode, again.stderr) == (1, f"audio-gateway: there is no unknown request {ids[0]}\n")
    entries = json.loads(run(gateway, "audit", "--format", "json"))
    resolved = [entry for entry in entries if entry["action"] == "resolve"]
    assert [entry["subject"] for entry in resolved] == ids[::-1]
    assert [entry["after"]["state"] for entry in resolved] == ["settled", "settled", "released"]
    assert all(entry["before"]["cost_usd"] == BOUND for entry in resolved)


def test_a_running_gateway_applies_a_resolution_within_about_a_second(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    key = gateway.create_caller("waiting", budgets=["0.00004usd"])
    upstream.reply(no_answer())
    lost = gateway.transcribe(key, SILENCE)
    refused = gateway.transcribe(key, SILENCE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    gateway.wait_for_row(lost.headers["x-request-id"], "unknown")
    run(gateway, "ledger", "resolve", lost.headers["x-request-id"], "--release")
    assert eventually(lambda: gateway.transcribe(key, SILENCE).status_code == 200, 2.5)
    assert own_usage(gateway, key)["budgets"][0]["spent"] == COST
