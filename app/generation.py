"""What one reading of the settings makes: keys, models, prices, the provider's connection, the routes.

A reload makes all of it anew and puts it in the place of what was there, as a whole: a request is answered by the
generation that it began with. What outlasts a reload, such as the holds of budgets, is `Lasting`.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from apsw import Connection
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.routing import Route
from starlette.types import ASGIApp

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
from app.adapters.notices import Webhook
from app.adapters.server import Serving
from app.adapters.spool import SpoolFolder
from app.adapters.telemetry import Gauges, LineWriter, Observers, scrape
from app.adapters.upstream import HttpProvider
from app.api import openapi, refusals
from app.api.access import identified
from app.api.admin import admin_router
from app.api.audio import AudioEndpoint
from app.api.browser import Cors, StrictTransport
from app.api.current import Occupied
from app.api.docs_page import add_docs
from app.api.edge import Edge
from app.api.metrics import metrics_router
from app.api.models import models_router
from app.api.system import system_router
from app.api.usage import OwnUsage, usage_router
from app.callers import administration, configured_keys, reconciliation, refuse_names_in_both
from app.clock import now_ms
from app.config import Config, TimeoutSettings
from app.gateway.administration import Administration, AuditEntry
from app.gateway.auth import Caller, KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.call import ALIASES, ENDPOINTS
from app.gateway.entry import Entrance
from app.gateway.intake import Intake
from app.gateway.pipeline import Pipeline
from app.gateway.reconciliation import Reconciliation
from app.gateway.relay import Relay
from app.gateway.report import Grouping, Period, UsageSum
from app.gateway.throttle import Throttle
from app.policy.quota import Quota
from app.policy.terms import Tags
from app.wire import identifier

T = TypeVar("T")

_TITLE = "audio-gateway"


@dataclass(frozen=True, slots=True)
class Lasting:
    """What is there from the start of the process to its end: the ledger, and all that is counted in memory."""

    database: Database
    reader: LedgerReader
    ledger: LedgerWriter
    reports: LedgerDesk
    changes: LedgerDesk
    throttle: Throttle
    budgets: Budgets
    entrance: Entrance
    spools: SpoolFolder
    answers: Quota
    observers: Observers
    lines: LineWriter
    serving: Serving


@dataclass(frozen=True, slots=True)
class Generation:
    """One reading of the settings at work. The provider's connections belong to it: they have its address and key."""

    settings: Config
    provider: HttpProvider
    webhook: Webhook | None
    application: Occupied


@dataclass(frozen=True, slots=True)
class _Way:
    """The way of a request under these settings."""

    directory: KeyDirectory
    pipeline: Pipeline


def generation(settings: Config, environ: Mapping[str, str], lasting: Lasting) -> Generation:
    """All that these settings make; InvalidConfig or LedgerUnusable if that cannot be. Nothing of it is at work yet."""
    refuse_names_in_both(settings, lasting.database)
    provider = checked(settings, environ)
    way = _way(settings, environ, lasting, provider)
    endpoints = _audio_endpoints(way.pipeline, settings.timeouts)
    app = _application(settings.server.docs)
    _add_routes(app, settings, settings.admin.key(environ), lasting, way)
    app.router.routes.extend(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items())
    refusals.install(app)
    openapi.describe(app)
    posts = {path: _for_browsers(endpoint, settings) for path, endpoint in endpoints.items()}
    edge = Edge(_for_browsers(app, settings), posts, new_request_id, lasting.lines.request_id.set)
    return Generation(settings, provider, webhook(settings, environ), Occupied(edge))


def checked(settings: Config, environ: Mapping[str, str]) -> HttpProvider:
    """The provider's connections, not open yet; InvalidConfig if keys or files of the settings cannot be used."""
    configured_keys(settings, environ)
    settings.admin.key(environ)
    settings.metrics.key()
    webhook(settings, environ)
    return HttpProvider(settings.upstream, settings.upstream.api_key(environ), settings.timeouts)


def new_request_id() -> str:
    """A fresh id, which sorts by time and is also the id of the request's row."""
    return identifier.time_ordered("req_", now_ms(), secrets.token_bytes(identifier.RANDOM_BYTES))


def webhook(settings: Config, environ: Mapping[str, str]) -> Webhook | None:
    """Where notices go; InvalidConfig if nothing is there to sign them with."""
    url = settings.alerts.webhook_url
    return None if url is None else Webhook(url, settings.alerts.signing_secret(environ))


