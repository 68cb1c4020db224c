"""Putting the parts together, and taking in new settings while the gateway serves."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp

from app import config
from app.adapters.server import certificate
from app.adapters.server.certificate import ServerCertificate
from app.adapters.server.reload import ReloadResult, ReloadResultFile, SighupWatcher
from app.adapters.server.uvicorn_server import ServerStatus
from app.adapters.spool import SpoolFolder
from app.adapters.sqlite import Database, LedgerExecutor, LedgerReader, LedgerUnusable, LedgerWriter
from app.adapters.sqlite.migration import migrate
from app.adapters.telemetry import LineWriter, observing
from app.adapters.webhook import WebhookDelivery
from app.api.swappable_app import SwappableApp
from app.config import Config, InvalidConfig
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.budgets import Budgets
from app.gateway.rate_limiter import RateLimiter
from app.policy.quota import Quota
from app.snapshot import ConfigSnapshot, ProcessState, build_snapshot, check_settings

LAST_SECONDS = 2.0

_log = logging.getLogger("audio_gateway")


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from: the file, if there is one, and the environment, which a process keeps as it began."""

    file: Path | None
    environ: Mapping[str, str]

    def read(self) -> Config:
        """The settings as they are now; InvalidConfig says what is wrong with them."""
        return config.load(self.file, self.environ)

    def read_again(self) -> Config:
        """The same for a running gateway: a file without a byte is one that is just being written."""
        if self.file is not None and self.file.exists() and not self.file.stat().st_size:
            raise InvalidConfig(f"{self.file}: is empty")
        return self.read()


def create_app(
    settings: Config, source: Source, lines: LineWriter, serving: ServerStatus, shown: ServerCertificate | None = None
) -> ASGIApp:
    """The gateway as an ASGI application; InvalidConfig or LedgerUnusable if it cannot be set up."""
    return _Gateway(settings, source, _ProcessIO(lines, serving), shown).current


@dataclass(frozen=True, slots=True)
class _ProcessIO:
    """What the process has around the application: its log, and the server that serves it."""

    lines: LineWriter
    serving: ServerStatus


