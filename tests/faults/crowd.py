"""Many concurrent callers that each fill as many of the gateway's buffers as they can, and keep them full."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from threading import Event

from tests.behaviour.caller import begin, connect, fence, form
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Part, RawConnection, chunked, multipart
from tests.stubs.upstream import TOKENS, Reply, ScriptedUpstream, json_answer
from tests.stubs.vitals import vitals

MEGABYTE = bytes(1 << 20)
STREAM = [("Content-Type", "text/event-stream")]

# The caller's bytes and the provider's response. A gate that never opens keeps the provider from reading.
NEVER = Event()
UNREAD = json_answer("late").but(read_gate=NEVER, after=1000)
LONG_TEXT = [("prompt", "x" * 3_900_000), ("keywords[]", "y" * 3_900_000)]
MANY_VALUES = b'{"text": "", "words": [' + b"{}," * 6_000_000 + b"{}]}"

UPLOADS = (multipart(form(), closing=False), 8, UNREAD)
KEPT = (multipart(form(None), closing=False), 6, UNREAD)
TEXTS = (multipart(form(fields=LONG_TEXT), closing=False), 0, UNREAD)
TEXTS_BEHIND = (multipart([*form(), *(Part(name, value.encode()) for name, value in LONG_TEXT)]), 0, UNREAD)
ANSWERS = (multipart(form()), 0, json_answer("a" * 30_000_000, TOKENS))
VALUES = (multipart(form()), 0, Reply(headers=[("Content-Type", "application/json")], body=MANY_VALUES))
EVENTS = (
    multipart(form()),
    0,
    Reply(headers=STREAM, body=[(0, b"data: " + b"a" * 7_900_000), (600, b"")], framing="chunked"),
)

KINDS = (UPLOADS, KEPT, TEXTS, TEXTS_BEHIND, ANSWERS, VALUES, EVENTS)
Kind = tuple[bytes, int, Reply]


@contextlib.contextmanager
def crowd(
    gateway: GatewayProcess, upstream: ScriptedUpstream, count: int, kinds: Sequence[Kind] = KINDS
) -> Iterator[None]:
    """Opens `count` callers, equally many of each kind; none of them reads, and all stay connected in the context."""
    with contextlib.ExitStack() as stack:
        for number, (opening, megabytes, reply) in enumerate(kinds):
            upstream.default = reply
            upstream.journal.clear()
            share = count // len(kinds) + (number < count % len(kinds))
            callers = [stack.enter_context(connect(gateway)) for _ in range(share)]
            for caller in callers:
                begin(gateway, caller)
            ended = opening.endswith(b"--test-boundary--\r\n")
            _push(
                callers,
                [chunked([opening], last=b"0\r\n\r\n" if ended else b""), *[chunked([MEGABYTE], last=b"")] * megabytes],
            )
            if isinstance(reply.body, list) or reply.read_gate is None:
                _wait_for_answers(gateway, upstream, callers)
            fence(gateway)
        yield


def _wait_for_answers(gateway: GatewayProcess, upstream: ScriptedUpstream, callers: Sequence[RawConnection]) -> None:
    """Waits until the provider has written its responses, as far as the gateway reads them."""
    upstream.wait_until(lambda: sum(exchange.complete for exchange in upstream.journal) >= len(callers), timeout=300)
    resident, steady = 0, 0
    while steady < 20:
        fence(gateway)
        before, resident = resident, vitals(gateway.proc).resident
        steady = steady + 1 if abs(resident - before) < 1 << 20 else 0
        time.sleep(0.05)


def _push(callers: Sequence[RawConnection], pieces: Sequence[bytes]) -> None:
    """Sends the pieces to all until the gateway has read nothing for two seconds."""
    left = {caller.socket: [memoryview(piece) for piece in pieces] for caller in callers}
    for socket in left:
        socket.setblocking(False)
    moved = time.monotonic()
    while left and time.monotonic() - moved < 2:
        for socket, rest in list(left.items()):
            with contextlib.suppress(BlockingIOError):
                try:
                    rest[0] = rest[0][socket.send(rest[0][: 1 << 18]) :]
                except ConnectionError:  # refused by now
                    rest.clear()
                moved = time.monotonic()
            if rest and not rest[0]:
                del rest[0]
            if not rest:
                del left[socket]
        time.sleep(0.01)


def peak_bytes(gateway: GatewayProcess) -> int:
    """The peak memory of the process (proc(5): VmHWM)."""
    lines = (gateway.proc / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
