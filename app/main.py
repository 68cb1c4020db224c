"""Putting the parts together: the only module that knows them all."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from app import __version__, config
from app.adapters.ledger import Database, Keys, LedgerWriter, usage_sums
from app.adapters.spool import SpoolFolder
from app.adapters.telemetry import LineWriter, RequestJournal
from app.adapters.upstream import AiohttpProvider
from app.api import openapi, refusals
from app.api.access import identified
from app.api.audio import AudioEndpoint
from app.api.edge import Edge
from app.api.models import models_router
from app.api.system import system_router
from app.api.usage import usage_router
from app.config import Config, Task
from app.gateway.auth import Key, KeyDirectory
from app.gateway.entry import Entrance
from app.gateway.intake import Intake
from app.gateway.pipeline import Pipeline
from app.gateway.relay import Relay
from app.gateway.report import Grouping, Period, UsageSum
from app.wire import identifier

_log = logging.getLogger("audio_gateway")

_TASKS: dict[str, Task] = {"/v1/audio/transcriptions": "transcribe", "/v1/audio/translations": "translate"}


def create_app(settings: Config, environ: Mapping[str, str], lines: LineWriter) -> ASGIApp:
    """The gateway as an ASGI application; InvalidConfig or LedgerUnusable if it cannot be set up."""
    database = Database(settings.ledger.path, settings.ledger.synchronous)
    lock = database.lock()
    keys = Keys(database)
    ledger = LedgerWriter(database)
    spools = SpoolFolder(
        settings.ledger.path.parent, settings.server.spool_memory_bytes, settings.server.spool_total_bytes
    )
    provider = AiohttpProvider(settings.upstream, settings.upstream.api_key(environ), settings.timeouts)
    directory = KeyDirectory(configured_keys(settings, environ), keys)
    relay = Relay(provider, settings.upstream.framing, settings.timeouts, spools)
    pipeline = Pipeline(
        directory=directory,
        entrance=Entrance(settings.server.max_requests, settings.server.max_file_bytes),
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
            yield
            await provider.close()
            await ledger.stop()
            keys.close()

    async def sums(grouping: Grouping, period: Period, caller: str) -> list[UsageSum]:
        return await asyncio.to_thread(_sums_of, database, grouping, period, caller)

    app = _application(settings.server.docs, lifespan)
    identify = identified(directory)
    app.include_router(models_router(settings.models, settings.upstream.name, identify))
    app.include_router(usage_router(sums, identify))
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
        sha256 = config.caller_key_sha256(caller, environ)
        models = None if caller.models is None else frozenset(caller.models)
        keys.append(Key(f"config_{sha256[:8]}", caller.name, sha256, models))
    return tuple(keys)


def new_request_id() -> str:
    """A fresh id, which sorts by time and is also the id of the request's row."""
    return identifier.time_ordered("req_", time.time_ns() // 1_000_000, secrets.token_bytes(identifier.RANDOM_BYTES))


def _sums_of(database: Database, grouping: Grouping, period: Period, caller: str) -> list[UsageSum]:
    with closing(database.connect()) as connection:
        return usage_sums(connection, grouping, period, caller)
