"""The upstream of every subject: `upstream.c`, built for each run, or a witness."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.install import CACHE, HERE, Missing
from bench.process import DidNotStart, running
from bench.witness import Witness

CERTIFICATE, KEY = CACHE / "certificate.pem", CACHE / "key.pem"
_SOURCE, _PROGRAM = HERE / "upstream.c", CACHE / "upstream"
_START_SECONDS = 10


class Mode(Enum):
    """The kind of response, and TLS."""

    JSON = "json"
    SSE = "sse"
    TLS = "tls"
    WITNESS = "witness"


@dataclass(frozen=True)
class Upstream:
    port: int
    tls: bool
    witness: Witness | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"


def build() -> bool:
    """Builds upstream.c. Returns whether it supports TLS. Raises Missing if it does not compile."""
    CACHE.mkdir(exist_ok=True)
    plain = ["gcc", "-O2", "-Wall", "-o", str(_PROGRAM), str(_SOURCE)]
    if _ran([*plain, "-DWITH_TLS", "-lssl", "-lcrypto"]) and (CERTIFICATE.exists() or _ran(_certify())):
        return True
    if not _ran(plain):
        raise Missing("upstream.c could not be built; see bench/.cache/install.log")
    return False


def _certify() -> list[str]:
    """Returns the command that creates a self-signed certificate for 127.0.0.1."""
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(KEY)]
    return ["openssl", "req", "-x509", "-days", "3650", "-subj", "/CN=bench", *key, *names, "-out", str(CERTIFICATE)]


def _ran(command: list[str]) -> bool:
    try:
        with (CACHE / "install.log").open("a") as log:
            return subprocess.run(command, stdout=log, stderr=log, timeout=120, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def upstream(mode: Mode, core: int, folder: Path) -> Iterator[Upstream]:
    """Yields the running upstream."""
    if mode is Mode.WITNESS:
        with Witness() as witness:
            yield Upstream(witness.port, False, witness)
        return
    tls = mode is Mode.TLS
    command = [str(_PROGRAM), "sse" if mode is Mode.SSE else "json", *([str(CERTIFICATE), str(KEY)] if tls else [])]
    log = folder / f"upstream-{mode.value}.log"
    log.unlink(missing_ok=True)
    with running(command, core, log):
        yield Upstream(_port(log), tls)


def _port(log: Path) -> int:
    """Returns the port, which upstream.c prints first."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        line = log.read_text() if log.exists() else ""
        if line.endswith("\n"):
            return int(line)
        time.sleep(0.005)
    raise DidNotStart("the upstream printed no port")
