"""The composition root: starts the process's parts, stops them in reverse order, and reloads the configuration."""

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
from app.adapters.sqlite import Database, LedgerExecutor, LedgerReader, LedgerWriter, SqliteLedgerStore
from app.adapters.sqlite.migration import migrate
from app.adapters.telemetry import LogQueue, build_observers
from app.adapters.webhook import WebhookDelivery
from app.api.swappable_app import SwappableApp
from app.config import Config, InvalidConfig
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.budgets import Budgets
from app.gateway.rate_limiter import RateLimiter
from app.policy.quota import Quota
from app.services.ports import LedgerUnusable
from app.snapshot import ConfigSnapshot, ProcessState, build_snapshot, check_settings

# How long requests that the shutdown cancelled may take to write their settlement.
LAST_SECONDS = 2.0

_log = logging.getLogger("audio_gateway")


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from: the configuration file, if there is one, and the environment at the process's start."""

    file: Path | None
    environ: Mapping[str, str]

    def read(self) -> Config:
        """Returns the current settings. Raises InvalidConfig with the reason if they are not valid."""
        return config.load(self.file, self.environ)

    def reread(self) -> Config:
        """Returns the current settings for a reload. An empty file raises InvalidConfig: an editor is writing it."""
        if self.file is not None and self.file.exists() and not self.file.stat().st_size:
            raise InvalidConfig(f"{self.file}: is empty")
        return self.read()


def create_app(
    settings: Config,
    source: Source,
    log_queue: LogQueue,
    server_status: ServerStatus,
    server_certificate: ServerCertificate | None = None,
) -> ASGIApp:
    """Returns the gateway as an ASGI application. A reload renews `server_certificate`, which is None without TLS.

    Raises InvalidConfig if the settings are not usable, LedgerUnusable if the ledger is not.
    """
    return _Gateway(settings, source, log_queue, server_status, server_certificate).app


