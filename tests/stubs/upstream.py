"""The scripted upstream: a real HTTP/1.1 server on 127.0.0.1, in a thread of its own, that follows a test's script.

    from tests.stubs.upstream import TOKENS, Reply, ScriptedUpstream, error_answer, json_answer, no_answer, sse_answer

    with ScriptedUpstream() as upstream:
        upstream.reply(json_answer("hello", usage=TOKENS))         # for the first request; then `default` again
        call_the_gateway(upstream.base_url)
        exchange = upstream.wait_for(1)
        assert exchange.header("authorization") == "Bearer provider-key"
        assert [part.name for part in exchange.form()] == ["model", "file"]
        assert exchange.file.filename == "audio.wav" and exchange.complete

        gate = threading.Event()                                    # the test controls time: no sleeps
        upstream.reply(json_answer("late").but(gate=gate), no_answer("reset"))
        upstream.reply(error_answer(413, None, "too large").but(when="after_bytes", after=65536, then="hold"))
        upstream.reply(sse_answer(["a", "b"], TOKENS).but(cut_after=70))
        upstream.default = lambda exchange: json_answer(exchange.file.filename or "")  # called after the body
        upstream.wait_until(lambda: upstream.journal[-1].aborted and upstream.connections_open == 0)

If a caller writes malformed HTTP, the end of the `with` block raises, unless the test has emptied `failures`.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.stubs.connection import Answer, Peer, Script
from tests.stubs.exchange import Exchange
from tests.stubs.form import FormError, Part
from tests.stubs.reply import (
    TOKENS,
    Reply,
    Usage,
    duration_usage,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
    sse_frame,
    text_answer,
    verbose_answer,
)

__all__ = [
    "TOKENS",
    "Answer",
    "Exchange",
    "FormError",
    "Part",
    "Reply",
    "Script",
    "ScriptedUpstream",
    "Usage",
    "duration_usage",
    "error_answer",
    "json_answer",
    "no_answer",
    "sse_answer",
    "sse_frame",
    "text_answer",
    "verbose_answer",
]


class ScriptedUpstream:
    """Responds to requests from a queue of scripts and keeps a journal of them. All methods are thread-safe.

    keep_bodies  False keeps only size and SHA-256 of bodies: for big uploads and long runs (`journal.clear()` helps)
    port         reuses the address of an earlier upstream
    tls          serves HTTPS with this context
    """

    def __init__(self, *, keep_bodies: bool = True, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.default: Script = json_answer("hello", TOKENS)
        self.journal: list[Exchange] = []
        self.failures: list[Exception] = []
        self.connections_opened = 0
        self._keep_bodies = keep_bodies
        self._queue: deque[Script] = deque()
        self._open: dict[int, asyncio.BaseTransport] = {}
        self._changed = threading.Condition()
        self._gates: dict[threading.Event, asyncio.Event] = {}
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self.base_url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/v1"
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        if error is None and self.failures:
            raise AssertionError(f"at the scripted upstream: {self.failures}") from self.failures[0]

    def close(self) -> None:
        """Ends every connection and frees the port."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        self._socket.close()
        self._loop.close()

    def reply(self, *scripts: Script) -> None:
        """Queues responses for the next requests, one each, in the order in which their heads arrive."""
        self._queue.extend(scripts)

    def reset(self, default: Script) -> None:
        """Clears the queue and the journal, and sets the default response."""
        self._queue.clear()
        self.journal.clear()
        self.failures.clear()
        self.default = default

    @property
    def connections_open(self) -> int:
        return len(self._open)

    def wait_for(self, count: int, timeout: float = 30) -> Exchange:
        """Returns the count-th request as soon as its head has been read."""
        self.wait_until(lambda: len(self.journal) >= count, timeout)
        return self.journal[count - 1]

    def wait_until(self, predicate: Callable[[], object], timeout: float = 30) -> None:
        """Waits until the predicate holds; checks it after every event. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError(f"{self.connections_open} connections open, journal: {self.journal}")

    # For the connections, in the thread of the event loop.

    def add_exchange(self, connection: int, method: str, path: str, headers: list[tuple[str, str]]) -> Exchange:
        exchange = Exchange(connection, method, path, headers, self._keep_bodies, self._notify)
        self.journal.append(exchange)
        self._notify()
        return exchange

    def next_script(self) -> Script:
        with contextlib.suppress(IndexError):
            return self._queue.popleft()
        return self.default

    async def pass_gate(self, gate: threading.Event) -> None:
        if gate.is_set():
            return
        if gate not in self._gates:
            self._gates[gate] = asyncio.Event()
            threading.Thread(target=self._watch, args=(gate,), name="scripted-gate", daemon=True).start()
        await self._gates[gate].wait()

    def _watch(self, gate: threading.Event) -> None:
        gate.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._gates.pop(gate).set())

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def connected(self, transport: asyncio.BaseTransport) -> int:
        self.connections_opened += 1
        self._open[self.connections_opened] = transport
        self._notify()
        return self.connections_opened

    def disconnected(self, number: int) -> None:
        del self._open[number]
        self._notify()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(lambda: Peer(self, self._loop), sock=self._socket, ssl=self._tls)

    async def _end_all(self) -> None:
        self._server.close()
        for transport in list(self._open.values()):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=2)
