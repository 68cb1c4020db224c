"""The clock is the loop's own; what is proved is the order of events, with limits far apart."""

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


def test_what_waits_too_long_is_left_with_timeout_error() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError), Deadline().within(SOON):
            await asyncio.sleep(NEVER)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    run(scenario())


def test_a_limit_moved_away_lets_wait_on() -> None:
    async def scenario() -> None:
        deadline = Deadline()
        with deadline.within(SOON):
            deadline.allow(NEVER)
            await asyncio.sleep(3 * SOON)
        deadline.close()

    run(scenario())


def test_a_limit_moved_away_still_holds() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await sleep_within(SOON, moved_to=3 * SOON)

    run(scenario())


def test_a_limit_moved_nearer_holds() -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await sleep_within(NEVER, moved_to=SOON)

    run(scenario())


def test_another_task_may_move_it() -> None:
    async def scenario() -> None:
        deadline = Deadline()

        async def mover() -> None:
            deadline.allow(SOON)

        with pytest.raises(TimeoutError), deadline.within(None):
            await asyncio.gather(mover(), asyncio.sleep(NEVER))

    run(scenario())


def test_outside_of_its_context_it_cancels_nothing() -> None:
    async def scenario() -> None:
        deadline = Deadline()
        with deadline.within(SOON):
            pass
        await asyncio.sleep(3 * SOON)
        with pytest.raises(TimeoutError), deadline.within(SOON):
            await asyncio.sleep(NEVER)

    run(scenario())


def test_the_total_goes_on_over_all_uses() -> None:
    async def scenario() -> None:
        deadline = Deadline(SOON)
        with pytest.raises(TimeoutError), deadline.within(None):
            await asyncio.sleep(NEVER)
        with pytest.raises(TimeoutError), deadline.within(NEVER):
            await asyncio.sleep(NEVER)

    run(scenario())


def test_time_outside_of_a_context_is_not_of_the_total() -> None:
    async def scenario() -> None:
        deadline = Deadline(5 * SOON)
        for _ in range(2):
            with deadline.within(None):
                pass
            await asyncio.sleep(6 * SOON)
        with deadline.within(None):
            await asyncio.sleep(0)

    run(scenario())


def test_suspended_time_is_not_of_the_total() -> None:
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


def test_what_is_left_of_the_total_is_the_limit_after_a_suspension() -> None:
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


def test_a_cancellation_from_outside_stays_one() -> None:
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


def test_an_error_of_the_body_is_not_hidden() -> None:
    async def scenario() -> None:
        with pytest.raises(KeyError), Deadline().within(NEVER):
            raise KeyError

    run(scenario())