class _Gateway:
    """The process: its state, the current configuration snapshot, and the snapshots that finish their last requests."""

    def __init__(
        self,
        settings: Config,
        source: Source,
        log_queue: LogQueue,
        server_status: ServerStatus,
        server_certificate: ServerCertificate | None,
    ) -> None:
        check_settings(settings, source.environ)
        database = Database(settings.ledger.path, settings.ledger.synchronous)
        self._ledger_lock: IO[str] = database.lock()
        _migrate(database)
        self._source = source
        self._server_certificate = server_certificate
        self._state = _build_process_state(settings, database, log_queue, server_status)
        self._snapshot = build_snapshot(settings, source.environ, self._state)
        self._retiring: set[asyncio.Task[None]] = set()
        self._delivery = WebhookDelivery(self._state.reader, self._state.ledger, self._snapshot.webhook)
        self._reload_results = ReloadResultFile(settings.ledger.path)
        self.app = SwappableApp(self._snapshot.application, Router(lifespan=self._lifespan).lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Opens every part, and closes those that are open in the reverse order, whatever fails."""
        state = self._state
        async with AsyncExitStack() as stack:
            stack.enter_context(self._ledger_lock)
            state.ledger.start()
            stack.callback(state.reader.close)
            stack.push_async_callback(state.ledger.stop)
            await self._snapshot.upstream_client.open()
            stack.push_async_callback(self._close_upstream_clients)
            stack.push_async_callback(state.observers.close)
            # Requests that the shutdown cancelled still write their settlement.
            stack.push_async_callback(state.admission_control.wait_until_idle, LAST_SECONDS)
            stack.push_async_callback(state.changes.close)
            stack.push_async_callback(state.reports.close)
            for work in (self._delivery.deliver, partial(_apply_resolutions, state.reader, state.budgets)):
                stack.push_async_callback(_cancel, asyncio.create_task(_repeat_every_second(work)))
            self._start_reloading(stack)
            yield

    def _start_reloading(self, stack: AsyncExitStack) -> None:
        """Reloads at each SIGHUP until the stack closes."""
        self._reload_results.clear()
        sighup = SighupWatcher()
        sighup.listen()
        stack.callback(sighup.close)
        stack.push_async_callback(_cancel, asyncio.create_task(self._reload_at_each(sighup)))

    async def _reload_at_each(self, sighup: SighupWatcher) -> None:
        while True:
            await sighup.next()
            result = await self._try_reload(time.monotonic_ns())
            await asyncio.to_thread(self._reload_results.write, result)

    async def _try_reload(self, began_ns: int) -> ReloadResult:
        """Reloads the settings, all or none of them, and logs and returns the result."""
        try:
            result = ReloadResult(began_ns, changed=await self._reload())
            _log.info("%s", result.summary)
        except (InvalidConfig, LedgerUnusable) as error:
            result = ReloadResult(began_ns, str(error))
            _log.error("%s", result.summary)
        except Exception:
            result = ReloadResult(began_ns, "an internal error of the gateway; see its log")
            _log.exception("%s", result.summary)
        return result

    async def _reload(self) -> tuple[str, ...]:
        """Swaps in a snapshot of the current settings. Returns the names of the tables that changed."""
        settings = await asyncio.to_thread(self._source.reread)
        old, new = self._snapshot, await asyncio.to_thread(self._build_next_snapshot, settings)
        certificate_on_disk = await asyncio.to_thread(certificate.read, settings.tls)
        await new.upstream_client.open()
        # The swap: from here on nothing awaits and nothing fails, so that no request sees a mixture.
        self._snapshot, self.app.application, self._delivery.webhook = new, new.application, new.webhook
        if self._server_certificate is not None and certificate_on_disk is not None:
            self._server_certificate.renew(certificate_on_disk)
        retirement = asyncio.create_task(_retire(old))
        self._retiring.add(retirement)
        retirement.add_done_callback(self._retiring.discard)
        return config.changed(old.settings, settings)

    def _build_next_snapshot(self, settings: Config) -> ConfigSnapshot:
        """Returns the snapshot of these settings. Raises InvalidConfig if a change among them needs a restart."""
        unchangeable = config.needing_restart(self._snapshot.settings, settings)
        if unchangeable:
            raise InvalidConfig(f"{', '.join(unchangeable)}: cannot change while the gateway runs; restart it")
        return build_snapshot(settings, self._source.environ, self._state)

    async def _close_upstream_clients(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(self._snapshot.upstream_client.close(), *self._retiring, return_exceptions=True)


def _build_process_state(
    settings: Config, database: Database, log_queue: LogQueue, server_status: ServerStatus
) -> ProcessState:
    """Returns the parts that every snapshot uses. Marks requests as unknown that a stopped gateway left held."""
    observers = build_observers(settings, log_queue)
    reader, ledger = LedgerReader(database), LedgerWriter(database, observers.commits.committed)
    if orphans := ledger.open():
        _log.warning("a stopped gateway left %d requests held; they are unknown now", orphans)
    server, budgets, buffer_bytes = settings.server, Budgets(reader), settings.server.max_buffer_bytes
    return ProcessState(
        sessions=SqliteLedgerStore(database),
        reader=reader,
        ledger=ledger,
        reports=LedgerExecutor(database, "reports"),
        changes=LedgerExecutor(database, "changes"),
        auth_failures=AuthFailureLimiter(server.max_bad_keys),
        budgets=budgets,
        admission_control=AdmissionControl(
            server.max_requests,
            server.max_file_bytes,
            RateLimiter(),
            budgets,
            Quota(buffer_bytes, "the memory for text fields"),
        ),
        spools=SpoolFolder(
            settings.ledger.path.parent, server.spool_memory_bytes, buffer_bytes, server.spool_total_bytes
        ),
        response_memory=Quota(buffer_bytes, "the memory for answers"),
        observers=observers,
        log_queue=log_queue,
        server_status=server_status,
    )


def _migrate(database: Database) -> None:
    if (migration := migrate(database)) is not None:
        _log.warning(
            "the ledger was migrated from schema %d to %d; a copy from before is in %s",
            migration.before,
            migration.after,
            migration.backup,
        )


async def _retire(snapshot: ConfigSnapshot) -> None:
    """Closes a snapshot's upstream client when its last request has ended."""
    try:
        await snapshot.application.emptied()
    finally:
        await snapshot.upstream_client.close()


async def _apply_resolutions(reader: LedgerReader, budgets: Budgets) -> None:
    """Brings the budgets in memory up to date with charges that `ledger resolve` changed in the ledger."""
    for resolution in reader.new_resolutions():
        budgets.adjust(resolution.caller, resolution.number, resolution.admitted_ms, resolution.change)


async def _repeat_every_second(work: Callable[[], Awaitable[None]]) -> None:
    """Repeats the work until cancelled. Logs its failures and continues."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("a background task failed; it is repeated in a second")
        await asyncio.sleep(1)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
