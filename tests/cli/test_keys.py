"""`audio-gateway keys`, `ledger` and `usage`: what cannot be done is told in one line, and changes nothing."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.adapters.ledger import Database
from app.cli import app


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"AUDIO_GATEWAY_LEDGER__PATH": str(folder / "ledger.db")})


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
        ("keys show x", 1, "no caller named x"),
        ("keys rotate x", 1, "no caller named x"),
        ("keys revoke x", 1, "no key of x"),
        ("ledger resolve req_1", 2, "name one of"),
        ("ledger resolve req_1 --release --cost 1", 2, "name one of"),
        ("ledger resolve req_1 --release", 1, "no unknown row req_1"),
        ("usage --tag team", 2, "team=search"),
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
