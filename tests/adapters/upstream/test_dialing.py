"""Several addresses of one name: the first that connects wins, whatever the others do."""

import asyncio
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from app.adapters.upstream.dialing import Address, Dialer, alternating, first_to_connect


def listening(backlog: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=backlog)


def address(server: socket.socket) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", server.getsockname()


@pytest.fixture
def good() -> Iterator[socket.socket]:
    with closing(listening(16)) as server:
        yield server


@pytest.fixture
def refusing() -> Iterator[socket.socket]:
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Its queue is full: who connects gets no answer."""
    with ExitStack() as stack:
        server = stack.enter_context(closing(listening(0)))
        for _ in range(3):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server


def reached(*servers: socket.socket) -> tuple[str, int]:
    """Where the socket leads that comes of these addresses."""
    made = asyncio.run(asyncio.wait_for(first_to_connect(deque(map(address, servers))), 20))
    with closing(made):
        host, port = made.getpeername()
        return host, port


def test_the_first_of_two_that_answer(good: socket.socket) -> None:
    with closing(listening(16)) as other:
        assert reached(good, other) == good.getsockname()


def test_one_that_refuses_does_not_end_it(refusing: socket.socket, good: socket.socket) -> None:
    assert reached(refusing, refusing, good) == good.getsockname()


def test_one_that_does_not_answer_does_not_hold_it_up(silent: socket.socket, good: socket.socket) -> None:
    assert reached(silent, silent, good) == good.getsockname()


def test_when_all_have_failed_so_has_it(refusing: socket.socket) -> None:
    with pytest.raises(ConnectionRefusedError):
        reached(refusing, refusing)


def test_a_name_without_an_address() -> None:
    with pytest.raises(OSError, match="no address"):
        reached()


def test_the_families_take_turns() -> None:
    six = [(socket.AF_INET6, 1, 6, "", number) for number in range(3)]
    four = [(socket.AF_INET, 1, 6, "", number) for number in range(2)]
    assert alternating([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert alternating([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]


def test_many_who_dial_at_once_all_get_through(good: socket.socket) -> None:
    async def dialed() -> list[socket.socket]:
        dialer = Dialer("localhost", good.getsockname()[1])
        return list(await asyncio.gather(*(dialer.dial() for _ in range(8))))

    made = asyncio.run(dialed())
    assert len({each.getsockname() for each in made}) == 8
    for each in made:
        each.close()