class _Gateway:
    """What lasts, and the generation that is at work now. `shown` is the certificate of the server, under TLS."""

    def __init__(
        self, settings: Config, source: Source, process_io: _ProcessIO, shown: ServerCertificate | None
    ) -> None:
        check_settings(settings, source.environ)
        database = Database(settings.ledger.path, settings.ledger.synchronous)
        self._lock: IO[str] = database.lock()
        _migrate(database)
        self._source = source
        self._shown = shown
        self._state = _process_state(settings, database, process_io)
        self._now = build_snapshot(settings, source.environ, self._state)
        self._delivery = WebhookDelivery(self._state.reader, self._state.ledger, self._now.webhook)
        self._retiring: set[asyncio.Task[None]] = set()
        self._outcomes = ReloadResultFile(settings.ledger.path)
        self.current = SwappableApp(self._now.application, Router(lifespan=self._running).lifespan)

    @asynccontextmanager
    async def _running(self, _: Starlette) -> AsyncIterator[None]:
        """Everything open; in the end closed in the reverse order, whatever happens."""
        state = self._state
        async with AsyncExitStack() as stack:
            stack.enter_context(self._lock)
            state.ledger.start()
            stack.callback(state.reader.close)
            stack.push_async_callback(state.ledger.stop)
            await self._now.provider.open()
            stack.push_async_callback(self._close_providers)
            stack.push_async_callback(state.observers.close)
            # Requests that were cancelled at the end of the grace still close their rows.
            stack.push_async_callback(state.admission_control.emptied, LAST_SECONDS)
            stack.push_async_callback(state.changes.close)
            stack.push_async_callback(state.reports.close)
            for work in (self._delivery.deliver, partial(_take_in_resolutions, state.reader, state.budgets)):
                stack.push_async_callback(_cancel, asyncio.create_task(_every_second(work)))
            self._listen(stack)
            yield

    def _listen(self, stack: AsyncExitStack) -> None:
        """Reload at every SIGHUP from here on."""
        self._outcomes.clear()
        sighup = SighupWatcher()
        sighup.listen()
        stack.callback(sighup.close)
        stack.push_async_callback(_cancel, asyncio.create_task(self._reload_at(sighup)))

    async def _reload_at(self, sighup: SighupWatcher) -> None:
        while True:
            await sighup.next()
            result = await self._reloaded(time.monotonic_ns())
            await asyncio.to_thread(self._outcomes.tell, result)

    async def _reloaded(self, began_ns: int) -> ReloadResult:
        """Take in the settings as they are now, all of them or none, and say once what came of it."""
        try:
            result = ReloadResult(began_ns, changed=await self._reload())
            _log.info("%s", result.summary)
        except (InvalidConfig, LedgerUnusable) as error:
            result = ReloadResult(began_ns, str(error))
            _log.error("%s", result.summary)
        except Exception:
            result = ReloadResult(began_ns, "an error of the gateway, which its log tells of")
            _log.exception("%s", result.summary)
        return result

    async def _reload(self) -> tuple[str, ...]:
        settings = await asyncio.to_thread(self._source.read_again)
        before, after = self._now, await asyncio.to_thread(self._prepared, settings)
        shown = await asyncio.to_thread(certificate.read, settings.tls)
        await after.provider.open()
        # From here to the end nothing is awaited and nothing can fail: this is the one moment of the change.
        self._now, self.current.application, self._delivery.webhook = after, after.application, after.webhook
        if self._shown is not None and shown is not None:
            self._shown.renew(shown)
        retired = asyncio.create_task(_retire(before))
        self._retiring.add(retired)
        retired.add_done_callback(self._retiring.discard)
        return config.changed(before.settings, settings)

    def _prepared(self, settings: Config) -> ConfigSnapshot:
        held = config.needing_restart(self._now.settings, settings)
        if held:
            raise InvalidConfig(f"{', '.join(held)}: cannot change while the gateway runs; restart it")
        return build_snapshot(settings, self._source.environ, self._state)

    async def _close_providers(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(self._now.provider.close(), *self._retiring, return_exceptions=True)


def _process_state(settings: Config, database: Database, process_io: _ProcessIO) -> ProcessState:
    observers = observing(settings, process_io.lines)
    server, reader, ledger = (
        settings.server,
        LedgerReader(database),
        LedgerWriter(database, observers.commits.committed),
    )
    if orphans := ledger.open():
        _log.warning("%d requests were left held by a gateway that was stopped; now unknown", orphans)
    budgets, memory = Budgets(reader), server.max_buffer_bytes
    text = Quota(memory, "the memory for text fields")
    return ProcessState(
        database=database,
        reader=reader,
        ledger=ledger,
        reports=LedgerExecutor(database, "reports"),
        changes=LedgerExecutor(database, "changes"),
        auth_failures=AuthFailureLimiter(server.max_bad_keys),
        budgets=budgets,
        admission_control=AdmissionControl(server.max_requests, server.max_file_bytes, RateLimiter(), budgets, text),
        spools=SpoolFolder(settings.ledger.path.parent, server.spool_memory_bytes, memory, server.spool_total_bytes),
        answers=Quota(memory, "the memory for answers"),
        observers=observers,
        lines=process_io.lines,
        serving=process_io.serving,
    )


def _migrate(database: Database) -> None:
    if (done := migrate(database)) is not None:
        _log.warning(
            "the ledger was brought from schema %d to %d; as it was before, it is in %s",
            done.before,
            done.after,
            done.kept,
        )


async def _retire(build_snapshot: ConfigSnapshot) -> None:
    """Close what a generation had open, when its last request has left it."""
    try:
        await build_snapshot.application.emptied()
    finally:
        await build_snapshot.provider.close()


async def _take_in_resolutions(reader: LedgerReader, budgets: Budgets) -> None:
    for resolution in reader.new_resolutions():
        budgets.adjust(resolution.caller, resolution.number, resolution.admitted_ms, resolution.change)


async def _every_second(work: Callable[[], Awaitable[None]]) -> None:
    """Do this again and again until cancelled; a failure is logged and ends nothing."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("work beside the requests failed")
        await asyncio.sleep(1)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
