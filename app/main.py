"""Putting the parts together: the only module that knows them all."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from apsw import Connection
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import SecretStr
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from app import __version__
from app.adapters.ledger import (
    Database,
    LedgerCallers,
    LedgerDesk,
    LedgerReader,
    LedgerWriter,
    standings,
    usage_sums,
)
from app.adapters.ledger.migration import migrate
from app.adapters.notices import NoticeDelivery, Webhook
from app.adapters.server import Serving
from app.adapters.spool import SpoolFolder
from app.adapters.telemetry import Gauges, LineWriter, Observers, observing, scrape
from app.adapters.upstream import AiohttpProvider
from app.api import openapi, refusals
from app.api.access import identified
from app.api.admin import admin_router
from app.api.audio import AudioEndpoint
from app.api.edge import Edge
from app.api.metrics import metrics_router
from app.api.models import models_router
from app.api.system import system_router
from app.api.usage import OwnUsage, usage_router
from app.clock import now_ms
from app.config import Config, InvalidConfig, TimeoutSettings
from app.gateway.administration import Administration, AuditEntry
from app.gateway.auth import Caller, Key, KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.call import ALIASES, ENDPOINTS
from app.gateway.entry import Entrance
from app.gateway.intake import Intake
from app.gateway.limits import Limits
from app.gateway.pipeline import Pipeline
from app.gateway.relay import Relay
from app.gateway.report import Grouping, Period, UsageSum
from app.gateway.throttle import Throttle
from app.policy.terms import Tags
from app.wire import identifier

T = TypeVar("T")

LAST_SECONDS = 2.0

_log = logging.getLogger("audio_gateway")


def create_app(settings: Config, environ: Mapping[str, str], lines: LineWriter, serving: Serving) -> ASGIApp:
    """The gateway as an ASGI application; InvalidConfig or LedgerUnusable if it cannot be set up."""
    parts = _assembled(settings, environ, lines)
    app = _application(settings.server.docs, parts.running)
    admin_key = settings.admin.key(environ)
    ready = partial(_ready, parts, serving)
    _add_routes(app, settings, admin_key, parts, ready)
    if settings.metrics.enabled:
        gauges = parts.gauges(ready, serving, lines, settings.ledger.path)
        render = scrape(parts.observers.requests, parts.observers.commits, gauges)
        app.include_router(metrics_router(render, admin_key, parts.throttle, open=settings.metrics.open))
    refusals.install(app)
    openapi.describe(app)
    return Edge(app, _audio_endpoints(parts.pipeline, settings.timeouts), new_request_id, lines.request_id.set)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is opened and closed with the gateway, and what the routes are made of."""

    lock: IO[str]
    reader: LedgerReader
    ledger: LedgerWriter
    reports: LedgerDesk
    changes: LedgerDesk
    provider: AiohttpProvider
    directory: KeyDirectory
    throttle: Throttle
    budgets: Budgets
    delivery: NoticeDelivery
    entrance: Entrance
    relay: Relay
    pipeline: Pipeline
    spools: SpoolFolder
    observers: Observers

    def gauges(self, ready: Callable[[], bool], serving: Serving, lines: LineWriter, path: Path) -> Gauges:
        """What a scrape reads."""
        return Gauges(
            ready=ready,
            serving=serving,
            lines=lines,
            entrance=self.entrance,
            budgets=self.budgets,
            spools=self.spools,
            ledger=self.ledger,
            ledger_path=path,
            requests=self.observers.requests,
        )

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Everything open; in the end closed in the reverse order, whatever happens."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self.lock)
            self.ledger.start()
            stack.callback(self.reader.close)
            stack.push_async_callback(self.ledger.stop)
            await self.provider.open()
            stack.push_async_callback(self.provider.close)
            await self.delivery.open()
            stack.push_async_callback(self.delivery.close)
            stack.push_async_callback(self.observers.close)
            # Requests that were cancelled at the end of the grace still close their rows.
            stack.push_async_callback(self.entrance.emptied, LAST_SECONDS)
            stack.push_async_callback(self.changes.close)
            stack.push_async_callback(self.reports.close)
            for work in (self.delivery.deliver, partial(_take_in_resolutions, self.reader, self.budgets)):
                stack.push_async_callback(_ended, asyncio.create_task(_every_second(work)))
            yield


def _assembled(settings: Config, environ: Mapping[str, str], lines: LineWriter) -> _Parts:
    provider = AiohttpProvider(settings.upstream, settings.upstream.api_key(environ), settings.timeouts)
    keys = configured_keys(settings, environ)
    database = Database(settings.ledger.path, settings.ledger.synchronous)
    lock = database.lock()
    _bring_up_to_date(database)
    reader = LedgerReader(database)
    told = observing(settings, lines)
    ledger = LedgerWriter(database, told.commits.committed)
    if orphans := ledger.open():
        _log.warning("%d requests were left held by a gateway that was stopped; now unknown", orphans)
    server = settings.server
    spools = SpoolFolder(settings.ledger.path.parent, server.spool_memory_bytes, server.spool_total_bytes)
    _refuse_names_in_both(settings, database)
    directory = KeyDirectory(keys, reader, settings.limits.terms)
    throttle = Throttle(server.max_bad_keys)
    budgets = Budgets(reader, settings.alerts.thresholds)
    entrance = Entrance(server.max_requests, server.max_file_bytes, Limits(), budgets)
    relay = Relay(provider, settings.upstream.framing, settings.timeouts, spools)
    return _Parts(
        lock=lock,
        reader=reader,
        ledger=ledger,
        reports=LedgerDesk(database, "reports"),
        changes=LedgerDesk(database, "changes"),
        provider=provider,
        directory=directory,
        throttle=throttle,
        budgets=budgets,
        delivery=NoticeDelivery(reader, ledger, _webhook(settings, environ)),
        entrance=entrance,
        relay=relay,
        pipeline=Pipeline(
            directory=directory,
            throttle=throttle,
            entrance=entrance,
            budgets=budgets,
            intake=Intake(settings.models, server.max_file_bytes, spools),
            relay=relay,
            ledger=ledger,
            journal=told.journal,
            upstream=settings.upstream.name,
            onward=told.onward,
        ),
        spools=spools,
        observers=told,
    )


