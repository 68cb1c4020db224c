"""Work beside the requests: threads and queue are bounded, and no work delays the stop of the gateway."""

import asyncio
import threading
from contextlib import closing

import pytest

from app.adapters.sqlite import Database, LedgerExecutor, SqliteSession
from app.adapters.sqlite.executor import THREADS
from app.errors import APIError

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(autouse=True)
def ledger(database: Database) -> None:
    database.connect().close()


def test_threads_and_queue_are_bounded(database: Database) -> None:
    async def scenario() -> None:
        executor = LedgerExecutor(database, "reports", threads=2, max_waiting=3)
        go, running = threading.Event(), set()

        def work(session: SqliteSession) -> int:
            running.add(threading.get_ident())
            go.wait(10)
            return int(session.connection.execute("SELECT 7").get)

        tasks = [asyncio.create_task(executor.run(work)) for _ in range(5)]
        await asyncio.sleep(0.1)
        with pytest.raises(APIError) as caught:
            await executor.run(work)
        assert (caught.value.status, caught.value.code) == (503, "overloaded")
        tasks.pop().cancel()
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(executor.run(work)))
        # asyncio's own threads are free meanwhile.
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
        go.set()
        assert await asyncio.gather(*tasks) == [7] * 5
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
    running: set[int] = set()

    def count_thread() -> bool:
        running.add(threading.get_ident())
        return False

    def endless(session: SqliteSession) -> object:
        session.connection.set_progress_handler(count_thread, 1_000)
        return session.connection.execute(ENDLESS).get

    async def scenario() -> None:
        executor = LedgerExecutor(database, "reports")
        tasks = [asyncio.create_task(executor.run(endless)) for _ in range(5)]
        async with asyncio.timeout(30):
            while len(running) < THREADS:
                await asyncio.sleep(0.01)
            await executor.close()
            await asyncio.wait(tasks)
        assert sum(task.cancelled() for task in tasks) == 3
        assert all(isinstance(task.exception(), APIError) for task in tasks if not task.cancelled())
        with pytest.raises(APIError) as caught:
            await executor.run(lambda session: 1)
        assert caught.value.code == "shutting_down"

    asyncio.run(scenario())
