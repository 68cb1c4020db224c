"""A running subject: where to send requests, with which headers, and the meter of its processes."""

import http.client
import json
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.form import PATH, SMALL_BYTES, Form, form
from bench.meter import ProcessMeter
from bench.process import DidNotStart, free_ports, running, wait_until_healthy
from bench.subjects import Setting, Subject
from bench.upstream import Upstream
from bench.witness import Witness

TIMEOUT_SECONDS = 60
_READY_SECONDS = 10


class WrongAnswer(Exception):
    """A subject's response is not the upstream's."""


@dataclass(frozen=True)
class Target:
    """`meter` is None without a gateway. `start_seconds` is the time to its first healthy response. `witness` is the
    upstream if it is a Witness.
    """

    port: int
    tls: bool
    headers: dict[str, str]
    folder: Path
    meter: ProcessMeter | None = None
    start_seconds: float = 0
    witness: Witness | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{PATH}"

    def cpu_seconds(self) -> float:
        """Returns the CPU time of the gateway so far, 0 without a gateway."""
        return self.meter.cpu_seconds() if self.meter else 0

    def head(self, upload: Form, *, close: bool = False) -> bytes:
        headers = {**self.headers, "Connection": "close"} if close else self.headers
        return upload.head(f"127.0.0.1:{self.port}", headers)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _unverified().wrap_socket(connection) if self.tls else connection


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answer_on(connection: socket.socket) -> bytes:
    """Returns the body of the response on this connection. Raises WrongAnswer unless it is a success."""
    response = http.client.HTTPResponse(connection, method="POST")
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException as error:
        raise WrongAnswer(f"no answer: {type(error).__name__}") from error
    if response.status != 200:
        raise WrongAnswer(f"status {response.status}: {body[:100].decode(errors='replace')}")
    return body


@contextmanager
def started(subject: Subject, upstream: Upstream, core: int, folder: Path) -> Iterator[Target]:
    """Yields the running subject after one successful request. Raises DidNotStart or WrongAnswer."""
    headers = subject.headers(upstream)
    if subject.launch is None:
        yield Target(upstream.port, upstream.tls, headers, folder, witness=upstream.witness)
        return
    home = folder / subject.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    setting = Setting(home, *free_ports(), upstream)
    launch = subject.launch(setting)
    began = time.monotonic()
    with running(launch.command, core, home / "output.log", launch.environment) as process:
        wait_until_healthy(process, setting.port, subject.health)
        taken = time.monotonic() - began
        target = Target(setting.port, False, headers, home, ProcessMeter(process.pid), taken, upstream.witness)
        _prove(target)
        yield target


def _prove(target: Target) -> None:
    """Waits until one upload succeeds. A gateway may need some time to find its upstream."""
    deadline = time.monotonic() + _READY_SECONDS
    upload = form(SMALL_BYTES)
    while True:
        try:
            with closing(target.connect()) as connection:
                connection.sendall(target.head(upload, close=True) + upload.body)
                _check(answer_on(connection))
                return
        except (OSError, WrongAnswer) as error:
            if time.monotonic() > deadline:
                raise DidNotStart(f"it does not transcribe: {error}") from error
            time.sleep(0.05)


def _check(body: bytes) -> None:
    """Checks the size of the upload that the upstream reports. A stream reports none."""
    if b"end=" in body:
        return
    report = json.loads(body).get("text", "")
    if int(report.partition(" ")[0]) < SMALL_BYTES:
        raise WrongAnswer(f"the upstream got {report}")


def clear(folder: Path) -> None:
    """Empties the folder of earlier runs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
