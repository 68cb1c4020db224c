"""Reload by SIGHUP. The gateway writes the result to a file beside the ledger, which holds no secret.

The command `reload` finds the process by the ledger's lock, which has its pid. The command waits for the result of a
reload that began after its signal: an earlier one may have read the old files.
"""

import asyncio
import json
import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.services.ports import LedgerStore, LedgerUnusable

POLL_SECONDS = 0.05

_log = logging.getLogger("audio_gateway.reload")


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The result of one reload.

    began_ns  time.monotonic_ns(), a clock that all processes of a machine share
    error     why nothing changed; None after a success
    changed   the tables of the settings that differ
    """

    began_ns: int
    error: str | None = None
    changed: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The result in one line."""
        if self.error is not None:
            return f"not reloaded, the previous settings stay: {self.error}"
        return f"reloaded; changed: {', '.join(self.changed) or 'none of the settings; key files were read again'}"


class SighupWatcher:
    """Waits for SIGHUP. Signals that arrive during a reload cause one more reload together."""

    def __init__(self) -> None:
        self._received = asyncio.Event()

    def listen(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._received.set)

    def close(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        ignore_sighup()

    async def next(self) -> None:
        """Returns when a signal has arrived since the last call."""
        await self._received.wait()
        self._received.clear()


def ignore_sighup() -> None:
    """Ignores SIGHUP while no SighupWatcher listens: by default it would end the process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class ReloadResultFile:
    """The file beside a ledger with the result of its gateway's last reload."""

    def __init__(self, ledger: Path) -> None:
        self._path = ledger.with_name(ledger.name + ".reload")

    def clear(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def write(self, result: ReloadResult) -> None:
        """Replaces the file in one step. A failure is only logged: the log has the result, too."""
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_text(json.dumps(asdict(result)), "utf-8")
            temporary.replace(self._path)
        except OSError as error:
            _log.warning("the result of a reload cannot be written: %s", error)

    def read(self) -> ReloadResult | None:
        """Returns the last result; None if there is none that can be read."""
        try:
            document = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return ReloadResult(document["began_ns"], document["error"], tuple(document["changed"]))


def reload_gateway(ledger: LedgerStore, seconds: float) -> ReloadResult | None:
    """Signals the gateway that serves from this ledger and returns the result; None after `seconds` without one.

    Raises LedgerUnusable if no gateway serves from it, or if this user may not signal the process.
    """
    pid, file, signalled_ns = ledger.holder(), ReloadResultFile(ledger.path), time.monotonic_ns()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise LedgerUnusable(f"ledger {ledger.path}: its gateway, process {pid}: {error.strerror}") from error
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = file.read()
        if result is not None and result.began_ns >= signalled_ns:
            return result
        time.sleep(POLL_SECONDS)
    return None
