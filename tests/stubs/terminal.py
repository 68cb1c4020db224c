"""A command of the gateway as a person runs it: with its output, its errors or both on a terminal of some width."""

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
class Ended:
    """How a command ended; the text of a terminal has the plain line ends of a file."""

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
) -> Ended:
    """Run `audio-gateway ARGUMENTS` with its standard output, its standard error or both on a terminal."""
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
        return Ended(status, seen if output else plain_output.read(), seen if errors else plain_errors.read())


def _read(terminal: int) -> str:
    """All that is written to a terminal until the last who has it open closes it."""
    told = bytearray()
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has it open any more
            more = b""
        if not more:
            os.close(terminal)
            return told.decode().replace("\r\n", "\n")
        told += more
