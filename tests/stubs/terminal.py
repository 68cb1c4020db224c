"""Runs a command with its output, its errors or both on a terminal of a given width."""

import fcntl
import os
import pty
import struct
import subprocess
import tempfile
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.stubs.gateway import COMMAND, clean_environment

ROWS = 40


@dataclass(frozen=True)
class CommandResult:
    """The result of a command. A terminal's text has LF line ends."""

    status: int
    output: str
    errors: str


def on_terminal(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    columns: int = 80,
    *,
    output: bool = True,
    errors: bool = False,
) -> CommandResult:
    """Runs `audio-gateway ARGUMENTS` with its standard output, its standard error or both on a terminal."""
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    kept = {name: value for name, value in clean_environment().items() if name not in ("COLUMNS", "NO_COLOR")}
    with tempfile.TemporaryFile("w+") as plain_output, tempfile.TemporaryFile("w+") as plain_errors:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env={**kept, "TERM": "xterm-256color", **environment},
            stdin=subprocess.DEVNULL,
            stdout=writing if output else plain_output,
            stderr=writing if errors else plain_errors,
        )
        os.close(writing)
        seen = _read(reading)
        status = process.wait(timeout=60)
        for file in (plain_output, plain_errors):
            file.seek(0)
        return CommandResult(status, seen if output else plain_output.read(), seen if errors else plain_errors.read())


def _read(terminal: int) -> str:
    """Returns all that is written to a terminal until every process has closed it."""
    output = bytearray()
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: no process has it open any more
            data = b""
        if not data:
            os.close(terminal)
            return output.decode().replace("\r\n", "\n")
        output += data
