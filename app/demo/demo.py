"""Runs the demo: starts engine and gateway on free ports of this machine, transcribes a clip, prints the usage."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from app.demo import SAMPLE
from app.demo.caller import Caller, TranscriptionFailed
from app.demo.environment import free_port
from app.demo.processes import DemoFailed, DemoProcesses

CALLER = "demo"
SERVED_PORT = 8080


def run(file: Path | None, serve: bool) -> int:
    """Runs the demo with `file` or the bundled clip. With `serve`, the gateway then runs until Ctrl-C or SIGTERM.

    Returns the exit status: 0; 1 for a failure; 130 if interrupted before the end.
    """
    clip = (file or SAMPLE).absolute()
    previous_handler = signal.signal(signal.SIGTERM, _interrupt)
    serving = False
    try:
        if not clip.is_file():
            raise DemoFailed(f"no such file: {clip}")
        with TemporaryDirectory(prefix="audio-gateway-demo-") as folder, ExitStack() as stack:
            processes = DemoProcesses(Path(folder), stack)
            caller = _transcribe(processes, clip, SERVED_PORT if serve else 0)
            if serve:
                print(_next_steps(processes, caller, clip), flush=True)
                serving = True
                processes.follow_log()
            print("\nNext: run `make serve` or `audio-gateway demo --serve` to leave it running.")
    except (DemoFailed, TranscriptionFailed) as error:
        print(f"\naudio-gateway demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 0 if serving else 130
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
    return 0


def _transcribe(processes: DemoProcesses, clip: Path, preferred_port: int) -> Caller:
    """Starts everything, prints each step, and returns the caller whose clip was transcribed."""
    print("The gateway in front of a speech engine, both on this machine: no provider", flush=True)
    print("key, no network.\n", flush=True)
    engine_url = processes.start_engine()
    print(f"1. engine   {engine_url} (plain English only)", flush=True)
    port = free_port(preferred_port)
    base_url = processes.start_gateway(engine_url, port)
    note = f" (port {preferred_port} is in use)" if preferred_port not in (0, port) else ""
    print(f"2. gateway  {base_url}{note}", flush=True)
    caller = Caller(base_url, processes.create_caller(CALLER))
    print(f"3. caller   {CALLER}, with its own key, which ends in {caller.key[-4:]}", flush=True)
    caller.show(clip)
    print("6. usage\n", flush=True)
    processes.print_usage(CALLER)
    return caller


def _next_steps(processes: DemoProcesses, caller: Caller, clip: Path) -> str:
    """Instructions for a gateway that stays running; each command works in any other terminal."""
    return f"""
The gateway runs until Ctrl-C. Try it from another terminal.

{caller.instructions(clip)}
# The caller's usage
{processes.usage_command(CALLER)}

API reference  {caller.base_url.removesuffix("/v1")}/docs
Next           docs/clients.md: the same in Node and Go, streams, errors
               docs/deploy.md: with your provider's key, as a service

One line for each request:
"""


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
