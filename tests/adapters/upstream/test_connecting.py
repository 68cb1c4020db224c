"""Several addresses of one name: the first that connects wins, whatever the others do."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from app.adapters.upstream.connecting import Address, Connector, first_to_connect


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
    made = asyncio.run(asyncio.wait_for(first_to_connect(list(map(address, servers))), 20))
    with closing(made):
        host, port = made.getpeername()
        return host, port


def test_the_first_of_two_that_answer(good: socket.socket) -> None:
    with closing(listening(16)) as other:
        assert reached(good, other) == good.getsockname()


class Together(asyncio.SelectorEventLoop):
    """A loop on which all connections that are tried are made at the same moment, once there are `number` of them."""

    number = 2

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[socket.socket] = []
        self._all = asyncio.Event()

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.tried.append(sock)
        if len(self.tried) == self.number:
            self._all.set()
        await self._all.wait()
        sock.setblocking(True)
        sock.connect(address)


def test_of_two_that_connect_at_the_same_moment_the_other_is_closed(good: socket.socket) -> None:
    with asyncio.Runner(loop_factory=Together) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Together)
        made = runner.run(first_to_connect([address(good), address(good)]))
        (other,) = [each for each in loop.tried if each is not made]
        assert (made.fileno() >= 0, other.fileno()) == (True, -1)
        made.close()


def test_one_who_gives_up_while_a_connection_is_made_leaves_none_open(good: socket.socket) -> None:
    async def given_up(loop: Together, turns: int) -> None:
        asked = asyncio.ensure_future(first_to_connect([address(good)]))
        while not loop.tried:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        asked.cancel()
        for made in await asyncio.gather(asked, return_exceptions=True):
            if isinstance(made, socket.socket):
                made.close()

    for turns in range(5):  # each turn of the loop between the connection and its being handed on
        with asyncio.Runner(loop_factory=Together) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, Together)
            loop.number = 1
            runner.run(given_up(loop, turns))
            assert [each.fileno() for each in loop.tried] == [-1]


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


def test_many_who_dial_at_once_all_get_through(good: socket.socket) -> None:
    async def connected() -> list[socket.socket]:
        connector = Connector("localhost", good.getsockname()[1])
        return list(await asyncio.gather(*(connector.connect() for _ in range(8))))

    made = asyncio.run(connected())
    assert len({each.getsockname() for each in made}) == 8
    for each in made:
        each.close()
