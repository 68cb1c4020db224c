"""The programs of docs/examples, unchanged, against a real gateway. curl and Go are the system's."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import audio
from tests.sdk import node
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import TOKENS, ScriptedUpstream, error_answer, json_answer, no_answer, sse_answer
from tests.system import tools

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECONDS = 90

CLIP = audio.make("wav", "pcm_s16le", 1.0)


@dataclass(frozen=True)
class Program:
    """One example. `repeats` is whether it retries by itself, as the SDKs do."""

    command: list[str]
    repeats: bool

    def start(self, gateway: GatewayProcess, *arguments: str | Path, key: str | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.command, *map(str, arguments)],
            env={**node.environment(), "OPENAI_BASE_URL": gateway.base_url, "OPENAI_API_KEY": key or gateway.key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, gateway: GatewayProcess, *arguments: str | Path, key: str | None = None) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        with self.start(gateway, *arguments, key=key) as process:
            out, err = process.communicate(timeout=SECONDS)
            return process.returncode, out, err


def python(_: Path) -> Program:
    return Program([sys.executable, str(EXAMPLES / "transcribe.py")], repeats=True)


def javascript(folder: Path) -> Program:
    """Node looks for its packages beside the program."""
    node.install()
    (folder / "node_modules").symlink_to(node.MODULES)
    return Program([str(node.executable()), str(shutil.copy(EXAMPLES / "transcribe.mjs", str(folder)))], repeats=True)


def curl(_: Path) -> Program:
    tools.path_of("curl")
    return Program(["sh", str(EXAMPLES / "transcribe.sh")], repeats=False)


def go(folder: Path) -> Program:
    command = [tools.path_of("go"), "build", "-o", str(folder / "transcribe"), str(EXAMPLES / "transcribe.go")]
    subprocess.run(command, check=True, env={**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"})
    return Program([str(folder / "transcribe")], repeats=False)


@pytest.fixture(
    scope="module",
    params=[
        python,
        javascript,
        pytest.param(curl, marks=pytest.mark.system),
        pytest.param(go, marks=pytest.mark.system),
    ],
    ids=lambda made: made.__name__,
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    made: Callable[[Path], Program] = request.param
    return made(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under a name that must be quoted."""
    file = tmp_path_factory.mktemp("clip") / "a clip; of Monday, 9:00.wav"
    file.write_bytes(CLIP)
    return file


@pytest.mark.parametrize(
    ("task", "path", "model"),
    [
        ("transcribe", "/v1/audio/transcriptions", "gpt-4o-transcribe"),
        ("translate", "/v1/audio/translations", "whisper-1"),
    ],
)
def test_an_example_prints_the_transcript(
    program: Program, gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path, task: str, path: str, model: str
) -> None:
    upstream.reply(json_answer("Hello, my name is Wolfgang."))
    status, out, err = program.run(gateway, task, clip)
    assert status == 0, err
    assert "Hello, my name is Wolfgang." in out
    (exchange,) = upstream.journal
    assert (exchange.path, exchange.file.data) == (path, CLIP)
    assert {part.name: part.data for part in exchange.form()}["model"] == model.encode()


def test_an_example_prints_a_stream_as_it_arrives(
    program: Program, gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path
) -> None:
    gate = threading.Event()
    upstream.reply(sse_answer(["Hello", ", world"], TOKENS).but(tail_gate=gate))
    with program.start(gateway, "stream", clip) as process:
        assert process.stdout is not None
        out = ""
        while ", world" not in out:
            piece = process.stdout.read(1)
            assert piece, process.communicate()
            out += piece
        gate.set()
        rest, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, (rest, err)
    assert out.index("Hello") < out.index(", world")


def test_an_error_is_printed_with_its_request_id(
    program: Program, gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path
) -> None:
    status, out, err = program.run(gateway, "transcribe", clip, key="sk-agw-wrong")
    assert status != 0
    assert "invalid_api_key" in out + err
    assert "req_" in err
    assert "Traceback" not in err
    assert upstream.journal == []


def test_a_request_that_may_be_billed_is_not_retried(
    program: Program, gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path
) -> None:
    upstream.reply(no_answer())
    status, out, err = program.run(gateway, "translate", clip)
    assert status != 0
    assert "upstream_error" in out + err
    assert len(upstream.journal) == 1


def test_a_retryable_request_is_retried_or_reported_as_such(
    program: Program, gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path
) -> None:
    upstream.reply(error_answer(429, "rate_limit", "slow down", headers=[("retry-after-ms", "1")]))
    status, out, err = program.run(gateway, "translate", clip)
    if program.repeats:
        assert (status, out.strip(), len(upstream.journal)) == (0, "hello", 2), err
    else:
        assert status != 0
        assert "upstream_rate_limited" in out + err


def test_a_broken_stream_is_an_error(
    program: Program, gateway: GatewayProcess, upstream: ScriptedUpstream, clip: Path
) -> None:
    upstream.reply(sse_answer(["Hello", ", world"], done=False))
    status, out, err = program.run(gateway, "stream", clip)
    assert "Hello" in out
    # curl prints bytes, not events. Its output ends with the error.
    assert status != 0 or "upstream_cut" in out, (out, err)
