"""Help, shell completion and exit statuses."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from app.cli import app
from app.cli.exit_codes import STATUSES
from tests.adapters.sqlite.older import old_ledger
from tests.cli.test_keys import run
from tests.contract.test_docs import is_valid_command
from tests.stubs.gateway import clean_environment


def every_command(group: TyperGroup, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands and groups, each with the words that name it."""
    for name, command in group.commands.items():
        yield (*words, name), command
        if isinstance(command, TyperGroup):
            yield from every_command(command, (*words, name))


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = {" ".join(words): command for words, command in every_command(ROOT)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_has_a_valid_example(name: str) -> None:
    paragraphs = [" ".join(paragraph.split()) for paragraph in str(COMMANDS[name].help).split("\n\n")]
    examples = [text.removeprefix("Example: ") for text in paragraphs if text.startswith("Example: ")]
    assert examples
    for example in examples:
        line = example.partition("audio-gateway ")[2].partition(" > ")[0]
        assert line == name or line.startswith(f"{name} ")
        assert is_valid_command(line.split())


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_text_fits_eighty_columns(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert name == "" or "Example: " in shown.stdout


def test_the_exit_statuses_are_in_the_help_and_in_the_runbook() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout.split())
    runbook = (Path(__file__).parents[2] / "docs" / "operate.md").read_text("utf-8")
    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", runbook, re.MULTILINE))
    assert table == {str(status): meaning for status, meaning in STATUSES.items()}
    for status, meaning in STATUSES.items():
        assert f"{status} {meaning}" in shown


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home with the command in its path, and a ledger with the callers alice and bob."""
    home = tmp_path_factory.mktemp("home")
    database = old_ledger(home / "ledger.db", 1)
    database.path.rename(home / "old.db")
    run(home, "keys", "create", "alice")
    run(home, "keys", "create", "bob")
    command = home / "audio-gateway"
    command.write_text(f"#!{sys.executable}\nfrom app.cli import app\napp()\n")
    command.chmod(0o755)
    return home


def in_bash(home: Path, script: str, ledger: str = "ledger.db") -> str:
    environment = clean_environment(
        HOME=str(home),
        PATH=f"{home}:/usr/bin:/bin",
        PYTHONPATH=str(Path(__file__).parents[2]),
        AUDIO_GATEWAY_LEDGER__PATH=str(home / ledger),
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def completions(home: Path, words: str, ledger: str = "ledger.db") -> list[str]:
    """The completions that bash offers after these words."""
    count = len(words.split()) - (not words.endswith(" "))
    script = (
        'eval "$(audio-gateway --show-completion)"; '
        f"COMP_WORDS=({words}); COMP_CWORD={count}; _audio_gateway_completion audio-gateway; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return in_bash(home, script, ledger).split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("audio-gateway ledger ", ["backup", "check", "prune", "unknown", "resolve"]),
        ("audio-gateway keys show a", ["alice"]),
        ("audio-gateway usage --caller b", ["bob"]),
    ],
)
def test_commands_and_callers_are_completed(home: Path, words: str, offered: list[str]) -> None:
    assert completions(home, words) == offered


@pytest.mark.parametrize("ledger", ["nothing.db", "old.db"])
def test_completion_creates_no_ledger_and_prints_no_error(home: Path, ledger: str) -> None:
    assert completions(home, "audio-gateway keys show a", ledger) == []
    assert not (home / "nothing.db").exists()


def test_completion_can_be_installed(home: Path) -> None:
    # bash replaces itself with a single command, and typer looks for the shell among its parent processes.
    output = in_bash(home, "audio-gateway --install-completion && :")
    assert "bash completion installed" in output
    words = "COMP_WORDS=(audio-gateway le); COMP_CWORD=1; _audio_gateway_completion audio-gateway; echo $COMPREPLY"
    assert in_bash(home, f"source ~/.bashrc; {words}") == "ledger\n"
