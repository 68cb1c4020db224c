"""`audio-gateway check` reports the errors that stop `serve`, with the same line and status."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.adapters.sqlite import Database
from tests.faults.test_storage import as_nobody
from tests.stubs.gateway import GatewayProcess

UPSTREAM = "http://127.0.0.1:9/v1"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for path in Path(name).glob("**/"):
            path.chmod(0o755)


def check_and_serve(gateway: GatewayProcess, **environment: str) -> list[tuple[int, str, str]]:
    """The exit status, output and errors of `check` and of `serve`."""
    results = [gateway.command(name, **environment) for name in ("check", "serve")]
    return [(result.returncode, result.stdout, result.stderr) for result in results]


def parent_is_a_file(ledger: Path) -> None:
    ledger.parent.rmdir()
    ledger.parent.write_text("")


def other_program(ledger: Path) -> None:
    ledger.write_bytes(b"caller,cost\n" * 500)


def caller_in_both(ledger: Path) -> None:
    with closing(Database(ledger).connect()) as connection:
        connection.execute("INSERT INTO callers VALUES ('team', '{}', 1)")


@pytest.mark.parametrize(
    ("spoil", "status"), [(parent_is_a_file, 1), (other_program, 1), (Path.mkdir, 1), (caller_in_both, 2)]
)
def test_check_finds_a_ledger_that_stops_serve(tmp_path: Path, spoil: Callable[[Path], None], status: int) -> None:
    gateway = GatewayProcess(tmp_path, UPSTREAM)
    gateway.ledger = tmp_path / "data" / "ledger.db"
    gateway.ledger.parent.mkdir()
    spoil(gateway.ledger)
    checked, served = check_and_serve(gateway)
    assert checked[:2] == served[:2] == (status, "")
    assert checked[2].count("\n") == 1
    assert checked[2].startswith("audio-gateway: ")


def test_check_finds_a_missing_provider_key(tmp_path: Path) -> None:
    checked, served = check_and_serve(GatewayProcess(tmp_path, UPSTREAM), PROVIDER_KEY="")
    assert checked == served
    assert checked[:2] == (2, "")
    assert "PROVIDER_KEY holds no key" in checked[2]


def test_check_finds_an_unreadable_ca_file(tmp_path: Path) -> None:
    settings = f'ca_file = "{tmp_path / "none.pem"}"'
    checked, served = check_and_serve(GatewayProcess(tmp_path, "https://127.0.0.1:9/v1", upstream_settings=settings))
    assert checked == served
    assert checked[:2] == (2, "")


@pytest.mark.parametrize("there", [True, False], ids=["a ledger", "no ledger yet"])
def test_check_finds_a_folder_that_is_not_writable(open_folder: Path, there: bool) -> None:
    gateway = GatewayProcess(open_folder, UPSTREAM)
    gateway.ledger = open_folder / "data" / "ledger.db"
    gateway.ledger.parent.mkdir()
    if there:
        Database(gateway.ledger).connect().close()
    for path in (*gateway.ledger.parent.iterdir(), gateway.ledger.parent):
        path.chmod(path.stat().st_mode & ~0o222)
    before = sorted(gateway.ledger.parent.iterdir())
    command = [*as_nobody(), sys.executable, "-P", "-m", "app", "check", "--config", str(gateway.config)]
    environment = {**gateway.environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"audio-gateway: ledger {gateway.ledger}: ")
    assert done.stderr.count("\n") == 1
    assert sorted(gateway.ledger.parent.iterdir()) == before


@pytest.mark.parametrize("there", [True, False], ids=["beside a gateway", "before the first start"])
def test_a_good_check_prints_its_findings_and_creates_nothing(tmp_path: Path, there: bool) -> None:
    gateway = GatewayProcess(tmp_path, UPSTREAM)
    if there:
        with gateway:
            done = gateway.command("check")
    else:
        done = gateway.command("check")
        assert not gateway.ledger.exists()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ledger     {gateway.ledger}: " in done.stdout
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= 80


def test_an_address_in_use_is_an_error_of_one_line(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, UPSTREAM)
    with closing(socket.create_server(("127.0.0.1", gateway.port))):
        done = gateway.command("serve")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        rf"audio-gateway: cannot listen on 127\.0\.0\.1:{gateway.port}: Address already in use; .*\n", done.stderr
    )
    with gateway:  # the failed start leaves nothing behind
        pass


@pytest.mark.parametrize("line", ["ledger backup {}/copy.db", "ledger check {}/copy.db", "check --config {}/c.toml"])
def test_a_folder_without_search_permission_is_an_error_of_one_line(open_folder: Path, line: str) -> None:
    closed = open_folder / "closed"
    closed.mkdir()
    ledger = open_folder / "ledger.db"
    Database(ledger).connect().close()
    for path in open_folder.glob("ledger.db*"):
        path.chmod(0o666)
    open_folder.chmod(0o777)
    closed.chmod(0)
    as_user = [] if os.getuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*as_user, sys.executable, "-P", "-m", "app", *line.format(closed).split()]
    environment = {"AUDIO_GATEWAY_LEDGER__PATH": str(ledger), "PYTHONPATH": str(Path(__file__).parents[2])}
    if as_user:
        readable = subprocess.run([*as_user, sys.executable, "-c", ""], capture_output=True, check=False)
        if readable.returncode:  # an interpreter that only root can reach: capabilities to read, not to write
            command = [*as_nobody(), *command[len(as_user) :]]
            closed.chmod(0o500)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode in (1, 2), done.stdout) == (True, "")
    assert re.fullmatch(r"audio-gateway: .*\n", done.stderr), done.stderr
