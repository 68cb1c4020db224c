"""Work beside the requests: few at once, few waiting, and none that keeps the gateway from stopping."""

import asyncio
import threading
from contextlib import closing

import pytest

from app.adapters.sqlite import Database, LedgerExecutor, SqliteSession
from app.adapters.sqlite.executor import THREADS
from app.errors import APIError

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(autouse=True)
def made(database: Database) -> None:
    database.connect().close()


def test_threads_and_queue_are_bounded(database: Database) -> None:
    async def scenario() -> None:
        executor = LedgerExecutor(database, "reports", threads=2, max_waiting=3)
        go, running = threading.Event(), set()

        def work(session: SqliteSession) -> int:
            running.add(threading.get_ident())
            go.wait(10)
            return int(session.connection.execute("SELECT 7").get)

        taken = [asyncio.create_task(executor.run(work)) for _ in range(5)]
        await asyncio.sleep(0.1)
        with pytest.raises(APIError) as caught:
            await executor.run(work)
        assert (caught.value.status, caught.value.code) == (503, "overloaded")
        taken.pop().cancel()
        await asyncio.sleep(0)
        taken.append(asyncio.create_task(executor.run(work)))
        # asyncio's own threads are free meanwhile.
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
        go.set()
        assert await asyncio.gather(*taken) == [7] * 5
        assert len(running) == 2
        await asyncio.gather(*(executor.run(work) for _ in range(5)))
        await executor.close()

    asyncio.run(scenario())


def test_an_unusable_ledger_is_refused_with_retry_after(database: Database) -> None:
    async def scenario() -> None:
        executor = LedgerExecutor(database, "reports")
        with closing(database.connect()) as connection:
            connection.execute("DROP TABLE refusals")
        with pytest.raises(APIError) as caught:
            await executor.run(lambda session: session.connection.execute("SELECT * FROM refusals").get)
        assert (caught.value.status, caught.value.code) == (503, "ledger_unavailable")
        assert caught.value.retry_after
        await executor.close()

    asyncio.run(scenario())


def test_close_interrupts_running_work_and_drops_waiting_work(database: Database) -> None:
    under_way: set[int] = set()

    def begun() -> bool:
        under_way.add(threading.get_ident())
        return False

    def endless(session: SqliteSession) -> object:
        session.connection.set_progress_handler(begun, 1_000)
        return session.connection.execute(ENDLESS).get

    async def scenario() -> None:
        executor = LedgerExecutor(database, "reports")
        taken = [asyncio.create_task(executor.run(endless)) for _ in range(5)]
        async with asyncio.timeout(30):
            while len(under_way) < THREADS:
                await asyncio.sleep(0.01)
            await executor.close()
            await asyncio.wait(taken)
        assert sum(each.cancelled() for each in taken) == 3
        assert all(isinstance(each.exception(), APIError) for each in taken if not each.cancelled())
        with pytest.raises(APIError) as caught:
            await executor.run(lambda session: 1)
        assert caught.value.code == "shutting_down"

    asyncio.run(scenario())
