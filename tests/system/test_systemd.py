"""systemd accepts the unit, and the gateway works within its restrictions."""

import re
import sys
import time
from pathlib import Path

import pytest

from tests import audio
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream
from tests.system import tools

pytestmark = pytest.mark.system

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "audio-gateway.service"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text, commands = re.subn("/opt/audio-gateway/bin/audio-gateway", sys.executable, UNIT.read_text("utf-8"))
    assert commands == 2
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = tools.run("systemd-analyze", "verify", copy)
    assert (done.returncode, done.stderr) == (0, "")


def allowed(group: str) -> set[str]:
    """Returns the system calls of a group such as `@system-service`, with those of nested groups."""
    done = tools.run("systemd-analyze", "syscall-filter", group)
    assert done.returncode == 0, done.stderr
    _, *lines = (line.strip() for line in done.stdout.splitlines())
    named = {line for line in lines if line and not line.startswith("#")}
    return {call for name in named for call in (allowed(name) if name.startswith("@") else {name})}


def test_the_gateway_makes_no_system_call_that_the_unit_forbids(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """The trace covers start, an upload that waits on disk for its model, and stop."""
    (group,) = re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text("utf-8"), re.MULTILINE)
    trace, clip = tmp_path / "trace", tmp_path / "clip.wav"
    clip.write_bytes(audio.make("wav", "pcm_s16le", 30.0))
    gateway = GatewayProcess(tmp_path, upstream.base_url)
    gateway.program = [tools.path_of("strace"), "-D", "-f", "-o", str(trace), *gateway.program]
    with gateway:
        done = tools.run(
            "curl",
            *("--silent", "--show-error", "--fail-with-body", f"{gateway.base_url}/audio/transcriptions"),
            *("-H", f"Authorization: Bearer {gateway.key}", "-F", f"file=@{clip}", "-F", "model=whisper-1"),
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert gateway.command("reload").returncode == 0
    assert gateway.process is not None
    used = calls_in(whole(trace, gateway.process.pid))
    assert {"execve", "accept4", "fdatasync", "exit_group"} <= used
    assert used - allowed(group) == set()


def whole(trace: Path, process: int) -> str:
    """Returns the trace when the tracer, which ends after the gateway, has written all of it."""
    end = re.compile(rf"^{process} +\+\+\+ (?:exited|killed) .*\n", re.MULTILINE)
    deadline = time.monotonic() + 30
    while not end.search(text := trace.read_text()):
        assert time.monotonic() < deadline, text[-2000:]
        time.sleep(0.05)
    return text


def calls_in(trace: str) -> set[str]:
    """Returns the names of the calls. Other lines of strace begin with a sign."""
    return set(re.findall(r"^\d+ +([a-z]\w*)\(", trace, re.MULTILINE))
