"""The demo as its users run it, from another folder and with settings of their own in the environment."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from app.config import DEFAULT_MODELS, load
from app.demo import SAMPLE
from app.demo.demo import SERVED_PORT
from app.demo.environment import config, free_port
from tests.demo.clips import WORDS

COMMAND = [sys.executable, "-m", "app", "demo"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which the demo's temporary folders are countable, and a gateway's settings would disturb it."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "AUDIO_GATEWAY_SERVER__PORT": "1",
        "AUDIO_GATEWAY_NO_SUCH_SETTING": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }


def left_behind(environment: dict[str, str]) -> list[Path]:
    return list(Path(environment["TMPDIR"]).iterdir())


def demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, cwd=environment["TMPDIR"], capture_output=True, text=True, check=False
    )


def test_the_demo_shows_the_words_twice_and_the_usage(environment: dict[str, str]) -> None:
    done = demo(environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).count(WORDS) == 2
    assert max(map(len, done.stdout.partition("6. usage")[0].splitlines())) <= 80
    header, _, row = done.stdout.partition("6. usage")[2].strip().splitlines()[:3]
    assert header.split()[:2] == ["caller", "requests"]
    assert row.split()[:3] == ["demo", "2", "2"]
    assert left_behind(environment) == []


def test_a_file_that_does_not_exist_is_an_error(environment: dict[str, str]) -> None:
    done = demo(environment, "nothing.wav")
    assert done.returncode == 1
    assert "no such file" in done.stderr


def test_a_file_that_the_gateway_refuses_is_an_error(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    notes = tmp_path_factory.mktemp("notes") / "notes.wav"
    notes.write_text("no audio\n")
    done = demo(environment, str(notes))
    assert done.returncode == 1
    assert "400 invalid_file_format" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(environment) == []


class Served:
    """`demo --serve` in a process of its own, and what it has printed up to the log of requests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen([*COMMAND, "--serve"], env=environment, stdout=subprocess.PIPE, text=True)
        self.shown = ""
        while line := self.line():
            self.shown += line
            if line.startswith("One line for each request"):
                break
        found = re.findall(r"^export (OPENAI_\w+)=(\S+)$", self.shown, re.MULTILINE)
        self.exports = dict(found)
        self.host = self.exports["OPENAI_BASE_URL"].removesuffix("/v1")

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def block(self, title: str) -> str:
        """The commands under a heading of what is shown."""
        return self.shown.partition(f"# {title}")[2].partition("\n")[2].partition("\n\n")[0]

    def stop(self) -> str:
        """Whatever it prints to its end."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=30)
        return rest


@pytest.fixture
def served(environment: dict[str, str]) -> Iterator[Served]:
    made = Served(environment)
    yield made
    if made.process.poll() is None:
        made.stop()


def elsewhere(command: str, **variables: str) -> str:
    """What a command prints in another terminal: another folder, and an environment that knows nothing of the demo."""
    environment = {"PATH": os.defpath, **variables}
    done = subprocess.run(command, shell=True, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_serve_runs_until_it_is_stopped(environment: dict[str, str], served: Served) -> None:
    client = OpenAI(base_url=served.exports["OPENAI_BASE_URL"], api_key=served.exports["OPENAI_API_KEY"], max_retries=0)
    assert client.audio.transcriptions.create(model="whisper-1", file=SAMPLE).text == WORDS
    assert "stopped" in served.stop()
    assert served.process.returncode == 0
    assert left_behind(environment) == []


def test_the_commands_that_serve_shows_work_in_another_terminal(served: Served) -> None:
    python = served.block("Python")
    assert WORDS in elsewhere(f"{shlex.quote(sys.executable)} -c {shlex.quote(python)}", **served.exports)
    usage = elsewhere(served.block("What the caller has used"))
    assert re.search(r"^demo +3 ", usage, re.MULTILINE)
    assert f"{served.host}/docs" in served.shown


def test_serve_shows_one_line_for_each_request(served: Served) -> None:
    client = OpenAI(base_url=served.exports["OPENAI_BASE_URL"], api_key=served.exports["OPENAI_API_KEY"], max_retries=0)
    for _ in range(2):
        client.audio.transcriptions.create(model="whisper-1", file=SAMPLE)
    shown = [line for line in (served.line() for _ in range(3)) if line.strip()]
    assert len(shown) == 2
    assert all("200" in line and "whisper-1" in line and not line.startswith("{") for line in shown)


def test_serve_takes_another_port_where_its_own_is_in_use(environment: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        # Where it cannot be taken here, it is in use already.
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", SERVED_PORT)))
        served = Served(environment)
        served.stop()
    assert served.host != f"http://127.0.0.1:{SERVED_PORT}"
    assert f"port {SERVED_PORT} is in use" in served.shown


def test_a_free_port_is_the_preferred_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_the_models_of_the_demo_are_those_that_the_engine_can_be(served: Served, tmp_path: Path) -> None:
    """The engine has no speakers, so no model that promises them is listed; the others have the catalogue's prices."""
    client = OpenAI(base_url=served.exports["OPENAI_BASE_URL"], api_key=served.exports["OPENAI_API_KEY"], max_retries=0)
    assert [model.id for model in client.models.list()] == ["whisper-1", "gpt-4o-mini-transcribe"]
    file = tmp_path / "config.toml"
    file.write_text(config(8080, tmp_path / "ledger.db", "http://127.0.0.1:1/v1"))
    assert set(load(file, {}).models) <= set(DEFAULT_MODELS)
    file.unlink()


def test_an_interrupted_demo_leaves_nothing_behind(environment: dict[str, str]) -> None:
    with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.stdout.read()
    assert process.returncode == 130
    assert left_behind(environment) == []
