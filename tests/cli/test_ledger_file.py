"""`audio-gateway ledger backup`, `check` and `prune`, beside a busy gateway and without one."""

import json
import re
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from app.adapters.sqlite import Database
from app.adapters.sqlite.migration import migrate
from tests.adapters.sqlite.entries import rows
from tests.adapters.sqlite.older import old_ledger
from tests.behaviour.test_keys import wait_for_more
from tests.behaviour.test_kill import SILENCE
from tests.cli.test_keys import run
from tests.stubs.callers import BusyCallers
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import TOKENS, ScriptedUpstream, json_answer

# So that the rows of 2025 are pruned, and not those of 2026, on whatever day this runs.
OLDER = f"{(datetime.now(UTC).date() - date(2025, 10, 1)).days}d"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with rows in every state, most of them old."""
    database = old_ledger(tmp_path / "ledger.db", 1)
    migrate(database)
    return database.path


def verdicts(output: str) -> dict[str, tuple[str, list[str]]]:
    findings: list[dict[str, Any]] = json.loads(output)
    return {finding["check"]: (finding["verdict"], finding["faults"] + finding["remarks"]) for finding in findings}


def test_backup_check_and_prune_fail_no_request_of_a_busy_gateway(tmp_path: Path) -> None:
    old_ledger(tmp_path / "ledger.db", 1)
    with ScriptedUpstream(keep_bodies=False) as upstream, GatewayProcess(tmp_path, upstream.base_url) as gateway:
        upstream.default = json_answer("hello", TOKENS)
        old = gateway.usage("--until", "2025-12-31", "--by", "day")
        with BusyCallers(gateway, SILENCE, count=2) as callers:
            wait_for_more(callers, 5)
            done = [
                gateway.command("ledger", "backup", str(tmp_path / "copy.db")),
                gateway.command("ledger", "check", "--format", "json"),
                gateway.command("ledger", "prune", "--older-than", OLDER),
                gateway.command("ledger", "check", "--format", "json"),
                gateway.command("ledger", "check", str(tmp_path / "copy.db"), "--format", "json"),
            ]
            wait_for_more(callers, 5)
        assert (callers.refused, callers.lost) == ([], 0)
        assert [each.returncode for each in done] == [0] * 5
        assert [each.stderr for each in done] == ["", "", f"ledger: {gateway.ledger}\n", "", ""]
        assert [{verdict for verdict, _ in verdicts(done[n].stdout).values()} - {"note"} for n in (1, 3, 4)] == [
            {"ok"}
        ] * 3
        assert verdicts(done[1].stdout)["rows"] == ("ok", [])
        assert gateway.usage("--until", "2025-12-31", "--by", "day") == old
        states = {row["state"] for row in gateway.rows("admitted_ms < 1760000000000")}
        assert states == {"unknown"}
        assert rows(tmp_path / "copy.db", "SELECT count(*) AS n FROM requests WHERE id LIKE 'req___'") == [{"n": 26}]


def test_a_backup_replaces_no_file(ledger: Path) -> None:
    target = ledger.with_name("copy.db")
    first = run(ledger.parent, "ledger", "backup", str(target))
    assert (first.exit_code, first.stderr) == (0, "")
    assert re.fullmatch(r"\S+/copy\.db: 0\.1 MB\n", first.stdout)
    again = run(ledger.parent, "ledger", "backup", str(target))
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith(f"audio-gateway: backup {target}: ")


def test_a_check_reports_faults_and_exits_with_1(ledger: Path) -> None:
    assert run(ledger.parent, "ledger", "check").exit_code == 0
    with closing(Database(ledger).connect()) as connection:
        connection.execute("UPDATE requests SET error = NULL WHERE id = 'req_19'")
        connection.execute("DELETE FROM daily WHERE caller = 'bob' AND day = '2025-09-01'")
    done = run(ledger.parent, "ledger", "check")
    assert done.exit_code == 1
    assert re.search(r"^rows +wrong .*: req_19", done.stdout, re.MULTILINE)
    assert re.search(r"^sums +wrong .*bob / 2025-09-01 / key_2 / transcribe", done.stdout, re.MULTILINE)
    faults = verdicts(run(ledger.parent, "ledger", "check", "--quick", "--format", "json").stdout)
    assert faults["rows"][1][0].endswith(": req_19")


def test_a_dry_run_changes_nothing_and_a_prune_is_audited(ledger: Path) -> None:
    before = rows(ledger, "SELECT * FROM requests")
    dry = run(ledger.parent, "ledger", "prune", "--older-than", OLDER, "--dry-run")
    summary = r"10 rows from 2025-08-31 to before \d{4}-\d\d-\d\d (would be )?pruned; 7 held or unknown rows stay\n"
    assert (dry.exit_code, dry.stderr) == (0, "")
    assert re.fullmatch(summary, dry.stdout)
    assert rows(ledger, "SELECT * FROM requests") == before
    done = run(ledger.parent, "ledger", "prune", "--older-than", OLDER)
    assert re.fullmatch(summary, done.stdout)
    (entry,) = rows(ledger, "SELECT * FROM audit WHERE action = 'prune'")
    assert entry["actor"].startswith("cli")
    assert json.loads(entry["before"]) == {"rows": 10, "first_day": "2025-08-31"}
    again = run(ledger.parent, "ledger", "prune", "--older-than", OLDER)
    assert again.stdout.startswith("nothing to prune before ")
    assert len(rows(ledger, "SELECT * FROM audit WHERE action = 'prune'")) == 1


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("ledger prune", 2, "--older-than"),
        ("ledger prune --older-than 23h", 2, "a day or more"),
        ("ledger prune --older-than soon", 2, "'soon'"),
        ("ledger prune --older-than 400d", 1, "there is no such file"),
        ("ledger check", 1, "there is no such file"),
        ("ledger backup copy.db", 1, "there is no such file"),
        ("ledger backup", 2, "missing argument"),
    ],
)
def test_a_failed_command_creates_no_file(tmp_path: Path, line: str, status: int, words: str) -> None:
    done = run(tmp_path, *line.split())
    assert (done.exit_code, done.stdout) == (status, "")
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["ledger check", "usage", "keys create x"])
def test_commands_refuse_a_ledger_of_an_older_gateway(tmp_path: Path, line: str) -> None:
    database = old_ledger(tmp_path / "ledger.db", 1)
    done = run(tmp_path, *line.split())
    assert (done.exit_code, done.stdout) == (1, "")
    assert "(schema 1)" in done.stderr
    assert database.version() == 1


def test_an_export_reports_pruned_rows(ledger: Path) -> None:
    run(ledger.parent, "ledger", "prune", "--older-than", OLDER)
    done = run(ledger.parent, "usage", "export", "--until", "2025-12-31", "--verify")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 7
    pruned, verified = done.stderr.splitlines()
    assert "10 rows" in pruned
    assert "agree" in verified
