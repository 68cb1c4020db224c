"""Callers that keep a gateway busy while a test does something to it, and remember every answer that they saw whole."""

import threading
from types import TracebackType
from typing import Any, Self

import httpx

from tests.stubs.gateway import GatewayProcess


class BusyCallers:
    """Threads that transcribe one after the other. `seen` is the id and the document of every complete answer."""

    def __init__(self, gateway: GatewayProcess, audio: bytes, count: int = 8, model: str = "whisper-1") -> None:
        self._gateway = gateway
        self._audio = audio
        self._model = model
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._transcribe, name=f"caller-{n}") for n in range(count)]
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[int] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _transcribe(self) -> None:
        # A TLS context takes longer to make than the gateway to start.
        with httpx.Client(timeout=30, verify=False) as client:
            while not self._stopped.is_set():
                try:
                    self._ask(client)
                except httpx.TransportError:
                    self._stopped.wait(0.02)

    def _ask(self, client: httpx.Client) -> None:
        answer = client.post(
            f"{self._gateway.base_url}/audio/transcriptions",
            headers={"authorization": f"Bearer {self._gateway.key}"},
            data={"model": self._model},
            files={"file": ("a.wav", self._audio)},
        )
        if answer.status_code == 200:
            self.seen.append((answer.headers["x-request-id"], answer.json()))
        else:
            self.refused.append(answer.status_code)