def _way(settings: Config, environ: Mapping[str, str], lasting: Lasting, provider: HttpProvider) -> _Way:
    directory = KeyDirectory(configured_keys(settings, environ), lasting.reader, settings.limits.terms)
    relay = Relay(provider, settings.upstream.framing, settings.timeouts, lasting.spools, lasting.answers)
    pipeline = Pipeline(
        directory=directory,
        throttle=lasting.throttle,
        entrance=lasting.entrance,
        budgets=lasting.budgets.noticed_at(settings.alerts.thresholds),
        intake=Intake(settings.models, settings.server.max_file_bytes, lasting.spools),
        relay=relay,
        ledger=lasting.ledger,
        journal=lasting.observers.journal,
        upstream=settings.upstream.name,
        onward=lasting.observers.onward,
    )
    return _Way(directory, pipeline)


def _application(docs: bool) -> FastAPI:
    """FastAPI without its own error pages and without its own telemetry, which the environment could turn on and which
    reports bodies.
    """
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if docs else None,
        title=_TITLE,
        version=__version__,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    if docs:
        add_docs(app, "/docs", "/openapi.json")
    return app


def _add_routes(app: FastAPI, settings: Config, admin_key: SecretStr | None, lasting: Lasting, way: _Way) -> None:
    identify = identified(way.directory, lasting.throttle)
    app.include_router(models_router(settings.models, settings.upstream.name, identify))
    app.include_router(usage_router(partial(_own_usage, lasting.reports), identify))
    if admin_key is not None:
        administer = partial(_administer, settings, lasting.changes)
        reconcile = partial(_reconcile, settings, lasting.changes)
        sums, audit = partial(_sums, lasting.reports), partial(_audit, lasting.reports)
        app.include_router(admin_router(admin_key, lasting.throttle, administer, reconcile, sums, audit))
    ready = partial(_ready, lasting)
    app.include_router(system_router(ready))
    if settings.metrics.enabled:
        render = scrape(lasting.observers.requests, lasting.observers.commits, _gauges(settings, lasting, ready))
        keys = [key for key in (settings.metrics.key(), admin_key) if key is not None]
        app.include_router(metrics_router(render, keys, lasting.throttle, open=settings.metrics.open))


def _ready(lasting: Lasting) -> bool:
    """Whether this process can serve. A provider in trouble has a metric and alerts: no restart and no other replica
    would help, and without requests nothing would show that it works again.
    """
    return lasting.ledger.writable and not lasting.serving.draining


def _gauges(settings: Config, lasting: Lasting, ready: Callable[[], bool]) -> Gauges:
    """What a scrape reads."""
    return Gauges(
        ready=ready,
        serving=lasting.serving,
        lines=lasting.lines,
        entrance=lasting.entrance,
        budgets=lasting.budgets,
        spools=lasting.spools,
        answers=lasting.answers,
        ledger=lasting.ledger,
        ledger_path=settings.ledger.path,
        requests=lasting.observers.requests,
    )


def _audio_endpoints(pipeline: Pipeline, timeouts: TimeoutSettings) -> dict[str, ASGIApp]:
    """Both tasks, each by its path and by its alias."""
    endpoints = {task: AudioEndpoint(pipeline, task, timeouts) for task in ENDPOINTS}
    return {paths[task]: endpoint for paths in (ENDPOINTS, ALIASES) for task, endpoint in endpoints.items()}


def _for_browsers(app: ASGIApp, settings: Config) -> ASGIApp:
    """What the settings ask for around an application; without any, the application itself."""
    if settings.cors.origins:
        app = Cors(app, settings.cors.origins)
    may_be_https = settings.tls.certificate_file is not None or settings.server.forwarded_allow_ips
    return StrictTransport(app) if may_be_https else app


async def _administer(settings: Config, desk: LedgerDesk, change: Callable[[Administration], T]) -> T:
    return await desk.run(lambda connection: change(administration(settings, connection, "admin-api")))


async def _reconcile(settings: Config, desk: LedgerDesk, work: Callable[[Reconciliation], T]) -> T:
    return await desk.run(lambda connection: work(reconciliation(settings, connection, "admin-api")))


async def _sums(desk: LedgerDesk, grouping: Grouping, period: Period, caller: str | None) -> list[UsageSum]:
    return await desk.run(lambda connection: usage_sums(connection, grouping, period, caller))


async def _own_usage(desk: LedgerDesk, caller: Caller, grouping: Grouping, period: Period, tags: Tags) -> OwnUsage:
    def own_usage(connection: Connection) -> OwnUsage:
        sums = usage_sums(connection, grouping, period, caller.name, tags)
        return OwnUsage(sums, standings(connection, caller.name, caller.terms.budgets, now_ms()))

    return await desk.run(own_usage)


async def _audit(desk: LedgerDesk, limit: int) -> list[AuditEntry]:
    return await desk.run(lambda connection: LedgerCallers(connection).audit(limit))
