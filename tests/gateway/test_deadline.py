"""The tests use the loop's own clock, and prove the order of events with deadlines that are far apart."""

import asyncio
from collections.abc import Coroutine

import pytest

from app.gateway.deadline import Deadline

SOON = 0.05
NEVER = 3600.0


def run(scenario: Coroutine[object, object, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(bounded())


async def sleep_within(seconds: float, moved_to: float) -> None:
    deadline = Deadline()
    with deadline.within(seconds):
        deadline.allow(moved_to)
        await asyncio.sleep(NEVER)


def test_waiting_past_the_deadline_raises_timeout_error() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError), Deadline().within(SOON):
            await asyncio.sleep(NEVER)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    run(scenario())


def test_a_later_deadline_allows_a_longer_wait() -> None:
    async def scenario() -> None:
        deadline = Deadline()
        with deadline.within(SOON):
            deadline.allow(NEVER)
            await asyncio.sleep(3 * SOON)
        deadline.close()

    run(scenario())


def test_a_later_deadline_still_expires() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await sleep_within(SOON, moved_to=3 * SOON)

    run(scenario())


def test_an_earlier_deadline_expires() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await sleep_within(NEVER, moved_to=SOON)

    run(scenario())


def test_another_task_may_move_the_deadline() -> None:
    async def scenario() -> None:
        deadline = Deadline()

        async def mover() -> None:
            deadline.allow(SOON)

        with pytest.raises(TimeoutError), deadline.within(None):
            await asyncio.gather(mover(), asyncio.sleep(NEVER))

    run(scenario())


def test_an_expired_deadline_cancels_nothing_outside_its_context() -> None:
    async def scenario() -> None:
        deadline = Deadline()
        with deadline.within(SOON):
            pass
        await asyncio.sleep(3 * SOON)
        with pytest.raises(TimeoutError), deadline.within(SOON):
            await asyncio.sleep(NEVER)

    run(scenario())


def test_the_total_covers_all_uses() -> None:
    async def scenario() -> None:
        deadline = Deadline(SOON)
        with pytest.raises(TimeoutError), deadline.within(None):
            await asyncio.sleep(NEVER)
        with pytest.raises(TimeoutError), deadline.within(NEVER):
            await asyncio.sleep(NEVER)

    run(scenario())


def test_time_outside_the_context_does_not_count() -> None:
    async def scenario() -> None:
        deadline = Deadline(5 * SOON)
        for _ in range(2):
            with deadline.within(None):
                pass
            await asyncio.sleep(6 * SOON)
        with deadline.within(None):
            await asyncio.sleep(0)

    run(scenario())


def test_suspended_time_does_not_count() -> None:
    async def scenario() -> None:
        deadline = Deadline(5 * SOON)
        with deadline.within(None):
            deadline.suspend()
            await asyncio.sleep(6 * SOON)
            deadline.allow(None)
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError), deadline.within(None):
            await asyncio.sleep(NEVER)

    run(scenario())


def test_the_rest_of_the_total_limits_after_a_suspension() -> None:
    async def scenario() -> None:
        async def suspended_at_first() -> None:
            deadline = Deadline(SOON)
            with deadline.within(None):
                deadline.suspend()
                await asyncio.sleep(2 * SOON)
                deadline.allow(NEVER)
                await asyncio.sleep(NEVER)

        with pytest.raises(TimeoutError):
            await suspended_at_first()

    run(scenario())


def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    async def scenario() -> None:
        async def waiting() -> None:
            with Deadline().within(NEVER):
                await asyncio.sleep(NEVER)

        task = asyncio.create_task(waiting())
        await asyncio.sleep(SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())


def test_an_error_in_the_context_is_raised() -> None:
    async def scenario() -> None:
        with pytest.raises(KeyError), Deadline().within(NEVER):
            raise KeyError

    run(scenario())
