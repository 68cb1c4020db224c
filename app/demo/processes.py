"""The demo's child processes and their temporary folder.

The demo uses the gateway as its operators do: through its commands, its config file and its port.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from app.demo.environment import config, environment, gateway_command

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
_TAIL_LINES = 15
_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.2


class DemoFailed(Exception):
    """The demo cannot continue; the message says why."""


class Child:
    """A child process whose output goes to a log file."""

    def __init__(self, name: str, module: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self._name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            # In its own session the child does not receive Ctrl-C. This process does, and stops its children in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self) -> list[str]:
        """The lines of output so far."""
        return self._log.read_text(errors="replace").splitlines()

    def check(self) -> None:
        """Raises DemoFailed if the process has ended."""
        if (status := self._process.poll()) is not None:
            raise DemoFailed(f"the {self._name} exited with status {status}:\n{self._tail()}")

    def wait_for(self, ready: Callable[[], str | None]) -> str:
        """The first result of `ready` that is not None; raises DemoFailed if the process ends or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while (result := ready()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the {self._name} is not ready after {READY_SECONDS:.0f} s:\n{self._tail()}")
            time.sleep(_POLL_SECONDS)
        return result

    def stop(self) -> None:
        """Ends the process, with SIGKILL if SIGTERM does not end it in time."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self.log()[-_TAIL_LINES:])


class DemoProcesses:
    """The engine and the gateway, with their config file and ledger in `folder`; `stack` stops them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._config = folder / "config.toml"
        self._environment = environment()
        self._children: list[Child] = []
        self._gateway: Child | None = None

    def start_engine(self) -> str:
        """Starts the engine; returns its base URL when it listens."""
        engine = self._start("engine", "app.demo.engine", "--port", "0")

        def base_url() -> str | None:
            lines = [line for line in engine.log() if line.startswith('{"listening"')]
            return str(json.loads(lines[0])["listening"]) if lines else None

        return engine.wait_for(base_url)

    def start_gateway(self, engine_url: str, port: int) -> str:
        """Starts the gateway with the engine as its upstream; returns its base URL when it is ready."""
        self._config.write_text(config(port, self._folder / "ledger.db", engine_url), encoding="utf-8")
        gateway = self._gateway = self._start("gateway", "app", "serve", "--config", str(self._config))

        def base_url() -> str | None:
            try:
                ready = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
            except httpx.TransportError:
                return None
            return f"http://127.0.0.1:{port}/v1" if ready else None

        return gateway.wait_for(base_url)

    def create_caller(self, name: str) -> str:
        """Creates a caller; returns its key."""
        output = self._command("keys", "create", name, stdout=subprocess.PIPE).stdout
        keys = [line for line in output.splitlines() if line.startswith("sk-agw-")]
        if not keys:
            raise DemoFailed(f"`audio-gateway keys create` printed no key:\n{output}")
        return keys[0].strip()

    def print_usage(self, caller: str) -> None:
        """Prints the usage table of a caller."""
        self._command("usage", "--caller", caller, stdout=None)

    def usage_command(self, caller: str) -> str:
        """The shell command that prints the usage table of a caller."""
        return f"{gateway_command()} usage \\\n  --caller {caller} --config {shlex.quote(str(self._config))}"

    def follow_log(self) -> None:
        """Prints each new line of the gateway's log until interrupted; raises DemoFailed if a child process ends."""
        assert self._gateway is not None
        printed = len(self._gateway.log())
        while True:
            for child in self._children:
                child.check()
            new = self._gateway.log()[printed:]
            printed += len(new)
            print(*new, sep="\n", end="\n" if new else "", flush=True)
            time.sleep(_WATCH_SECONDS)

    def _start(self, name: str, *module: str) -> Child:
        child = Child(name, module, self._folder, self._environment)
        self._stack.callback(child.stop)
        self._children.append(child)
        return child

    def _command(self, *arguments: str, stdout: int | None) -> subprocess.CompletedProcess[str]:
        """Runs a command of the gateway; raises DemoFailed if it fails."""
        command = [sys.executable, "-m", "app", *arguments, "--config", str(self._config)]
        result = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            text=True,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
        if result.returncode:
            raise DemoFailed(
                f"`audio-gateway {' '.join(arguments)}` exited with status {result.returncode}:\n{result.stderr}"
            )
        return result
