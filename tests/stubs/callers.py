"""Callers that keep a gateway busy during a test and record every complete response."""

import threading
from types import TracebackType
from typing import Any, Self

import httpx

from tests.stubs.gateway import NO_TLS, GatewayProcess


class BusyCallers:
    """Threads that transcribe in a loop. Each request uses the current `key`.

    `seen` has the id and the document of every success, `refused` the status of every error, and `lost` counts the
    requests whose connection ended before a response.
    """

    def __init__(
        self, gateway: GatewayProcess, audio: bytes, count: int = 8, model: str = "whisper-1", key: str | None = None
    ) -> None:
        self.key = key or gateway.key
        self._gateway = gateway
        self._audio = audio
        self._model = model
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._transcribe, name=f"caller-{n}") for n in range(count)]
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[int] = []
        self.lost = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _transcribe(self) -> None:
        with httpx.Client(timeout=30, **NO_TLS) as client:
            while not self._stopped.is_set():
                try:
                    self._one(client)
                except httpx.TransportError:
                    self.lost += 1
                    self._stopped.wait(0.05)

    def _one(self, client: httpx.Client) -> None:
        response = client.post(
            f"{self._gateway.base_url}/audio/transcriptions",
            headers={"authorization": f"Bearer {self.key}"},
            data={"model": self._model},
            files={"file": ("a.wav", self._audio)},
        )
        if response.status_code == 200:
            self.seen.append((response.headers["x-request-id"], response.json()))
        else:
            self.refused.append(response.status_code)