def _ready(parts: _Parts, serving: Serving) -> bool:
    return parts.ledger.writable and not parts.relay.key_in_trouble and not serving.draining


def _add_routes(
    app: FastAPI, settings: Config, admin_key: SecretStr | None, parts: _Parts, ready: Callable[[], bool]
) -> None:
    identify = identified(parts.directory, parts.throttle)
    app.include_router(models_router(settings.models, settings.upstream.name, identify))
    app.include_router(usage_router(partial(_own_usage, parts.reports), identify))
    if admin_key is not None:
        administer = partial(_administer, settings, parts.changes)
        sums, audit = partial(_sums, parts.reports), partial(_audit, parts.reports)
        app.include_router(admin_router(admin_key, parts.throttle, administer, sums, audit))
    app.include_router(system_router(ready))
    for path, endpoint in _audio_endpoints(parts.pipeline, settings.timeouts).items():
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))


def _audio_endpoints(pipeline: Pipeline, timeouts: TimeoutSettings) -> dict[str, ASGIApp]:
    """Both tasks, each by its path and by its alias."""
    endpoints = {task: AudioEndpoint(pipeline, task, timeouts) for task in ENDPOINTS}
    return {paths[task]: endpoint for paths in (ENDPOINTS, ALIASES) for task, endpoint in endpoints.items()}


def _application(docs: bool, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """FastAPI without its own error pages and its own telemetry, which the environment could turn on and which tells of
    bodies; with its documentation served from here rather than from somebody's CDN.
    """
    make = FastAPIOffline if docs else partial(FastAPI, docs_url=None, openapi_url=None)
    return make(
        redoc_url=None,
        title="audio-gateway",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )


def configured_keys(settings: Config, environ: Mapping[str, str]) -> tuple[Key, ...]:
    """The keys of the callers that stand in the settings; InvalidConfig if two of them have one and the same."""
    keys: dict[str, Key] = {}
    for caller in settings.callers:
        sha256 = caller.sha256(environ)
        if sha256 in keys:
            raise InvalidConfig(f"callers.{caller.name}: has the same key as callers.{keys[sha256].caller}")
        keys[sha256] = Key(f"config_{sha256[:8]}", caller.name, sha256, caller.terms)
    return tuple(keys.values())


def new_request_id() -> str:
    """A fresh id, which sorts by time and is also the id of the request's row."""
    return identifier.time_ordered("req_", now_ms(), secrets.token_bytes(identifier.RANDOM_BYTES))


def administration(settings: Config, connection: Connection, actor: str) -> Administration:
    """What can be changed about callers, by this actor."""
    models = frozenset(model.id for model in settings.models)
    configured = {each.name: each.terms for each in settings.callers}
    return Administration(LedgerCallers(connection), models, configured, actor)


async def _administer(settings: Config, desk: LedgerDesk, change: Callable[[Administration], T]) -> T:
    return await desk.run(lambda connection: change(administration(settings, connection, "admin-api")))


async def _sums(desk: LedgerDesk, grouping: Grouping, period: Period, caller: str | None) -> list[UsageSum]:
    return await desk.run(lambda connection: usage_sums(connection, grouping, period, caller))


async def _own_usage(desk: LedgerDesk, caller: Caller, grouping: Grouping, period: Period, tags: Tags) -> OwnUsage:
    def own_usage(connection: Connection) -> OwnUsage:
        sums = usage_sums(connection, grouping, period, caller.name, tags)
        return OwnUsage(sums, standings(connection, caller.name, caller.terms.budgets, now_ms()))

    return await desk.run(own_usage)


async def _audit(desk: LedgerDesk, limit: int) -> list[AuditEntry]:
    return await desk.run(lambda connection: LedgerCallers(connection).audit(limit))


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


def _refuse_names_in_both(settings: Config, database: Database) -> None:
    configured = {caller.name for caller in settings.callers}
    with database.session() as connection:
        both = configured & {record.name for record in LedgerCallers(connection).all()}
    if both:
        raise InvalidConfig(f"callers.{min(both)}: a caller of this name is in the ledger too; rename one of them")


def _bring_up_to_date(database: Database) -> None:
    if (done := migrate(database)) is not None:
        _log.warning(
            "the ledger was brought from schema %d to %d; as it was before, it is in %s",
            done.before,
            done.after,
            done.kept,
        )


def _webhook(settings: Config, environ: Mapping[str, str]) -> Webhook | None:
    url = settings.alerts.webhook_url
    return None if url is None else Webhook(url, settings.alerts.signing_secret(environ))
