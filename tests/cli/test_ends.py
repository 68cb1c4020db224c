"""How commands end if their output is closed or full, or if they are interrupted; progress bars; wrapped errors."""

import shlex
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.adapters.sqlite import Database
from app.cli.progress import ProgressBar
from tests.adapters.sqlite.maintenance.test_export import FILL, MANY
from tests.stubs.gateway import COMMAND, clean_environment
from tests.stubs.terminal import on_terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with many rows."""
    database = Database(tmp_path_factory.mktemp("ledger") / "ledger.db", "off")
    with closing(database.connect()) as connection:
        connection.execute(FILL)
    return database.path


def environment(ledger: Path) -> dict[str, str]:
    return clean_environment(AUDIO_GATEWAY_LEDGER__PATH=str(ledger), ONEROUTER_API_KEY="sk-provider")


def test_a_closed_pipe_ends_a_command_without_a_message(ledger: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "usage", "export"], env=environment(ledger), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"id": "req_00000001"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.parametrize("line", ["usage", "usage export", "keys list", "check", "keys create somebody"])
def test_a_full_disk_is_an_error_of_one_line(ledger: Path, line: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *line.split()], env=environment(ledger), stdout=full, stderr=subprocess.PIPE, check=False
        )
    errors = done.stderr.decode().splitlines()
    assert (done.returncode, errors[-1]) == (1, "audio-gateway: the output cannot be written: No space left on device")
    assert not any("Traceback" in line for line in errors)


@pytest.mark.parametrize("line", ["usage", "keys list"])
def test_a_closed_standard_output_is_no_error(ledger: Path, line: str) -> None:
    command = f"exec {shlex.join([*COMMAND, *line.split()])} >&-"
    done = subprocess.run(command, shell=True, env=environment(ledger), stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_number_that_is_too_large_is_misuse(ledger: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "audit", "--limit", "9" * 30], env=environment(ledger), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["usage export", "ledger backup copy.db"])
def test_an_interrupt_leaves_no_message_and_no_partial_file(ledger: Path, tmp_path: Path, line: str) -> None:
    with subprocess.Popen(
        [*COMMAND, *line.split()],
        env=environment(ledger) | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if line == "usage export":
            process.stdout.readline()
        else:
            wait_for_a_file(tmp_path)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert (process.returncode, errors) == (130, b"")
    assert list(tmp_path.iterdir()) == []


def wait_for_a_file(folder: Path) -> None:
    """Waits until a partial copy has content."""
    deadline = time.monotonic() + 30
    while not any(file.stat().st_size for file in folder.glob("*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_terminal_shows_progress_while_the_output_goes_to_a_file(ledger: Path) -> None:
    """The export takes more than a second on any machine."""
    path = {"AUDIO_GATEWAY_LEDGER__PATH": str(ledger)}
    ended = on_terminal(["usage", "export"], path, output=False, errors=True)
    assert ended.status == 0
    assert len(ended.output.splitlines()) == MANY
    assert "export" in ended.errors
    assert "%" in ended.errors
    assert "\x1b" not in ended.output


def test_progress_is_shown_only_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("export", delay=0) as bar:
        bar(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_fast_command_shows_no_progress(tmp_path: Path) -> None:
    ended = on_terminal(["ledger", "check"], {"AUDIO_GATEWAY_LEDGER__PATH": str(tmp_path / "none")}, errors=True)
    assert ended.status == 1
    assert "%" not in ended.output


@pytest.mark.parametrize("line", ["usage --caller nobody", "keys create a/b", "keys create --rmp 5", "reload"])
def test_an_error_is_wrapped_on_a_terminal_and_one_line_elsewhere(tmp_path: Path, line: str) -> None:
    ledger = tmp_path / "ledger.db"
    Database(ledger).connect().close()
    environment = {"AUDIO_GATEWAY_LEDGER__PATH": str(ledger)}
    whole = on_terminal(line.split(), environment, 40, output=False, errors=False)
    wrapped = on_terminal(line.split(), environment, 40, output=False, errors=True)
    assert whole.status == wrapped.status != 0
    assert whole.errors.count("\n") == 1
    assert wrapped.errors.split() == whole.errors.split()
    assert all(len(line) <= 40 or " " not in line.strip() for line in wrapped.errors.splitlines())
