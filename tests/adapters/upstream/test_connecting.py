"""Several addresses of one host name: the first to connect wins, and no other socket stays open."""

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
    """A server whose accept queue is full: a connection attempt gets no response."""
    with ExitStack() as stack:
        server = stack.enter_context(closing(listening(0)))
        for _ in range(3):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server


def connected_to(*servers: socket.socket) -> tuple[str, int]:
    """Returns the peer of the socket that connects."""
    made = asyncio.run(asyncio.wait_for(first_to_connect(list(map(address, servers))), 20))
    with closing(made):
        host, port = made.getpeername()
        return host, port


def test_the_first_of_two_good_addresses_wins(good: socket.socket) -> None:
    with closing(listening(16)) as other:
        assert connected_to(good, other) == good.getsockname()


class SimultaneousLoop(asyncio.SelectorEventLoop):
    """A loop that makes all connections at the same moment, once there are `number` attempts."""

    number = 2

    def __init__(self) -> None:
        super().__init__()
        self.sockets: list[socket.socket] = []
        self._all = asyncio.Event()

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.sockets.append(sock)
        if len(self.sockets) == self.number:
            self._all.set()
        await self._all.wait()
        sock.setblocking(True)
        sock.connect(address)


def test_of_two_that_connect_at_the_same_moment_one_is_closed(good: socket.socket) -> None:
    with asyncio.Runner(loop_factory=SimultaneousLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimultaneousLoop)
        winner = runner.run(first_to_connect([address(good), address(good)]))
        (other,) = [sock for sock in loop.sockets if sock is not winner]
        assert (winner.fileno() >= 0, other.fileno()) == (True, -1)
        winner.close()


def test_cancelling_while_connecting_leaves_no_socket_open(good: socket.socket) -> None:
    async def cancelled_after(loop: SimultaneousLoop, turns: int) -> None:
        task = asyncio.ensure_future(first_to_connect([address(good)]))
        while not loop.sockets:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for result in await asyncio.gather(task, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()

    for turns in range(5):  # each turn of the loop until the socket is returned
        with asyncio.Runner(loop_factory=SimultaneousLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, SimultaneousLoop)
            loop.number = 1
            runner.run(cancelled_after(loop, turns))
            assert [sock.fileno() for sock in loop.sockets] == [-1]


def test_the_next_address_is_tried_when_one_refuses(refusing: socket.socket, good: socket.socket) -> None:
    assert connected_to(refusing, refusing, good) == good.getsockname()


def test_the_next_address_is_tried_when_one_is_silent(silent: socket.socket, good: socket.socket) -> None:
    assert connected_to(silent, silent, good) == good.getsockname()


def test_it_fails_when_all_addresses_fail(refusing: socket.socket) -> None:
    with pytest.raises(ConnectionRefusedError):
        connected_to(refusing, refusing)


def test_a_name_without_an_address() -> None:
    with pytest.raises(OSError, match="no address"):
        connected_to()


def test_concurrent_calls_share_a_lookup_and_each_gets_a_socket(good: socket.socket) -> None:
    async def connected() -> list[socket.socket]:
        connector = Connector("localhost", good.getsockname()[1])
        return list(await asyncio.gather(*(connector.connect() for _ in range(8))))

    sockets = asyncio.run(connected())
    assert len({sock.getsockname() for sock in sockets}) == 8
    for sock in sockets:
        sock.close()
