"""Keeping the bytes of an upload until its model or its container is known: in memory while small, then in a file.

The file has no name (it is unlinked as it is made) and lies beside the ledger, on the data volume: a tmpfs would be
memory again. All spools together are bounded.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from app import errors
from app.gateway.intake import Spool

CHUNK_BYTES = 256 * 1024

T = TypeVar("T")


class SpoolFolder:
    """Opens spools in one folder, and counts what they hold together."""

    def __init__(self, folder: Path, memory_bytes: int, total_bytes: int) -> None:
        self.folder = folder
        self.memory_bytes = memory_bytes
        self.total_bytes = total_bytes
        self.used_bytes = 0

    def open(self) -> Spool:
        return FileSpool(self)


class FileSpool:
    """One upload's kept bytes, written once and then replayed, if need be more than once.

    Threads work on the file, and one whose task was cancelled runs on. So a spool may be closed at any time: whoever is
    the last to use the file closes it.
    """

    def __init__(self, folder: SpoolFolder) -> None:
        self._folder = folder
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._guard = threading.Lock()
        self._in_use = False
        self._closed = False
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Keep these bytes; Refusal 503 when all spools together are full."""
        if self._folder.used_bytes + len(data) > self._folder.total_bytes:
            raise errors.overloaded("the space for uploads that name their model last is full")
        self._folder.used_bytes += len(data)
        self.size += len(data)
        self._memory += data
        if len(self._memory) > self._folder.memory_bytes:
            await self._move_to_file()

    async def replay(self) -> AsyncIterator[bytes]:
        """The kept bytes from the first; Refusal 503 if they cannot be had back."""
        if self._file is not None:
            if self._memory:
                await self._move_to_file()
            for offset in range(0, self.size, CHUNK_BYTES):
                yield await self._in_thread(partial(_read, offset))
        elif self._memory:
            yield bytes(self._memory)

    def close(self) -> None:
        self._folder.used_bytes -= self.size
        self.size = 0
        self._memory = bytearray()
        with self._guard:
            self._closed = True
            if not self._in_use:
                self._close_file()

    async def _move_to_file(self) -> None:
        data, self._memory = self._memory, bytearray()
        await self._in_thread(partial(_append, data))

    async def _in_thread(self, work: Callable[[IO[bytes]], T]) -> T:
        try:
            return await asyncio.to_thread(self._use_file, work)
        except OSError as error:
            raise errors.overloaded("the upload cannot be kept on the data volume") from error

    def _use_file(self, work: Callable[[IO[bytes]], T]) -> T:
        with self._guard:
            if self._closed:
                raise OSError("the spool is closed")
            self._in_use = True
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder.folder)  # noqa: SIM115, closed with the spool
            return work(self._file)
        finally:
            with self._guard:
                self._in_use = False
                if self._closed:
                    self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take
                self._file.close()
            self._file = None


def _append(data: bytearray, file: IO[bytes]) -> None:
    file.seek(0, os.SEEK_END)
    file.write(data)
    file.flush()


def _read(offset: int, file: IO[bytes]) -> bytes:
    file.seek(offset)
    return file.read(CHUNK_BYTES)
