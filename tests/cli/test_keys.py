"""`audio-gateway keys`, `usage` and `ledger resolve`: an error is one line, and changes nothing."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app import __version__
from app.adapters.sqlite import Database
from app.cli import app


def run(folder: Path, *arguments: str) -> Result:
    environment = {"AUDIO_GATEWAY_LEDGER__PATH": str(folder / "ledger.db")}
    return CliRunner().invoke(app, arguments, env=environment, prog_name="audio-gateway")


# A command line, its exit status, and what the error names.
ERRORS = [
    ("keys create a/b", 2, "name"),
    ("keys create x --model gpt-9", 2, "gpt-9"),
    ("keys create x --task sing", 2, "tasks"),
    ("keys create x --budget 5eur", 2, "5eur"),
    ("keys create x --budget 5usd/day --budget 6usd/day", 2, "budgets"),
    ("keys create x --rpm 0", 2, "rpm"),  # 0 does not mean unlimited
    ("keys create x --concurrency 0", 2, "concurrency"),
    ("keys create x --burst 5", 2, "burst"),
    ("keys create x --tag team", 2, "team"),
    ("keys create x --tag Team=a", 2, "tags"),
    ("keys create x --expires soon", 2, "soon"),
    ("keys create x --expires 999999w", 2, "999999w"),
    ("keys create x --rpm many", 2, "--rpm"),
    ("keys create x --rmp 5", 2, "--rmp"),
    ("keys create", 2, "see `audio-gateway keys create --help`"),
    ("keys rotate x --overlap 1y", 2, "1y"),
    ("keys rotate x", 1, "x"),
    ("keys revoke x", 1, "x"),
    ("keys show x", 1, "x"),
    ("keys update x", 2, "option"),
    ("keys update x --rpm 5", 1, "x"),
    ("keys update x --unlimited all", 2, "all"),
    ("keys update x --rpm 5 --unlimited rpm", 2, "--unlimited"),
    ("keys frobnicate", 2, "frobnicate"),
    ("ledger resolve req_1", 2, "name one of"),
    ("ledger resolve req_1 --release --cost 1", 2, "name one of"),
    ("ledger resolve req_1 --release", 1, "req_1"),
    ("usage --tag team", 2, "team=search"),
    ("usage --by day --caller x --format csv", 1, "x"),
    ("usage --since 2026-11-02 --until 2026-11-01", 1, "--until 2026-11-01"),
    ("usage --since yesterday", 2, "yesterday"),
    ("usage --by colour", 2, "colour"),
    ("usage export --since 2026-11-02 --until 2026-11-01", 1, "--until"),
    ("usage export --format xml", 2, "xml"),
    ("audit --limit 0", 2, "--limit"),
    ("frobnicate", 2, "frobnicate"),
]


@pytest.mark.parametrize(("line", "status", "named"), ERRORS)
def test_an_error_is_one_line_and_changes_nothing(tmp_path: Path, line: str, status: int, named: str) -> None:
    Database(tmp_path / "ledger.db").connect().close()
    result = run(tmp_path, *line.split())
    assert (result.exit_code, result.stdout) == (status, "")
    assert re.fullmatch(rf"audio-gateway: .*{re.escape(named)}.*\n", result.stderr)
    assert run(tmp_path, "audit", "--format", "json").stdout == "[]\n"


def test_a_ledger_that_is_not_a_database_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("caller,cost\n" * 500)
    for line in ("keys list", "keys create x", "usage", "usage export", "ledger unknown", "audit"):
        done = run(tmp_path, *line.split())
        assert (done.exit_code, done.stdout) == (1, "")
        assert re.fullmatch(r"audio-gateway: ledger .*ledger\.db: this file is not a database;.*\n", done.stderr)


SETTINGS = """
[[callers]]
name = "team"
key_sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
rpm = 4
budgets = ["5usd/month"]
"""


def test_callers_of_the_settings_are_listed_but_cannot_be_changed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(SETTINGS)
    assert run(tmp_path, "keys", "create", "zoe").exit_code == 0
    listed = json.loads(run(tmp_path, "keys", "list", "--config", str(config), "--format", "json").stdout)
    assert [(caller["caller"], caller["origin"]) for caller in listed] == [("team", "settings"), ("zoe", "ledger")]
    (shown,) = json.loads(run(tmp_path, "keys", "show", "team", "--config", str(config), "--format", "json").stdout)
    assert shown["terms"] == {"rpm": 4, "budgets": ["5usd/month"]}
    assert [budget["left"] for budget in shown["budgets"]] == ["5"]
    assert shown == listed[0]
    assert re.search(r"^team +settings ", run(tmp_path, "keys", "list", "--config", str(config)).stdout, re.MULTILINE)
    for line in ("keys update team --rpm 9", "keys rotate team", "keys revoke team"):
        refused = run(tmp_path, *line.split(), "--config", str(config))
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert re.fullmatch(r"audio-gateway: .*team.*\n", refused.stderr)


@pytest.mark.parametrize("change", ["--rpm 7", "--unlimited models", "--model kept", "--model gone --model kept"])
def test_a_caller_with_a_model_that_left_the_catalogue_can_be_updated(tmp_path: Path, change: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(catalogue("gone", "kept"))
    assert run(tmp_path, "keys", "create", "zoe", "--model", "gone", "--config", str(config)).exit_code == 0
    config.write_text(catalogue("kept"))
    done = run(tmp_path, "keys", "update", "zoe", *change.split(), "--config", str(config))
    assert (done.exit_code, done.stdout != "") == (0, True), done.stderr
    wrong = run(tmp_path, "keys", "update", "zoe", "--model", "other", "--config", str(config))
    assert (wrong.exit_code, "'other' is not in the catalogue" in wrong.stderr) == (2, True)


def catalogue(*models: str) -> str:
    return "".join(f'[[models]]\nid = "{model}"\ntasks = ["transcribe"]\nprice = "free"\n' for model in models)


def test_a_rotation_prints_when_each_key_expires(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "zoe", "--expires", "90d")
    done = run(tmp_path, "keys", "rotate", "zoe", "--overlap", "2h")
    assert re.search(r"^The new key expires \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$", done.stderr, re.MULTILINE)
    assert re.search(r"^The key \.\.\.\w{4} expires \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$", done.stderr, re.MULTILINE)
    (again,) = json.loads(run(tmp_path, "keys", "rotate", "zoe", "--overlap", "1h", "--format", "json").stdout)
    assert again["caller"] == "zoe"
    assert len(again["ending_keys"]) == 2
    assert all(key["expires_at"] < again["expires_at"] for key in again["ending_keys"])


def test_a_caller_without_valid_keys_gets_a_key_only_with_revive(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "zoe")
    run(tmp_path, "keys", "revoke", "zoe")
    refused = run(tmp_path, "keys", "rotate", "zoe")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--revive" in refused.stderr
    assert run(tmp_path, "keys", "rotate", "zoe", "--revive").exit_code == 0


def test_version_and_short_help_option(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"audio-gateway {__version__}\n"
    for line in ("-h", "keys -h", "keys create -h", "ledger check -h", "serve -h"):
        long = line.replace("-h", "--help")
        shown = run(tmp_path, *line.split())
        assert (shown.exit_code, shown.stdout) == (0, run(tmp_path, *long.split()).stdout)
        assert not re.search(r"<(bool|list.*|int range)>|%Y", shown.stdout)
        assert "..." not in shown.stdout.replace("[ARGS]...", "").replace("ONEROUTER_API_KEY=...", "")
