"""A caller in its own thread, for tests that act on the gateway while the caller waits."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.behaviour.caller import TRANSCRIPTIONS, form, post_bytes
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Part, RawConnection, RawResponse, multipart

PATIENCE = 60.0

STREAM = form("gpt-4o-transcribe", fields=[("stream", "true")])


class Asking:
    """Sends one form; its response, complete or not, is in `answer` when the block ends."""

    def __init__(self, gateway: GatewayProcess, parts: Sequence[Part] = (), key: str | None = None) -> None:
        headers = [] if key is None else [("Authorization", f"Bearer {key}")]
        self._data = post_bytes(gateway, multipart(parts or form()), TRANSCRIPTIONS, headers)
        self._connection = RawConnection("127.0.0.1", gateway.port, PATIENCE)
        self._found: RawResponse | None = None
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.join(PATIENCE)
        self._connection.close()

    @property
    def answer(self) -> RawResponse:
        self._thread.join(PATIENCE)
        assert self._found is not None, "no answer"
        return self._found

    def _ask(self) -> None:
        self._connection.send(self._data)
        self._found = self._connection.read_response()
