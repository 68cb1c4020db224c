"""Putting the parts together: the only module that knows them all."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from apsw import Connection
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from app import __version__
from app.adapters.ledger import Database, LedgerCallers, LedgerReader, LedgerWriter, standings, usage_sums
from app.adapters.notices import NoticeDelivery, Webhook
from app.adapters.spool import SpoolFolder
from app.adapters.telemetry import LineWriter, RequestJournal
from app.adapters.upstream import AiohttpProvider
from app.api import openapi, refusals
from app.api.access import identified
from app.api.admin import admin_router
from app.api.audio import AudioEndpoint
from app.api.edge import Edge
from app.api.models import models_router
from app.api.system import system_router
from app.api.usage import OwnUsage, usage_router
from app.config import Config, InvalidConfig, Task
from app.gateway.administration import Administration, AuditEntry
from app.gateway.auth import Caller, Key, KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.entry import Entrance
from app.gateway.intake import Intake
from app.gateway.limits import Limits
from app.gateway.pipeline import Pipeline
from app.gateway.relay import Relay
from app.gateway.report import Grouping, Period, UsageSum
from app.policy.terms import Tags
from app.wire import identifier

T = TypeVar("T")

LAST_SECONDS = 2.0

_log = logging.getLogger("audio_gateway")

_TASKS: dict[str, Task] = {"/v1/audio/transcriptions": "transcribe", "/v1/audio/translations": "translate"}


def create_app(settings: Config, environ: Mapping[str, str], lines: LineWriter) -> ASGIApp:
    """The gateway as an ASGI application; InvalidConfig or LedgerUnusable if it cannot be set up."""
    database = Database(settings.ledger.path, settings.ledger.synchronous)
    lock = database.lock()
    reader = LedgerReader(database)
    ledger = LedgerWriter(database)
    spools = SpoolFolder(
        settings.ledger.path.parent, settings.server.spool_memory_bytes, settings.server.spool_total_bytes
    )
    provider = AiohttpProvider(settings.upstream, settings.upstream.api_key(environ), settings.timeouts)
    _refuse_names_in_both(settings, database)
    directory = KeyDirectory(configured_keys(settings, environ), reader, settings.limits.terms)
    budgets = Budgets(reader, settings.alerts.thresholds)
    delivery = NoticeDelivery(reader, ledger, _webhook(settings, environ))
    entrance = Entrance(settings.server.max_requests, settings.server.max_file_bytes, Limits(), budgets)
    relay = Relay(provider, settings.upstream.framing, settings.timeouts, spools)
    pipeline = Pipeline(
        directory=directory,
        entrance=entrance,
        budgets=budgets,
        intake=Intake(settings.models, settings.server.max_file_bytes, spools),
        relay=relay,
        ledger=ledger,
        journal=RequestJournal(lines),
        upstream=settings.upstream.name,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with lock:
            orphans = ledger.start()
            if orphans:
                _log.warning("%d requests were left held by a gateway that was stopped; now unknown", orphans)
            await provider.open()
            await delivery.open()
            tasks = [
                asyncio.create_task(_every_second(delivery.deliver)),
                asyncio.create_task(_every_second(partial(_take_in_resolutions, reader, budgets))),
            ]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Requests that were cancelled at the end of the grace still close their rows.
            await entrance.emptied(LAST_SECONDS)
            await delivery.close()
            await provider.close()
            await ledger.stop()
            reader.close()

    app = _application(settings.server.docs, lifespan)
    identify = identified(directory)
    app.include_router(models_router(settings.models, settings.upstream.name, identify))
    app.include_router(usage_router(partial(_own_usage, database), identify))
    admin_key = settings.admin.key(environ)
    if admin_key is not None:
        administer, sums, audit = (
            partial(_administer, settings, database),
            partial(_sums, database),
            partial(_audit, database),
        )
        app.include_router(admin_router(admin_key, administer, sums, audit))
    app.include_router(system_router(lambda: ledger.writable and not relay.key_in_trouble))
    for path, task in _TASKS.items():
        endpoint = AudioEndpoint(pipeline, task, settings.timeouts)
        for each in (path, openapi.ALIASES[path]):
            app.router.routes.append(Route(each, endpoint, methods=["POST"]))
    refusals.install(app)
    openapi.describe(app)
    return Edge(app, new_request_id)


def _application(docs: bool, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """FastAPI without its own error pages, with its documentation served from here rather than from somebody's CDN."""
    make = FastAPIOffline if docs else partial(FastAPI, docs_url=None, openapi_url=None)
    return make(redoc_url=None, title="audio-gateway", version=__version__, lifespan=lifespan, redirect_slashes=False)


def configured_keys(settings: Config, environ: Mapping[str, str]) -> tuple[Key, ...]:
    """The keys of the callers that stand in the settings."""
    keys = []
    for caller in settings.callers:
        sha256 = caller.sha256(environ)
        keys.append(Key(f"config_{sha256[:8]}", caller.name, sha256, caller.terms))
    return tuple(keys)


def new_request_id() -> str:
    """A fresh id, which sorts by time and is also the id of the request's row."""
    return identifier.time_ordered("req_", time.time_ns() // 1_000_000, secrets.token_bytes(identifier.RANDOM_BYTES))


def administration(settings: Config, connection: Connection, actor: str) -> Administration:
    """What can be changed about callers, by this actor."""
    models = frozenset(model.id for model in settings.models)
    return Administration(LedgerCallers(connection), models, frozenset(each.name for each in settings.callers), actor)


async def _administer(settings: Config, database: Database, change: Callable[[Administration], T]) -> T:
    def in_thread() -> T:
        with database.session() as connection:
            return change(administration(settings, connection, "admin-api"))

    return await asyncio.to_thread(in_thread)


async def _sums(database: Database, grouping: Grouping, period: Period, caller: str | None) -> list[UsageSum]:
    def in_thread() -> list[UsageSum]:
        with database.session() as connection:
            return usage_sums(connection, grouping, period, caller)

    return await asyncio.to_thread(in_thread)


async def _own_usage(database: Database, caller: Caller, grouping: Grouping, period: Period, tags: Tags) -> OwnUsage:
    def in_thread() -> OwnUsage:
        with database.session() as connection:
            sums = usage_sums(connection, grouping, period, caller.name, tags)
            return OwnUsage(sums, standings(connection, caller.name, caller.terms.budgets, _now_ms()))

    return await asyncio.to_thread(in_thread)


async def _audit(database: Database, limit: int) -> list[AuditEntry]:
    def in_thread() -> list[AuditEntry]:
        with database.session() as connection:
            return LedgerCallers(connection).audit(limit)

    return await asyncio.to_thread(in_thread)


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


def _refuse_names_in_both(settings: Config, database: Database) -> None:
    configured = {caller.name for caller in settings.callers}
    with database.session() as connection:
        both = configured & {record.name for record in LedgerCallers(connection).all()}
    if both:
        raise InvalidConfig(f"callers.{min(both)}: a caller of this name is in the ledger too; rename one of them")


def _webhook(settings: Config, environ: Mapping[str, str]) -> Webhook | None:
    url = settings.alerts.webhook_url
    return None if url is None else Webhook(url, settings.alerts.signing_secret(environ))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
