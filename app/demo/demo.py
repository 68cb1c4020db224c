"""The demo: the engine and the gateway started on free ports of this machine, shown at work, and stopped.

Owns the processes and the temporary folder; the gateway is used as its operators use it, by its commands and its port.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import httpx

from app.demo import SAMPLE
from app.demo.caller import Caller, Refused
from app.demo.environment import config, environment, free_port, program

CALLER = "demo"
SERVED_PORT = 8080
READY_SECONDS = 60.0
STOP_SECONDS = 10.0


class Failed(Exception):
    """The demo cannot go on; the message says why."""


def run(file: Path | None, serve: bool) -> int:
    """Shows the gateway at work with `file`, or the bundled clip; with `serve` it then runs until Ctrl-C or SIGTERM.

    Returns the exit status: 0; 1 when it could not be shown; 130 when it was interrupted before its end.
    """
    clip = (file or SAMPLE).absolute()
    before = signal.signal(signal.SIGTERM, _interrupt)
    serving = False
    try:
        if not clip.is_file():
            raise Failed(f"no such file: {clip}")
        with TemporaryDirectory(prefix="audio-gateway-demo-") as folder, ExitStack() as stack:
            stage = Stage(Path(folder), stack)
            caller = _shown(stage, clip, SERVED_PORT if serve else 0)
            if serve:
                print(_next_steps(stage, caller, clip), flush=True)
                serving = True
                stage.watch()
            print("\nNext: `make serve`, or `audio-gateway demo --serve`, leaves it running for you to try.")
    except (Failed, Refused) as error:
        print(f"\naudio-gateway demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 0 if serving else 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _shown(stage: Stage, clip: Path, preferred_port: int) -> Caller:
    print("The gateway in front of a speech engine, both on this machine: no provider", flush=True)
    print("key, no network.\n", flush=True)
    engine = stage.start_engine()
    print(f"1. engine   {engine} (plain English only)", flush=True)
    port = free_port(preferred_port)
    base_url = stage.start_gateway(engine, port)
    instead = f" (port {preferred_port} is in use)" if preferred_port not in (0, port) else ""
    print(f"2. gateway  {base_url}{instead}", flush=True)
    caller = Caller(base_url, stage.create_caller())
    print(f"3. caller   {CALLER}, with a key of its own that ends in {caller.key[-4:]}", flush=True)
    caller.show(clip)
    print("6. usage\n", flush=True)
    stage.show_usage()
    return caller


def _next_steps(stage: Stage, caller: Caller, clip: Path) -> str:
    """What to do with a gateway that stays: each command works in any other terminal."""
    return f"""
The gateway runs until Ctrl-C. Try it from another terminal.

{caller.how_to(clip)}
# What the caller has used
{stage.usage_command()}

API reference  {caller.base_url.removesuffix("/v1")}/docs
Next           docs/clients.md: the same in Node and Go, streams, errors
               docs/deploy.md: with your provider's key, as a service

One line for each request:
"""


class Child:
    """A process that runs beside this one, its output in a log file."""

    def __init__(self, name: str, module: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self._name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            # A session of its own, so that Ctrl-C reaches this process alone, which then stops its children in order.
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
        return self._log.read_text(errors="replace").splitlines()

    def check(self) -> None:
        if (status := self._process.poll()) is not None:
            raise Failed(f"the {self._name} ended with status {status}:\n" + "\n".join(self.log()[-15:]))

    def wait_for(self, ready: Callable[[], str | None]) -> str:
        """What `ready` tells, as soon as it tells something; raises Failed when the process dies or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while (told := ready()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise Failed(
                    f"the {self._name} is not ready after {READY_SECONDS:.0f} s:\n" + "\n".join(self.log()[-15:])
                )
            time.sleep(0.05)
        return told

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Stage:
    """The temporary folder with its config file and ledger, and what runs there; `stack` stops it all at its end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._config = folder / "config.toml"
        self._environment = environment()
        self._children: list[Child] = []
        self._gateway: Child | None = None

    def start_engine(self) -> str:
        """Returns its base URL, once it listens there."""
        engine = self._start("engine", "app.demo.engine", "--port", "0")

        def address() -> str | None:
            lines = [line for line in engine.log() if line.startswith('{"listening"')]
            return str(json.loads(lines[0])["listening"]) if lines else None

        return engine.wait_for(address)

    def start_gateway(self, engine: str, port: int) -> str:
        """Returns its base URL, once it is ready for requests."""
        self._config.write_text(config(port, self._folder / "ledger.db", engine), encoding="utf-8")
        gateway = self._gateway = self._start("gateway", "app", "serve", "--config", str(self._config))

        def base_url() -> str | None:
            try:
                ready = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
            except httpx.TransportError:
                return None
            return f"http://127.0.0.1:{port}/v1" if ready else None

        return gateway.wait_for(base_url)

    def create_caller(self) -> str:
        """Returns the new caller's key."""
        done = self._command("keys", "create", CALLER, stdout=subprocess.PIPE)
        keys = [line for line in done.stdout.splitlines() if line.startswith("sk-agw-")]
        if not keys:
            raise Failed(f"`audio-gateway keys create` told no key:\n{done.stdout}")
        return keys[0].strip()

    def show_usage(self) -> None:
        self._command("usage", "--caller", CALLER, stdout=None)

    def usage_command(self) -> str:
        return f"{program()} usage \\\n  --caller {CALLER} --config {shlex.quote(str(self._config))}"

    def watch(self) -> None:
        """Shows each new line of the gateway's log until interrupted; raises Failed when a child dies."""
        assert self._gateway is not None
        shown = len(self._gateway.log())
        while True:
            for child in self._children:
                child.check()
            new = self._gateway.log()[shown:]
            shown += len(new)
            print(*new, sep="\n", end="\n" if new else "", flush=True)
            time.sleep(0.2)

    def _start(self, name: str, *module: str) -> Child:
        child = Child(name, module, self._folder, self._environment)
        self._stack.callback(child.stop)
        self._children.append(child)
        return child

    def _command(self, *words: str, stdout: int | None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app", *words, "--config", str(self._config)]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            text=True,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise Failed(f"`audio-gateway {' '.join(words)}` ended with status {done.returncode}:\n{done.stderr}")
        return done


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
