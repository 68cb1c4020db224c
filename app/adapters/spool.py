"""Spools: they keep an upload until its model or its container is known, in memory while small, then in a file.

The file has no name (it is unlinked at once) and lies beside the ledger on the data volume, because a tmpfs would be
memory. All spools together have a limit on disk and one in memory. Each caller has a share of the disk.
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
# The memory of a chunk beside its bytes: a caller may send one byte at a time.
CHUNK_OVERHEAD_BYTES = 64

T = TypeVar("T")


class SpoolFolder:
    """Opens spools in one folder and enforces their limits: `memory_bytes` in memory for each spool, `memory_total` for
    all of them, `total_bytes` in memory and on disk.
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
    """The bytes of one upload: written once, then replayed any number of times.

    Threads access the file, and a thread runs on when its task is cancelled. A thread that still uses the file at
    `close` closes it when it ends.
    """

    def __init__(self, folder: SpoolFolder, share: QuotaShare) -> None:
        self._folder = folder
        self._share = share
        self._memory: list[bytes] = []
        self._memory_bytes = 0
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._in_use = False
        self._closed = False
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Appends these bytes. Raises APIError 503 if the disk, all spools together or the caller's share is full."""
        folder = self._folder
        self._share.resize(self.size + len(data))
        self.size += len(data)
        self._memory.append(data)
        self._memory_bytes += len(data) + CHUNK_OVERHEAD_BYTES
        folder.memory_used += len(data) + CHUNK_OVERHEAD_BYTES
        if self._memory_bytes > folder.memory_bytes or folder.memory_used > folder.memory_total:
            await self._move_to_file()

    async def replay(self) -> AsyncIterator[bytes]:
        """Yields all bytes from the start. Raises APIError 503 if they cannot be read."""
        if self._file is not None:
            if self._memory:
                await self._move_to_file()
            for offset in range(0, self.size, CHUNK_BYTES):
                yield await self._in_thread(partial(_read, offset))
        else:
            for data in self._memory:
                yield data

    def close(self) -> None:
        self._share.release()
        self.size = 0
        self._folder.memory_used -= self._memory_bytes
        self._memory, self._memory_bytes = [], 0
        with self._lock:
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
        with self._lock:
            if self._closed:
                raise OSError("the spool is closed")
            self._in_use = True
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder.folder)  # noqa: SIM115, closed with the spool
            return work(self._file)
        finally:
            with self._lock:
                self._in_use = False
                if self._closed:
                    self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk did not take the buffered bytes
                self._file.close()
            self._file = None


def _append(data: list[bytes], file: IO[bytes]) -> None:
    file.seek(0, os.SEEK_END)
    file.writelines(data)
    file.flush()


def _read(offset: int, file: IO[bytes]) -> bytes:
    file.seek(offset)
    return file.read(CHUNK_BYTES)
