"""The engine as a process on a real port."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Self

KEY = "engine-key"


class EngineProcess:
    """A running engine; leaving the context stops it."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "app.demo.engine", "--port", "0", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.base_url: str = json.loads(self._process.stdout.readline())["listening"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._process.terminate()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(10)
