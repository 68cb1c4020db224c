"""Disks that fail under a running gateway and recover: a file size limit, a full file system, failing system calls."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.stubs.gateway import GatewayProcess
from tests.system import tools

ROOM_FOR_THE_LOG = 64 * 1024


class Disk(Protocol):
    """The disk of one gateway. Call `fail` and `repair` alternately, any number of times."""

    def fail(self) -> None: ...

    def repair(self) -> None: ...


class LimitedFiles:
    """Writes that extend a file fail with EFBIG."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway

    def fail(self) -> None:
        self._limit(ROOM_FOR_THE_LOG)

    def repair(self) -> None:
        self._limit(None)

    def _limit(self, size: int | None) -> None:
        assert self._gateway.process is not None
        pid = self._gateway.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


class FullFileSystem:
    """A full file system: ENOSPC."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fail(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (64 * 1024, 1024, 1):
                fill(file.fileno(), size)

    def repair(self) -> None:
        self._filler.unlink(missing_ok=True)


def fill(file: int, size: int) -> None:
    """Writes pieces of this size until the file system is full."""
    with suppress(OSError):
        while True:
            os.write(file, bytes(size))


class FailingCalls:
    """The given system calls of the process fail with an error."""

    def __init__(self, gateway: GatewayProcess, calls: str, error: str) -> None:
        self._gateway = gateway
        self._options = ("-f", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}")
        self._tracer: subprocess.Popen[str] | None = None

    def fail(self) -> None:
        assert self._gateway.process is not None
        command = [tools.path_of("strace"), *self._options, "-p", str(self._gateway.process.pid)]
        self._tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._tracer.stderr is not None
        line = self._tracer.stderr.readline()
        assert "attached" in line, line

    def repair(self) -> None:
        if self._tracer is not None:
            self._tracer.terminate()
            self._tracer.communicate(timeout=30)
            self._tracer = None


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[None]:
    """A separate file system in this folder; unmounted at the end."""
    folder.mkdir()
    mounted = tools.run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder)
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        tools.run("umount", "--lazy", folder)
