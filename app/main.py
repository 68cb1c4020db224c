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
from app.adapters import certificate
from app.adapters.certificate import ServerCertificate
from app.adapters.ledger import Database, LedgerDesk, LedgerReader, LedgerUnusable, LedgerWriter
from app.adapters.ledger.migration import migrate
from app.adapters.notices import NoticeDelivery
from app.adapters.reloading import Hangups, Outcome, OutcomeFile
from app.adapters.server import Serving
from app.adapters.spool import SpoolFolder
from app.adapters.telemetry import LineWriter, observing
from app.api.current import Current
from app.config import Config, InvalidConfig
from app.gateway.budgets import Budgets
from app.gateway.entry import Entrance
from app.gateway.limits import Limits
from app.gateway.throttle import Throttle
from app.generation import Generation, Lasting, checked, generation
from app.policy.quota import Quota

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
    settings: Config, source: Source, lines: LineWriter, serving: Serving, shown: ServerCertificate | None = None
) -> ASGIApp:
    """The gateway as an ASGI application; InvalidConfig or LedgerUnusable if it cannot be set up."""
    return _Gateway(settings, source, _Outlet(lines, serving), shown).current


@dataclass(frozen=True, slots=True)
class _Outlet:
    """What the process has around the application: its log, and the server that serves it."""

    lines: LineWriter
    serving: Serving


class _Gateway:
    """What lasts, and the generation that is at work now. `shown` is the certificate of the server, under TLS."""

    def __init__(self, settings: Config, source: Source, outlet: _Outlet, shown: ServerCertificate | None) -> None:
        checked(settings, source.environ)
        database = Database(settings.ledger.path, settings.ledger.synchronous)
        self._lock: IO[str] = database.lock()
        _bring_up_to_date(database)
        self._source = source
        self._shown = shown
        self._lasting = _lasting(settings, database, outlet)
        self._now = generation(settings, source.environ, self._lasting)
        self._delivery = NoticeDelivery(self._lasting.reader, self._lasting.ledger, self._now.webhook)
        self._retiring: set[asyncio.Task[None]] = set()
        self._outcomes = OutcomeFile(settings.ledger.path)
        self.current = Current(self._now.application, Router(lifespan=self._running).lifespan)

    @asynccontextmanager
    async def _running(self, _: Starlette) -> AsyncIterator[None]:
        """Everything open; in the end closed in the reverse order, whatever happens."""
        lasting = self._lasting
        async with AsyncExitStack() as stack:
            stack.enter_context(self._lock)
            lasting.ledger.start()
            stack.callback(lasting.reader.close)
            stack.push_async_callback(lasting.ledger.stop)
            await self._now.provider.open()
            stack.push_async_callback(self._close_providers)
            stack.push_async_callback(lasting.observers.close)
            # Requests that were cancelled at the end of the grace still close their rows.
            stack.push_async_callback(lasting.entrance.emptied, LAST_SECONDS)
            stack.push_async_callback(lasting.changes.close)
            stack.push_async_callback(lasting.reports.close)
            for work in (self._delivery.deliver, partial(_take_in_resolutions, lasting.reader, lasting.budgets)):
                stack.push_async_callback(_ended, asyncio.create_task(_every_second(work)))
            self._listen(stack)
            yield

    def _listen(self, stack: AsyncExitStack) -> None:
        """Reload at every SIGHUP from here on."""
        self._outcomes.clear()
        hangups = Hangups()
        hangups.listen()
        stack.callback(hangups.close)
        stack.push_async_callback(_ended, asyncio.create_task(self._reload_at(hangups)))

    async def _reload_at(self, hangups: Hangups) -> None:
        while True:
            await hangups.next()
            outcome = await self._reloaded(time.monotonic_ns())
            await asyncio.to_thread(self._outcomes.tell, outcome)

    async def _reloaded(self, began_ns: int) -> Outcome:
        """Take in the settings as they are now, all of them or none, and say once what came of it."""
        try:
            outcome = Outcome(began_ns, changed=await self._reload())
            _log.info("%s", outcome.summary)
        except (InvalidConfig, LedgerUnusable) as error:
            outcome = Outcome(began_ns, str(error))
            _log.error("%s", outcome.summary)
        except Exception:
            outcome = Outcome(began_ns, "an error of the gateway, which its log tells of")
            _log.exception("%s", outcome.summary)
        return outcome

    async def _reload(self) -> tuple[str, ...]:
        settings = await asyncio.to_thread(self._source.read_again)
        before, after = self._now, await asyncio.to_thread(self._prepared, settings)
        shown = await asyncio.to_thread(certificate.read, settings.tls)
        await after.provider.open()
        # From here to the end nothing is awaited and nothing can fail: this is the one moment of the change.
        self._now, self.current.application, self._delivery.webhook = after, after.application, after.webhook
        if self._shown is not None and shown is not None:
            self._shown.renew(shown)
        retired = asyncio.create_task(_retired(before))
        self._retiring.add(retired)
        retired.add_done_callback(self._retiring.discard)
        return config.changed(before.settings, settings)

    def _prepared(self, settings: Config) -> Generation:
        held = config.needing_restart(self._now.settings, settings)
        if held:
            raise InvalidConfig(f"{', '.join(held)}: cannot change while the gateway runs; restart it")
        return generation(settings, self._source.environ, self._lasting)

    async def _close_providers(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(self._now.provider.close(), *self._retiring, return_exceptions=True)


def _lasting(settings: Config, database: Database, outlet: _Outlet) -> Lasting:
    observers = observing(settings, outlet.lines)
    server, reader, ledger = (
        settings.server,
        LedgerReader(database),
        LedgerWriter(database, observers.commits.committed),
    )
    if orphans := ledger.open():
        _log.warning("%d requests were left held by a gateway that was stopped; now unknown", orphans)
    budgets, memory = Budgets(reader), server.max_buffer_bytes
    text = Quota(memory, "the memory for text fields")
    return Lasting(
        database=database,
        reader=reader,
        ledger=ledger,
        reports=LedgerDesk(database, "reports"),
        changes=LedgerDesk(database, "changes"),
        throttle=Throttle(server.max_bad_keys),
        budgets=budgets,
        entrance=Entrance(server.max_requests, server.max_file_bytes, Limits(), budgets, text),
        spools=SpoolFolder(settings.ledger.path.parent, server.spool_memory_bytes, memory, server.spool_total_bytes),
        answers=Quota(memory, "the memory for answers"),
        observers=observers,
        lines=outlet.lines,
        serving=outlet.serving,
    )


def _bring_up_to_date(database: Database) -> None:
    if (done := migrate(database)) is not None:
        _log.warning(
            "the ledger was brought from schema %d to %d; as it was before, it is in %s",
            done.before,
            done.after,
            done.kept,
        )


async def _retired(generation: Generation) -> None:
    """Close what a generation had open, when its last request has left it."""
    try:
        await generation.application.emptied()
    finally:
        await generation.provider.close()


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


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
