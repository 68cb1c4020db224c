"""SIGHUP, and how whoever sent it learns what came of it: a file beside the ledger, which holds no secret.

The command finds the process by the ledger's lock, which holds its pid. Its signal is answered by the first reload that
began after it: one that was under way already may have read the files as they were before.
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
    """What one reload came to. `began_ns` is of time.monotonic_ns(), which all processes of a machine share.

    error    why nothing was changed; None if the settings were taken in
    changed  the tables of the settings that are new
    """

    began_ns: int
    error: str | None = None
    changed: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.error is not None:
            return f"not reloaded, the settings from before stay: {self.error}"
        return f"reloaded; new are {', '.join(self.changed) or 'none of the settings, files of keys were read again'}"


class SighupWatcher:
    """SIGHUP as something to wait for. Those that come during a reload ask for one more, together."""

    def __init__(self) -> None:
        self._came = asyncio.Event()

    def listen(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._came.set)

    def close(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        ignore_sighup()

    async def next(self) -> None:
        await self._came.wait()
        self._came.clear()


def ignore_sighup() -> None:
    """Outside of `SighupWatcher` the signal does nothing: by default it would end the process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class ReloadResultFile:
    """Where the gateway of a ledger tells what its last reload came to."""

    def __init__(self, ledger: Path) -> None:
        self._path = ledger.with_name(ledger.name + ".reload")

    def clear(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def tell(self, result: ReloadResult) -> None:
        """Put it there whole; where that fails the log alone tells."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            fresh.write_text(json.dumps(asdict(result)), "utf-8")
            fresh.replace(self._path)
        except OSError as error:
            _log.warning("the outcome of a reload cannot be written: %s", error)

    def told(self) -> ReloadResult | None:
        try:
            document = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return ReloadResult(document["began_ns"], document["error"], tuple(document["changed"]))


def reload_gateway(ledger: LedgerStore, seconds: float) -> ReloadResult | None:
    """Have the gateway that serves from this ledger reload; None if it tells of no outcome in time.

    LedgerUnusable if no gateway serves from it, or if this user may not signal it.
    """
    pid, file, asked_ns = ledger.holder(), ReloadResultFile(ledger.path), time.monotonic_ns()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise LedgerUnusable(f"ledger {ledger.path}: its gateway, process {pid}: {error.strerror}") from error
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = file.told()
        if result is not None and result.began_ns >= asked_ns:
            return result
        time.sleep(POLL_SECONDS)
    return None
