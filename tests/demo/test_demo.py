"""The demo as users run it: from another folder, with settings of another gateway in the environment."""

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
    """An environment with its own temporary folder, and with settings that would break the demo if it used them."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "AUDIO_GATEWAY_SERVER__PORT": "1",
        "AUDIO_GATEWAY_NO_SUCH_SETTING": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }


def leftovers(environment: dict[str, str]) -> list[Path]:
    return list(Path(environment["TMPDIR"]).iterdir())


def demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, cwd=environment["TMPDIR"], capture_output=True, text=True, check=False
    )


def test_the_demo_prints_both_transcripts_and_the_usage(environment: dict[str, str]) -> None:
    result = demo(environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert " ".join(result.stdout.split()).count(WORDS) == 2
    assert max(map(len, result.stdout.partition("6. usage")[0].splitlines())) <= 80
    header, _, row = result.stdout.partition("6. usage")[2].strip().splitlines()[:3]
    assert header.split()[:2] == ["caller", "requests"]
    assert row.split()[:3] == ["demo", "2", "2"]
    assert leftovers(environment) == []


def test_a_file_that_does_not_exist_is_an_error(environment: dict[str, str]) -> None:
    result = demo(environment, "nothing.wav")
    assert result.returncode == 1
    assert "no such file" in result.stderr


def test_a_file_that_the_gateway_rejects_is_an_error(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    notes = tmp_path_factory.mktemp("notes") / "notes.wav"
    notes.write_text("no audio\n")
    result = demo(environment, str(notes))
    assert result.returncode == 1
    assert "400 invalid_file_format" in result.stderr
    assert "Traceback" not in result.stderr
    assert leftovers(environment) == []


class Served:
    """A process of `demo --serve`, and its output up to the log of requests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen([*COMMAND, "--serve"], env=environment, stdout=subprocess.PIPE, text=True)
        self.output = ""
        while line := self.line():
            self.output += line
            if line.startswith("One line for each request"):
                break
        found = re.findall(r"^export (OPENAI_\w+)=(\S+)$", self.output, re.MULTILINE)
        self.exports = dict(found)
        self.host = self.exports["OPENAI_BASE_URL"].removesuffix("/v1")

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def block(self, title: str) -> str:
        """The commands under a heading of the output."""
        return self.output.partition(f"# {title}")[2].partition("\n")[2].partition("\n\n")[0]

    def stop(self) -> str:
        """Ends the process; returns the rest of its output."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=30)
        return rest


@pytest.fixture
def served(environment: dict[str, str]) -> Iterator[Served]:
    process = Served(environment)
    yield process
    if process.process.poll() is None:
        process.stop()


def run_elsewhere(command: str, **variables: str) -> str:
    """The output of a shell command in another folder and an environment without the demo's variables."""
    environment = {"PATH": os.defpath, **variables}
    result = subprocess.run(command, shell=True, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_serve_runs_until_it_is_stopped(environment: dict[str, str], served: Served) -> None:
    client = OpenAI(base_url=served.exports["OPENAI_BASE_URL"], api_key=served.exports["OPENAI_API_KEY"], max_retries=0)
    assert client.audio.transcriptions.create(model="whisper-1", file=SAMPLE).text == WORDS
    assert "stopped" in served.stop()
    assert served.process.returncode == 0
    assert leftovers(environment) == []


def test_the_printed_commands_work_in_another_terminal(served: Served) -> None:
    python = served.block("Python")
    assert WORDS in run_elsewhere(f"{shlex.quote(sys.executable)} -c {shlex.quote(python)}", **served.exports)
    usage = run_elsewhere(served.block("The caller's usage"))
    assert re.search(r"^demo +3 ", usage, re.MULTILINE)
    assert f"{served.host}/docs" in served.output


def test_serve_prints_one_line_for_each_request(served: Served) -> None:
    client = OpenAI(base_url=served.exports["OPENAI_BASE_URL"], api_key=served.exports["OPENAI_API_KEY"], max_retries=0)
    for _ in range(2):
        client.audio.transcriptions.create(model="whisper-1", file=SAMPLE)
    lines = [line for line in (served.line() for _ in range(3)) if line.strip()]
    assert len(lines) == 2
    assert all("200" in line and "whisper-1" in line and not line.startswith("{") for line in lines)


def test_serve_uses_another_port_if_its_own_is_in_use(environment: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        # If this fails, the port is already in use.
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", SERVED_PORT)))
        served = Served(environment)
        served.stop()
    assert served.host != f"http://127.0.0.1:{SERVED_PORT}"
    assert f"port {SERVED_PORT} is in use" in served.output


def test_the_preferred_port_is_used_if_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_the_demo_lists_only_models_that_the_engine_supports(served: Served, tmp_path: Path) -> None:
    """The engine recognises no speakers, so no diarizing model is listed."""
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
    assert leftovers(environment) == []
