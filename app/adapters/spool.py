"""Keeping the bytes of an upload until its model or its container is known: in memory while small, then in a file.

The file has no name (it is unlinked as it is made) and lies beside the ledger, on the data volume: a tmpfs would be
memory again. All spools together are bounded, on disk and in memory, and so is each caller's share of the disk.
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
from app.gateway.ports import Spool
from app.policy.quota import Quota, QuotaShare

CHUNK_BYTES = 256 * 1024
# What a chunk in memory takes beside its bytes: a caller may send them one by one.
CHUNK_OVERHEAD_BYTES = 64

T = TypeVar("T")


class SpoolFolder:
    """Opens spools in one folder, and counts what they hold together: `memory_total` of it in memory at most, and
    `memory_bytes` in each spool's.
    """

    def __init__(self, folder: Path, memory_bytes: int, memory_total: int, total_bytes: int) -> None:
        self.folder = folder
        self.memory_bytes = memory_bytes
        self.memory_total = memory_total
        self.memory_used = 0
        self._quota = Quota(total_bytes, "the space for uploads that are kept until they are complete")

    @property
    def used_bytes(self) -> int:
        return self._quota.used

    def open(self, caller: str) -> Spool:
        return FileSpool(self, QuotaShare(self._quota, caller))


class FileSpool:
    """One upload's kept bytes, written once and then replayed, if need be more than once.

    Threads work on the file, and one whose task was cancelled runs on. So a spool may be closed at any time: whoever is
    the last to use the file closes it.
    """

    def __init__(self, folder: SpoolFolder, held: QuotaShare) -> None:
        self._folder = folder
        self._held = held
        self._memory: list[bytes] = []
        self._memory_bytes = 0
        self._file: IO[bytes] | None = None
        self._guard = threading.Lock()
        self._in_use = False
        self._closed = False
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Keep these bytes; APIError 503 when all spools together, or the caller's share of them, are full."""
        folder = self._folder
        self._held.resize(self.size + len(data))
        self.size += len(data)
        self._memory.append(data)
        self._memory_bytes += len(data) + CHUNK_OVERHEAD_BYTES
        folder.memory_used += len(data) + CHUNK_OVERHEAD_BYTES
        if self._memory_bytes > folder.memory_bytes or folder.memory_used > folder.memory_total:
            await self._move_to_file()

    async def replay(self) -> AsyncIterator[bytes]:
        """The kept bytes from the first; APIError 503 if they cannot be had back."""
        if self._file is not None:
            if self._memory:
                await self._move_to_file()
            for offset in range(0, self.size, CHUNK_BYTES):
                yield await self._in_thread(partial(_read, offset))
        else:
            for data in self._memory:
                yield data

    def close(self) -> None:
        self._held.release()
        self.size = 0
        self._folder.memory_used -= self._memory_bytes
        self._memory, self._memory_bytes = [], 0
        with self._guard:
            self._closed = True
            if not self._in_use:
                self._close_file()

    async def _move_to_file(self) -> None:
        data, size = self._memory, self._memory_bytes
        self._memory, self._memory_bytes = [], 0
        try:
            await self._in_thread(partial(_append, data))
        finally:
            self._folder.memory_used -= size

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


def _append(data: list[bytes], file: IO[bytes]) -> None:
    file.seek(0, os.SEEK_END)
    file.writelines(data)
    file.flush()


def _read(offset: int, file: IO[bytes]) -> bytes:
    file.seek(offset)
    return file.read(CHUNK_BYTES)
