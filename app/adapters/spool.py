"""Keeping the bytes of an upload until its model or its container is known: in memory while small, then in a file.

The file has no name (it is unlinked as it is made) and lies beside the ledger, on the data volume: a tmpfs would be
memory again. All spools together are bounded.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from app import errors
from app.gateway.intake import Spool

CHUNK_BYTES = 256 * 1024


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
    """One upload's kept bytes, written once and then replayed, if need be more than once."""

    def __init__(self, folder: SpoolFolder) -> None:
        self._folder = folder
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Keep these bytes; Refusal 503 when all spools together are full."""
        if self._folder.used_bytes + len(data) > self._folder.total_bytes:
            raise errors.overloaded("the space for uploads that name their model last is full")
        self._folder.used_bytes += len(data)
        self.size += len(data)
        self._memory += data
        if len(self._memory) > self._folder.memory_bytes:
            try:
                await asyncio.to_thread(self._move_to_file)
            except OSError as error:
                raise errors.overloaded("the upload cannot be kept on the data volume") from error

    async def replay(self) -> AsyncIterator[bytes]:
        """The kept bytes from the first."""
        if self._file is not None:
            await asyncio.to_thread(self._move_to_file)
            for offset in range(0, self.size, CHUNK_BYTES):
                yield await asyncio.to_thread(self._read, offset)
        elif self._memory:
            yield bytes(self._memory)

    def close(self) -> None:
        self._folder.used_bytes -= self.size
        self.size = 0
        self._memory.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _move_to_file(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder.folder)  # noqa: SIM115, closed with the spool
        self._file.seek(0, os.SEEK_END)
        self._file.write(self._memory)
        self._memory.clear()

    def _read(self, offset: int) -> bytes:
        assert self._file is not None
        self._file.seek(offset)
        return self._file.read(CHUNK_BYTES)
