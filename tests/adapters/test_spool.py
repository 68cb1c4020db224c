"""Spools return what they keep, a full disk is an APIError, and a cancelled upload leaves no file open."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.adapters.spool import FileSpool, SpoolFolder
from app.errors import APIError

MIB = 1024 * 1024


def folder(path: Path, memory_bytes: int = 1000) -> SpoolFolder:
    return SpoolFolder(path, memory_bytes, 1024 * MIB, 1024 * MIB)


def opened(spools: SpoolFolder, caller: str = "team") -> FileSpool:
    spool = spools.open(caller)
    assert isinstance(spool, FileSpool)
    return spool


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Makes every write beyond this size an OSError, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def replayed(spool: FileSpool) -> bytes:
    return b"".join([chunk async for chunk in spool.replay()])


@pytest.mark.parametrize("sizes", [(), (10,), (1000,), (1001,), (600, 600, 600), (300_000, 5, 300_000, 999)])
def test_a_spool_can_be_replayed_repeatedly(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    async def scenario() -> None:
        spools = folder(tmp_path)
        spool = opened(spools)
        kept = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
        for data in kept:
            await spool.write(data)
        assert spools.used_bytes == spool.size == sum(sizes)
        assert await replayed(spool) == await replayed(spool) == b"".join(kept)
        spool.close()
        assert spools.used_bytes == 0

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_callers_share_leaves_space_for_other_callers(tmp_path: Path) -> None:
    async def scenario() -> None:
        spools = SpoolFolder(tmp_path, 1000, MIB, 1000)
        first = [opened(spools, "a") for _ in range(3)]
        for spool in first[:2]:
            await spool.write(b"x" * 370)
        with pytest.raises(APIError, match="or your share of it, is full"):
            await first[2].write(b"x" * 370)
        other = opened(spools, "b")
        await other.write(b"x" * 190)
        for spool in (*first, other):
            spool.close()
        assert spools.used_bytes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_all_spools_together_stay_within_the_memory_limit(tmp_path: Path, chunk: int) -> None:
    """Beyond the limit each spool moves to its file at once. A chunk of one byte takes far more memory than a byte."""

    async def scenario() -> None:
        spools = SpoolFolder(tmp_path, 100_000, 20_000, MIB)
        kept = [opened(spools) for _ in range(10)]
        for _ in range(3000 // chunk):
            for spool in kept:
                await spool.write(b"x" * chunk)
                assert spools.memory_used <= 20_000
        assert [await replayed(spool) for spool in kept] == [b"x" * (3000 // chunk) * chunk] * 10
        for spool in kept:
            spool.close()
        assert spools.memory_used == 0

    asyncio.run(scenario())


def test_a_spool_is_closed_while_a_thread_still_writes_to_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        spools = folder(tmp_path)
        for _ in range(5):
            spool = opened(spools)
            await spool.write(b"x" * 2000)
            file = spool._file
            assert file is not None
            writing = asyncio.create_task(spool.write(bytes(64 * MIB)))
            while not spool._in_use:
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
            spool.close()
            assert spools.used_bytes == 0
            async with asyncio.timeout(10):
                while not file.closed:
                    await asyncio.sleep(0.01)
            spool.close()

    asyncio.run(scenario())


def test_a_full_disk_is_503_overloaded(tmp_path: Path) -> None:
    async def scenario() -> None:
        writing, replaying = opened(folder(tmp_path)), opened(folder(tmp_path, 100_000))
        await replaying.write(b"x" * 100_001)
        await replaying.write(b"x" * 90_000)
        with files_no_larger_than(120_000):
            for operation in (writing.write(b"x" * 300_000), replayed(replaying)):
                with pytest.raises(APIError) as caught:
                    await operation
                assert (caught.value.status, caught.value.code) == (503, "overloaded")
            writing.close()
            replaying.close()

    asyncio.run(scenario())
