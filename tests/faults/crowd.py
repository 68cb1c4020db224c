"""Many callers at once that each make the gateway hold as much as it can be made to, and keep it held."""

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

# What a caller sends, and what the provider answers. A gate that never opens keeps a provider from reading on.
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
    """So many callers, as many of each kind; none of them reads, and inside of the context all are still there."""
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
    """Return when the provider has written all of its answers, as far as the gateway takes them."""
    upstream.wait_until(lambda: sum(exchange.complete for exchange in upstream.journal) >= len(callers), timeout=300)
    resident, steady = 0, 0
    while steady < 20:
        fence(gateway)
        before, resident = resident, vitals(gateway.proc).resident
        steady = steady + 1 if abs(resident - before) < 1 << 20 else 0
        time.sleep(0.05)


def _push(callers: Sequence[RawConnection], pieces: Sequence[bytes]) -> None:
    """Send the pieces to all, as far as they are taken; over when nothing has been taken for two seconds."""
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
    """The most memory that the process has had so far (proc(5): VmHWM)."""
    lines = (gateway.proc / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
