"""The ledger of a command: reading creates none, a change prints its path, and only its user can read it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from tests.cli.test_keys import run
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess

READING = (
    "audit",
    "keys list",
    "keys show x",
    "ledger check",
    "ledger unknown",
    "ledger backup copy.db",
    "usage",
    "usage export",
)
CHANGING_WHAT_IS_THERE = (
    "keys update x --rpm 5",
    "keys rotate x",
    "keys revoke x",
    "ledger resolve req_1 --release",
    "ledger prune --older-than 400d",
)


@pytest.mark.parametrize("line", [*READING, *CHANGING_WHAT_IS_THERE])
def test_reading_a_missing_ledger_creates_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(tmp_path / "new", *line.split())
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"audio-gateway: ledger {tmp_path}/new/ledger.db: there is no such file")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["keys create a/b", "keys create x --model gpt-9", "keys create x --budget 5eur"])
def test_an_invalid_caller_creates_no_ledger(tmp_path: Path, line: str) -> None:
    assert run(tmp_path / "new", *line.split()).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_every_change_prints_the_path_of_the_ledger(tmp_path: Path) -> None:
    named = f"ledger: {tmp_path / 'ledger.db'}\n"
    for line in (
        "keys create x --format json",
        "keys update x --rpm 5",
        "keys rotate x",
        "keys revoke x",
    ):
        done = run(tmp_path, *line.split())
        assert done.exit_code == 0, done.stderr
        assert named in done.stderr
        assert named not in done.stdout
    for line in ("keys list", "usage", "audit", "ledger unknown"):
        assert run(tmp_path, *line.split()).stderr == ""


def test_the_ledger_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is made in one folder is one of the gateway that serves from another."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert plain("keys", "create", name).exit_code == 0
    listed = json.loads(plain("keys", "list", "--format", "json").stdout)
    assert [each["caller"] for each in listed] == ["first", "second"]
    assert [each.name for each in tmp_path.glob("*/*")] == ["audio-gateway"]


@pytest.mark.parametrize("umask", [0o022, 0o000], ids=["usual", "none"])
def test_only_its_user_can_read_a_ledger(tmp_path: Path, umask: int) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", admin_key=ADMIN_KEY)
    gateway.ledger = tmp_path / "new" / "ledger.db"
    gateway.program = ("sh", "-c", f'umask {umask:03o}; exec "$0" "$@"', *gateway.program)
    with gateway:
        gateway.create_caller("alice")
        modes = {each.name: each.stat().st_mode & 0o777 for each in gateway.ledger.parent.iterdir()}
        assert set(modes) >= {"ledger.db", "ledger.db-wal", "ledger.db.lock"}
        assert set(modes.values()) == {0o600}
        assert gateway.ledger.parent.stat().st_mode & 0o777 == 0o700


def plain(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)
