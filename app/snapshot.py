"""What one reading of the settings makes: keys, models, prices, the provider's connection, the routes.

A reload makes all of it anew and puts it in the place of what was there, as a whole: a request is answered by the
generation that it began with. What outlasts a reload, such as the holds of budgets, is `ProcessState`.
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
from app.adapters.server.uvicorn_server import ServerStatus
from app.adapters.spool import SpoolFolder
from app.adapters.sqlite import (
    Database,
    LedgerCallers,
    LedgerExecutor,
    LedgerReader,
    LedgerWriter,
    budget_statuses,
    usage_totals,
)
from app.adapters.telemetry import Gauges, LineWriter, Observers, scrape
from app.adapters.upstream import HttpUpstreamClient
from app.adapters.webhook import Webhook
from app.api import error_handlers, openapi
from app.api.admin import admin_router
from app.api.audio import AudioEndpoint
from app.api.authentication import identify_caller
from app.api.cors import GatewayCORSMiddleware
from app.api.docs_page import add_docs
from app.api.hsts import HSTSMiddleware
from app.api.in_flight_tracker import InFlightTracker
from app.api.metrics import metrics_router
from app.api.models import models_router
from app.api.request_id import RequestIdMiddleware
from app.api.system import system_router
from app.api.usage import OwnUsage, usage_router
from app.callers import administration, configured_keys, reconciliation, refuse_names_in_both
from app.clock import now_ms
from app.config import Config, TimeoutSettings
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.authentication import KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.caller import Caller
from app.gateway.pipeline import Pipeline
from app.gateway.relay import Relay
from app.gateway.upload import UploadParser
from app.operations import OPERATIONS
from app.policy.caller_policy import Tags
from app.policy.quota import Quota
from app.services.administration import Administration, AuditEntry
from app.services.reconciliation import Reconciliation
from app.services.usage import Grouping, Period, UsageTotals
from app.wire import identifier

T = TypeVar("T")

_TITLE = "audio-gateway"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What is there from the start of the process to its end: the ledger, and all that is counted in memory."""

    database: Database
    reader: LedgerReader
    ledger: LedgerWriter
    reports: LedgerExecutor
    changes: LedgerExecutor
    auth_failures: AuthFailureLimiter
    budgets: Budgets
    admission_control: AdmissionControl
    spools: SpoolFolder
    answers: Quota
    observers: Observers
    lines: LineWriter
    serving: ServerStatus


@dataclass(frozen=True, slots=True)
class ConfigSnapshot:
    """One reading of the settings at work. The provider's connections belong to it: they have its address and key."""

    settings: Config
    provider: HttpUpstreamClient
    webhook: Webhook | None
    application: InFlightTracker


@dataclass(frozen=True, slots=True)
class _RequestPath:
    """The way of a request under these settings."""

    directory: KeyDirectory
    pipeline: Pipeline


def build_snapshot(settings: Config, environ: Mapping[str, str], state: ProcessState) -> ConfigSnapshot:
    """All that these settings make; InvalidConfig or LedgerUnusable if that cannot be. Nothing of it is at work yet."""
    refuse_names_in_both(settings, state.database)
    provider = check_settings(settings, environ)
    way = _request_path(settings, environ, state, provider)
    endpoints = _audio_endpoints(way.pipeline, settings.timeouts)
    app = _application(settings.server.docs)
    _add_routes(app, settings, settings.admin.key(environ), state, way)
    app.router.routes.extend(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items())
    error_handlers.install(app)
    openapi.describe(app)
    posts = {path: _for_browsers(endpoint, settings) for path, endpoint in endpoints.items()}
    edge = RequestIdMiddleware(_for_browsers(app, settings), posts, new_request_id, state.lines.request_id.set)
    return ConfigSnapshot(settings, provider, webhook(settings, environ), InFlightTracker(edge))


def check_settings(settings: Config, environ: Mapping[str, str]) -> HttpUpstreamClient:
    """The provider's connections, not open yet; InvalidConfig if keys or files of the settings cannot be used."""
    configured_keys(settings, environ)
    settings.admin.key(environ)
    settings.metrics.key()
    webhook(settings, environ)
    return HttpUpstreamClient(settings.upstream, settings.upstream.api_key(environ), settings.timeouts)


def new_request_id() -> str:
    """A fresh id, which sorts by time and is also the id of the request's row."""
    return identifier.time_ordered("req_", now_ms(), secrets.token_bytes(identifier.RANDOM_BYTES))


def webhook(settings: Config, environ: Mapping[str, str]) -> Webhook | None:
    """Where notices go; InvalidConfig if nothing is there to sign them with."""
    url = settings.alerts.webhook_url
    return None if url is None else Webhook(url, settings.alerts.signing_secret(environ))


