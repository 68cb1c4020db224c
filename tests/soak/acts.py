"""What callers do to a gateway: mostly good requests in every format, and every kind of bad one."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from tests.behaviour.caller import CLIP, FORM, TRANSCRIPTIONS, TRANSLATIONS, form
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Part, RawConnection, RawResponse, chunked, multipart, request

MAX_FILE_BYTES = 4 * 1024 * 1024
_LARGE = CLIP + bytes(3 * 1024 * 1024)
_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")


class Caller:
    """One caller of a soak test. Its key may change. It counts its responses by status and code."""

    def __init__(self, gateway: GatewayProcess, name: str, seed: int, **policy: Any) -> None:
        self.name = name
        self.key = gateway.create_caller(name, **policy)
        self.seen: Counter[str] = Counter()
        self.chance = random.Random(seed)
        self._gateway = gateway

    def act(self) -> None:
        """Does a random act, as often as its weight."""
        (act,) = self.chance.choices([act for _, act in ACTS], [weight for weight, _ in ACTS])
        try:
            with RawConnection("127.0.0.1", self._gateway.port, timeout=30) as connection:
                act(self, connection)
        except ConnectionError:
            self.seen["reset"] += 1

    def head(self, parts: Sequence[Part], path: str = TRANSCRIPTIONS, framing: tuple[str, str] | None = None) -> bytes:
        body = multipart(parts)
        framed = framing or ("Content-Length", str(len(body)))
        return request("POST", path, [("Authorization", f"Bearer {self.key}"), FORM, framed])

    def read(self, connection: RawConnection) -> RawResponse:
        """Returns the response. Checks that it is complete and, unless it is a success, has the form of an error."""
        answer = connection.read_response()
        code = ""
        if answer.status >= 400:
            assert answer.complete, answer
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}, answer
            code = f" {error['code']}"
        self.seen[f"{answer.status}{code}"] += 1
        return answer

    def send_in_pieces(self, connection: RawConnection, body: bytes, pauses: float = 0.0) -> None:
        cuts = sorted(self.chance.sample(range(1, len(body)), min(4, len(body) - 1)))
        for start, end in pairwise([0, *cuts, len(body)]):
            connection.send(chunked([body[start:end]], last=b""))
            time.sleep(self.chance.uniform(0, pauses))


def _whole(caller: Caller, connection: RawConnection) -> None:
    parts = form(caller.chance.choice(("whisper-1", "gpt-4o-transcribe")))
    if caller.chance.random() < 0.5:
        parts.insert(0, Part("response_format", caller.chance.choice(_FORMATS).encode()))
    if caller.chance.random() < 0.4:
        parts.reverse()
    path = caller.chance.choice((TRANSCRIPTIONS, TRANSLATIONS))
    connection.send(caller.head(parts, path) + multipart(parts))
    caller.read(connection)


def _large(caller: Caller, connection: RawConnection) -> None:
    parts = form(audio=_LARGE)
    if caller.chance.random() < 0.5:
        parts.reverse()
    connection.send(caller.head(parts) + multipart(parts))
    caller.read(connection)


def _streamed(caller: Caller, connection: RawConnection) -> None:
    parts = form("gpt-4o-transcribe", fields=[("stream", "true")])
    connection.send(caller.head(parts) + multipart(parts))
    if caller.chance.random() < 0.2:
        connection.socket.recv(300)
        connection.reset()
    else:
        caller.read(connection)


def _slow(caller: Caller, connection: RawConnection) -> None:
    parts = form()
    connection.send(caller.head(parts, framing=("Transfer-Encoding", "chunked")))
    caller.send_in_pieces(connection, multipart(parts), pauses=0.3)
    connection.send(b"0\r\n\r\n")
    caller.read(connection)


def _stopping(caller: Caller, connection: RawConnection) -> None:
    """Sends half of an upload, stops, and waits until the gateway ends it."""
    parts = form()
    connection.send(caller.head(parts) + multipart(parts)[: caller.chance.randrange(1, len(CLIP))])
    caller.read(connection)


def _leaving(caller: Caller, connection: RawConnection) -> None:
    body = multipart(form())
    connection.send(caller.head(form()) + body[: caller.chance.randrange(0, len(body) + 1)])
    time.sleep(caller.chance.uniform(0, 0.05))
    caller.chance.choice((connection.close, connection.reset))()
    caller.seen["left"] += 1


def _too_large(caller: Caller, connection: RawConnection) -> None:
    parts = form(audio=CLIP + bytes(MAX_FILE_BYTES))
    if caller.chance.random() < 0.5:
        connection.send(
            request("POST", TRANSCRIPTIONS, [("Authorization", caller.key), FORM, ("Content-Length", "9" * 9)])
        )
    else:
        connection.send(caller.head(parts) + multipart(parts))
    caller.read(connection)


def _refused(caller: Caller, connection: RawConnection) -> None:
    parts = caller.chance.choice(
        (form("no-such-model"), form(None), form(audio=b""), form(audio=b"MZ" + bytes(100)), form()[:1])
    )
    connection.send(caller.head(parts) + multipart(parts))
    caller.read(connection)


def _unknown(caller: Caller, connection: RawConnection) -> None:
    connection.send(caller.head(form()).replace(caller.key.encode(), b"sk-agw-nobody") + multipart(form()))
    caller.read(connection)


def _malformed(caller: Caller, connection: RawConnection) -> None:
    body = bytearray(multipart(form()))
    for _ in range(20):
        body[caller.chance.randrange(len(body))] = caller.chance.randrange(256)
    cut = multipart(form())[:-20]
    broken = caller.chance.choice((bytes(body), cut, b"", b"\r\n" * 50))
    headers = [("Authorization", caller.key), FORM, ("Content-Length", str(len(broken)))]
    connection.send(request("POST", TRANSCRIPTIONS, headers) + broken)
    caller.read(connection)


def _not_http(caller: Caller, connection: RawConnection) -> None:
    connection.send(
        caller.chance.choice((b"\x16\x03\x01" + caller.chance.randbytes(50), b"GET\r\n\r\n", b"\r\n\r\nx y z\r\n\r\n"))
    )
    connection.closed(timeout=30)
    caller.seen["not HTTP"] += 1


def _pipelined(caller: Caller, connection: RawConnection) -> None:
    authorized = [("Authorization", caller.key)]
    connection.send(request("GET", "/v1/models", authorized) + request("GET", "/v1/usage", authorized))
    caller.read(connection)
    caller.read(connection)


Act = Callable[[Caller, RawConnection], None]

# (weight, act)
ACTS: list[tuple[int, Act]] = [
    (50, _whole),
    (12, _streamed),
    (4, _large),
    (4, _slow),
    (1, _stopping),
    (8, _leaving),
    (3, _too_large),
    (6, _refused),
    (3, _unknown),
    (5, _malformed),
    (2, _not_http),
    (4, _pipelined),
]
