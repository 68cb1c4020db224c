"""The gateway as a real process on its own port, with its own ledger, in front of a scripted upstream."""

import contextlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from typer.testing import CliRunner

from app.cli import app
from app.wire import apikey
from tests.stubs import canary
from tests.stubs.canary import PROVIDER_KEY

__all__ = [
    "ADMIN_KEY",
    "COMMAND",
    "METRICS_KEY",
    "NO_TLS",
    "PROVIDER_KEY",
    "GatewayProcess",
    "clean_environment",
    "free_port",
]

ADMIN_KEY = "admin-0123456789abcdef"
METRICS_KEY = "metrics-0123456789abcdef"
NO_TLS: dict[str, Any] = {"verify": False}  # a client that loads no CAs starts 50 ms faster
COMMAND = (sys.executable, "-m", "app")


def free_port() -> int:
    """Returns a free port below the range for clients, from which a client could take it before the server does."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), contextlib.closing(socket.create_server(("127.0.0.1", port))):
            return port


def clean_environment(**more: str) -> dict[str, str]:
    """Returns this environment without settings of a gateway. It allows bytecode files: hundreds of processes start."""
    foreign = ("AUDIO_GATEWAY_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **more}


class GatewayProcess:
    """`audio-gateway serve` in `folder`. Its settings have the caller `team`, whose key is `key`.

    An `admin_key` enables the admin API. `more` has further environment variables. Before the start a test may change
    `program` to run the gateway under another program.
    """

    def __init__(
        self,
        folder: Path,
        upstream_url: str,
        settings: str = "",
        upstream_settings: str = "",
        admin_key: str | None = None,
        **more: str,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.host = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.host}/v1"
        self.key = apikey.mint(secrets.token_bytes(apikey.RANDOM_BYTES))
        self.admin_key = admin_key
        self.ledger = folder / "ledger.db"
        self.config = folder / "config.toml"
        self.log = folder / "gateway.log"
        self.metrics_key = folder / "metrics_key"
        self.metrics_key.write_text(METRICS_KEY)
        self.program: Sequence[str] = COMMAND
        self.process: subprocess.Popen[bytes] | None = None
        self._more = more if admin_key is None else {**more, "AUDIO_GATEWAY_ADMIN_KEY": admin_key}
        self.config.write_text(f"""
{settings}
[[upstreams]]
name = "scripted"
base_url = "{upstream_url}"
api_key_env = "PROVIDER_KEY"
{upstream_settings}
[[callers]]
name = "team"
key_sha256 = "{apikey.digest(self.key)}"
""")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            AUDIO_GATEWAY_SERVER__PORT=str(self.port),
            AUDIO_GATEWAY_LEDGER__PATH=str(self.ledger),
            PROVIDER_KEY=PROVIDER_KEY,
            **({"AUDIO_GATEWAY_METRICS__KEY_FILE": str(self.metrics_key)} if self.metrics_key.exists() else {}),
            **self._more,
        )

    def start(self) -> None:
        """Starts the process and waits until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "serve", "--config", str(self.config)], env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Stops it with SIGTERM and returns the exit status. Checks that no file contains the provider's key."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=40)
        canary.check_folder(self.folder)
        return status

    @property
    def proc(self) -> Path:
        """Its folder under /proc (proc(5))."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `audio-gateway ARGUMENTS` with its settings, in a new process."""
        completed = subprocess.run(
            [*COMMAND, *arguments, "--config", str(self.config)],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        canary.check("the output of a command", completed.stdout + completed.stderr)
        return completed

    def invoke(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command in this process: a new process takes forty times as long as the command itself."""
        line = [*arguments, "--config", str(self.config)]
        completed = CliRunner().invoke(app, line, env=self.environment, catch_exceptions=False)
        canary.check("the output of a command", completed.stdout + completed.stderr)
        return subprocess.CompletedProcess(line, completed.exit_code, completed.stdout, completed.stderr)

    def admin(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Sends a request to the admin API. `path` begins after `/admin/v1`."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        return httpx.request(method, f"{self.host}/admin/v1{path}", headers=headers, json=body, timeout=30, **NO_TLS)

    def create_caller(self, name: str, **policy: Any) -> str:
        """Creates a caller through the admin API and returns its key."""
        created = self.admin("POST", "/callers", {"caller": name, **policy})
        assert created.status_code == 201, created.text
        return str(created.json()["key"])

    def transcribe(self, key: str, audio: bytes, model: str = "whisper-1", **headers: str) -> httpx.Response:
        """Sends one transcription request with this key."""
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        response = httpx.post(
            f"{self.base_url}/audio/transcriptions",
            headers={"authorization": f"Bearer {key}", **extra},
            data={"model": model},
            files={"file": ("a.wav", audio)},
            timeout=30,
            **NO_TLS,
        )
        canary.check("a response", repr(response.headers).encode() + response.content)
        return response

    def usage(self, *arguments: str) -> list[dict[str, Any]]:
        completed = self.invoke("usage", "--format", "json", *arguments)
        assert completed.returncode == 0, completed.stderr
        return list(json.loads(completed.stdout))

    def rows(self, where: str = "1") -> list[dict[str, Any]]:
        """Returns the ledger's requests, oldest first."""
        with contextlib.closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            cursor = connection.execute(f"SELECT * FROM requests WHERE {where} ORDER BY id")
            return [dict(row) for row in cursor]

    def row(self, request_id: str) -> dict[str, Any]:
        (row,) = self.rows(f"id = '{request_id}'")
        return row

    def wait_for_row(self, request_id: str, state: str, timeout: float = 10) -> dict[str, Any]:
        """Waits until the row of this request has this state and returns it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            rows = self.rows(f"id = '{request_id}'")
            if rows and rows[0]["state"] == state:
                return rows[0]
            time.sleep(0.01)
        raise AssertionError(f"no row {request_id} became {state}: {self.rows()}")

    def log_lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Returns the JSON lines of its log with this event."""
        complete, _, _ = self.log.read_text().rpartition("\n")  # the last line may be incomplete
        lines = [json.loads(line) for line in complete.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def wait_for_log(self, request_id: str, timeout: float = 5) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for line in self.log_lines():
                if line["request_id"] == request_id:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"no log line of {request_id}")

    def _ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 2).close()  # far cheaper than an HTTP client
            return httpx.get(f"{self.host}/readyz", timeout=2, **NO_TLS).status_code == 200
        except (OSError, httpx.TransportError):
            return False