def _request_path(
    settings: Config, environ: Mapping[str, str], state: ProcessState, provider: HttpUpstreamClient
) -> _RequestPath:
    directory = KeyDirectory(configured_keys(settings, environ), state.reader, settings.limits.policy)
    relay = Relay(provider, settings.upstream.framing, settings.timeouts, state.spools, state.answers)
    pipeline = Pipeline(
        directory=directory,
        auth_failures=state.auth_failures,
        admission_control=state.admission_control,
        budgets=state.budgets.alerting_at(settings.alerts.thresholds),
        upload_parser=UploadParser(settings.models, settings.server.max_file_bytes, state.spools),
        relay=relay,
        ledger=state.ledger,
        journal=state.observers.journal,
        upstream=settings.upstream.name,
        trace_headers=state.observers.trace_headers,
    )
    return _RequestPath(directory, pipeline)


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


def _add_routes(
    app: FastAPI, settings: Config, admin_key: SecretStr | None, state: ProcessState, way: _RequestPath
) -> None:
    identify = identify_caller(way.directory, state.auth_failures)
    app.include_router(models_router(settings.models, settings.upstream.name, identify))
    app.include_router(usage_router(partial(_own_usage, state.reports), identify))
    if admin_key is not None:
        administer = partial(_administer, settings, state.changes)
        reconcile = partial(_reconcile, settings, state.changes)
        sums, audit = partial(_sums, state.reports), partial(_audit, state.reports)
        app.include_router(admin_router(admin_key, state.auth_failures, administer, reconcile, sums, audit))
    ready = partial(_ready, state)
    app.include_router(system_router(ready))
    if settings.metrics.enabled:
        render = scrape(state.observers.requests, state.observers.commits, _gauges(settings, state, ready))
        keys = [key for key in (settings.metrics.key(), admin_key) if key is not None]
        app.include_router(metrics_router(render, keys, state.auth_failures, open=settings.metrics.open))


def _ready(state: ProcessState) -> bool:
    """Whether this process can serve. A provider in trouble has a metric and alerts: no restart and no other replica
    would help, and without requests nothing would show that it works again.
    """
    return state.ledger.writable and not state.serving.draining


def _gauges(settings: Config, state: ProcessState, ready: Callable[[], bool]) -> Gauges:
    """What a scrape reads."""
    return Gauges(
        ready=ready,
        serving=state.serving,
        lines=state.lines,
        admission_control=state.admission_control,
        budgets=state.budgets,
        spools=state.spools,
        answers=state.answers,
        ledger=state.ledger,
        ledger_path=settings.ledger.path,
        requests=state.observers.requests,
    )


def _audio_endpoints(pipeline: Pipeline, timeouts: TimeoutSettings) -> dict[str, ASGIApp]:
    """The endpoint of each operation, by its path and by its alias."""
    endpoints = [(operation, AudioEndpoint(pipeline, operation, timeouts)) for operation in OPERATIONS.values()]
    return {path: endpoint for operation, endpoint in endpoints for path in operation.paths}


def _for_browsers(app: ASGIApp, settings: Config) -> ASGIApp:
    """What the settings ask for around an application; without any, the application itself."""
    if settings.cors.origins:
        app = GatewayCORSMiddleware(app, settings.cors.origins)
    may_be_https = settings.tls.certificate_file is not None or settings.server.forwarded_allow_ips
    return HSTSMiddleware(app) if may_be_https else app


async def _administer(settings: Config, executor: LedgerExecutor, change: Callable[[Administration], T]) -> T:
    return await executor.run(lambda connection: change(administration(settings, connection, "admin-api")))


async def _reconcile(settings: Config, executor: LedgerExecutor, work: Callable[[Reconciliation], T]) -> T:
    return await executor.run(lambda connection: work(reconciliation(settings, connection, "admin-api")))


async def _sums(executor: LedgerExecutor, grouping: Grouping, period: Period, caller: str | None) -> list[UsageTotals]:
    return await executor.run(lambda connection: usage_totals(connection, grouping, period, caller))


async def _own_usage(
    executor: LedgerExecutor, caller: Caller, grouping: Grouping, period: Period, tags: Tags
) -> OwnUsage:
    def own_usage(connection: Connection) -> OwnUsage:
        sums = usage_totals(connection, grouping, period, caller.name, tags)
        return OwnUsage(sums, budget_statuses(connection, caller.name, caller.policy.budgets, now_ms()))

    return await executor.run(own_usage)


async def _audit(executor: LedgerExecutor, limit: int) -> list[AuditEntry]:
    return await executor.run(lambda connection: LedgerCallers(connection).audit(limit))
