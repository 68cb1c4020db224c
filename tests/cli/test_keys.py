"""`audio-gateway keys`, `ledger` and `usage`: what cannot be done is told in one line, and changes nothing."""

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


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("keys create a/b", 2, "a caller's name"),
        ("keys create x --model gpt-9", 2, "gpt-9"),
        ("keys create x --task sing", 2, "tasks"),
        ("keys create x --budget 5eur", 2, "5eur"),
        ("keys create x --budget 5usd/day --budget 6usd/day", 2, "budgets"),
        ("keys create x --rpm -1", 2, "rpm"),
        ("keys create x --rpm 0", 2, "rpm"),  # rather than no limit
        ("keys create x --concurrency 0", 2, "concurrency"),
        ("keys create x --burst 5", 2, "burst"),
        ("keys create x --tag team", 2, "team"),
        ("keys create x --tag Team=a", 2, "tags"),
        ("keys create x --expires soon", 2, "soon"),
        ("keys create x --expires 999999w", 2, "a hundred years"),
        ("keys rotate x --overlap 1y", 2, "1y"),
        ("keys update x --rpm 5", 1, "no caller named x"),
        ("keys update x", 2, "nothing to change"),
        ("keys update x --unlimited all", 2, "all"),
        ("keys update x --rpm 5 --unlimited rpm", 2, "rpm is both set and named by --unlimited"),
        ("keys update x --budget 5usd --unlimited budgets --unlimited rpm", 2, "budgets is both set and named"),
        ("keys show x", 1, "no caller named x"),
        ("keys rotate x", 1, "no caller named x"),
        ("keys revoke x", 1, "no key of x"),
        ("ledger resolve req_1", 2, "name one of"),
        ("ledger resolve req_1 --release --cost 1", 2, "name one of"),
        ("ledger resolve req_1 --release", 1, "no unknown request req_1"),
        ("usage --tag team", 2, "team=search"),
        ("usage --caller x", 1, "no caller named x"),
        ("usage --by day --caller x --format csv", 1, "no caller named x"),
        ("usage --since 2026-11-02 --until 2026-11-01", 1, "--since 2026-11-02 is after --until 2026-11-01"),
        ("usage export --since 2026-11-02 --until 2026-11-01", 1, "is after --until"),
        ("usage --since yesterday", 2, "'yesterday' is not a day such as 2026-11-01"),
        ("usage --by colour", 2, "'colour' is not one of 'caller'"),
        ("keys create x --rpm many", 2, "'--rpm': must be a whole number"),
        ("keys create x --rmp 5", 2, "no such option: --rmp"),
        ("keys create", 2, "missing argument 'NAME'; see `audio-gateway keys create --help`"),
        ("keys frobnicate", 2, "no such command 'frobnicate'"),
        ("frobnicate", 2, "no such command 'frobnicate'"),
        ("audit --limit 0", 2, "'--limit': must be 1 or more"),
        ("usage export --format xml", 2, "xml"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(tmp_path: Path, line: str, status: int, words: str) -> None:
    Database(tmp_path / "ledger.db").connect().close()
    done = run(tmp_path, *line.split())
    assert (done.exit_code, done.stdout) == (status, "")
    assert re.fullmatch(rf"audio-gateway: .*{re.escape(words)}.*\n", done.stderr)
    assert run(tmp_path, "audit", "--format", "json").stdout == "[]\n"


def test_a_ledger_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
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


def test_callers_of_the_settings_are_shown_and_not_changed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(SETTINGS)
    assert run(tmp_path, "keys", "create", "zoe").exit_code == 0
    listed = json.loads(run(tmp_path, "keys", "list", "--config", str(config), "--format", "json").stdout)
    assert [(each["caller"], each["origin"]) for each in listed] == [("team", "settings"), ("zoe", "ledger")]
    (shown,) = json.loads(run(tmp_path, "keys", "show", "team", "--config", str(config), "--format", "json").stdout)
    assert shown["terms"] == {"rpm": 4, "budgets": ["5usd/month"]}
    assert [each["left"] for each in shown["budgets"]] == ["5"]
    assert shown == listed[0]
    assert re.search(r"^team +settings ", run(tmp_path, "keys", "list", "--config", str(config)).stdout, re.MULTILINE)
    for line in ("keys update team --rpm 9", "keys rotate team", "keys revoke team"):
        refused = run(tmp_path, *line.split(), "--config", str(config))
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr == "audio-gateway: team is a caller of the settings: change it there\n"


@pytest.mark.parametrize("change", ["--rpm 7", "--unlimited models", "--model kept", "--model gone --model kept"])
def test_a_caller_of_a_model_that_has_left_the_catalogue_can_be_changed(tmp_path: Path, change: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(catalogue("gone", "kept"))
    assert run(tmp_path, "keys", "create", "zoe", "--model", "gone", "--config", str(config)).exit_code == 0
    config.write_text(catalogue("kept"))
    done = run(tmp_path, "keys", "update", "zoe", *change.split(), "--config", str(config))
    assert (done.exit_code, done.stdout != "") == (0, True), done.stderr
    wrong = run(tmp_path, "keys", "update", "zoe", "--model", "other", "--config", str(config))
    assert (wrong.exit_code, "'other' is not in the catalogue" in wrong.stderr) == (2, True)


def catalogue(*models: str) -> str:
    return "".join(f'[[models]]\nid = "{each}"\ntasks = ["transcribe"]\nprice = "free"\n' for each in models)


def test_a_rotation_tells_when_each_key_ends(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "zoe", "--expires", "90d")
    done = run(tmp_path, "keys", "rotate", "zoe", "--overlap", "2h")
    assert re.search(r"^The new key ends \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$", done.stderr, re.MULTILINE)
    assert re.search(r"^The key \.\.\.\w{4} ends \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$", done.stderr, re.MULTILINE)
    (again,) = json.loads(run(tmp_path, "keys", "rotate", "zoe", "--overlap", "1h", "--format", "json").stdout)
    assert again["caller"] == "zoe"
    assert len(again["ending_keys"]) == 2
    assert all(each["expires_at"] < again["expires_at"] for each in again["ending_keys"])


def test_a_revoked_caller_gets_a_key_only_with_a_flag(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "zoe")
    run(tmp_path, "keys", "revoke", "zoe")
    refused = run(tmp_path, "keys", "rotate", "zoe")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "all keys of zoe are revoked" in refused.stderr
    assert run(tmp_path, "keys", "rotate", "zoe", "--revive").exit_code == 0


def test_the_version_and_a_short_option_for_help(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"audio-gateway {__version__}\n"
    for line in ("-h", "keys -h", "keys create -h", "ledger check -h", "serve -h"):
        long = line.replace("-h", "--help")
        shown = run(tmp_path, *line.split())
        assert (shown.exit_code, shown.stdout) == (0, run(tmp_path, *long.split()).stdout)
        assert not re.search(r"<(bool|list.*|int range)>|%Y", shown.stdout)
        assert "..." not in shown.stdout.replace("[ARGS]...", "").replace("ONEROUTER_API_KEY=...", "")
