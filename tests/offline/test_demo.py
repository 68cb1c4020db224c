"""The demo as its users run it, from another folder and with settings of their own in the environment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from app.offline import SAMPLE
from tests.offline.clips import WORDS

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
    assert done.stdout.count(WORDS) == 2
    header, _, row = done.stdout.rstrip().splitlines()[-3:]
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


def test_serve_leaves_both_running_until_it_is_told_to_stop(environment: dict[str, str]) -> None:
    with subprocess.Popen([*COMMAND, "--serve"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told: dict[str, str] = {}
        for line in process.stdout:
            name, _, value = line.partition(" ")
            told[name] = value.strip()
            if line.startswith("print("):
                break
        client = OpenAI(base_url=told["base_url"], api_key=told["key"], max_retries=0)
        assert client.audio.transcriptions.create(model="whisper-1", file=SAMPLE).text == WORDS
        process.send_signal(signal.SIGTERM)
        assert "stopped" in process.stdout.read()
    assert process.returncode == 0
    assert left_behind(environment) == []


def test_an_interrupted_demo_leaves_nothing_behind(environment: dict[str, str]) -> None:
    with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.stdout.read()
    assert process.returncode == 130
    assert left_behind(environment) == []
