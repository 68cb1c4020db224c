"""Builds what one load of the configuration makes: keys, models, prices, the upstream client, the endpoints.

A reload builds a new snapshot and swaps it in as a whole. A request ends with the snapshot that it began with.
What outlasts a reload, such as the ledger and the reservations in memory, is `ProcessState`.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.routing import Route
from starlette.types import ASGIApp

from app import __version__
from app.adapters.server.uvicorn_server import ServerStatus
from app.adapters.spool import SpoolFolder
from app.adapters.sqlite import LedgerReader, LedgerWriter
from app.adapters.telemetry import Gauges, LogQueue, Observers, scrape
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
from app.clock import now_ms
from app.config import Config, TimeoutSettings
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.authentication import KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.caller import Caller
from app.gateway.pipeline import Pipeline
from app.gateway.upload import UploadParser
from app.gateway.upstream.context import UpstreamContext
from app.operations import OPERATIONS
from app.policy.caller_policy import Tags
from app.policy.quota import Quota
from app.services.administration import Administration
from app.services.callers import AuditEntry
from app.services.configured_callers import configured_keys, refuse_duplicate_names
from app.services.ports import LedgerSession, LedgerStore, LedgerWork
from app.services.reconciliation import Reconciliation
from app.services.usage import Grouping, Period, UsageTotals
from app.wire import identifier

T = TypeVar("T")

_TITLE = "audio-gateway"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What lives as long as the process: the ledger, the counters in memory, the log. Every snapshot uses the same."""

    sessions: LedgerStore
    reader: LedgerReader
    ledger: LedgerWriter
    reports: LedgerWork
    changes: LedgerWork
    auth_failures: AuthFailureLimiter
    budgets: Budgets
    admission_control: AdmissionControl
    spools: SpoolFolder
    response_memory: Quota
    observers: Observers
    log_queue: LogQueue
    server_status: ServerStatus


@dataclass(frozen=True, slots=True)
class ConfigSnapshot:
    """What one load of the configuration made. `upstream_client` holds the provider's address, key and connections."""

    settings: Config
    upstream_client: HttpUpstreamClient
    webhook: Webhook | None
    application: InFlightTracker


def check_settings(settings: Config, environ: Mapping[str, str]) -> None:
    """Reads every key and file that these settings name. Raises InvalidConfig if one of them is not usable."""
    configured_keys(settings, environ)
    settings.admin.key(environ)
    settings.metrics.key()
    build_webhook(settings, environ)
    build_upstream_client(settings, environ)


def build_snapshot(settings: Config, environ: Mapping[str, str], state: ProcessState) -> ConfigSnapshot:
    """Returns the snapshot of these settings. Its upstream client is not open, and it receives no requests yet.

    Raises InvalidConfig if the settings are not usable, LedgerUnusable if the ledger is not readable.
    """
    refuse_duplicate_names(settings, state.sessions)
    upstream_client = build_upstream_client(settings, environ)
    directory = KeyDirectory(configured_keys(settings, environ), state.reader, settings.limits.policy)
    pipeline = _build_pipeline(settings, state, directory, upstream_client)
    audio_endpoints = _build_audio_endpoints(pipeline, settings.timeouts)
    api = _build_api(settings, environ, state, directory)
    api.router.routes.extend(Route(path, endpoint, methods=["POST"]) for path, endpoint in audio_endpoints.items())
    openapi.describe(api)
    application = RequestIdMiddleware(
        _add_browser_middleware(api, settings),
        {path: _add_browser_middleware(endpoint, settings) for path, endpoint in audio_endpoints.items()},
        new_request_id,
        state.log_queue.request_id.set,
    )
    return ConfigSnapshot(settings, upstream_client, build_webhook(settings, environ), InFlightTracker(application))


def build_upstream_client(settings: Config, environ: Mapping[str, str]) -> HttpUpstreamClient:
    """Returns the upstream client, not open yet. Raises InvalidConfig if its key or certificates are not usable."""
    return HttpUpstreamClient(settings.upstream, settings.upstream.api_key(environ), settings.timeouts)


def build_webhook(settings: Config, environ: Mapping[str, str]) -> Webhook | None:
    """Returns the receiver of alerts, or None. Raises InvalidConfig if the secret to sign with is absent."""
    url = settings.alerts.webhook_url
    return None if url is None else Webhook(url, settings.alerts.signing_secret(environ))


def new_request_id() -> str:
    """Returns a new id, `req_` and a part that sorts by time. It is also the id of the request's row in the ledger."""
    return identifier.time_ordered("req_", now_ms(), secrets.token_bytes(identifier.RANDOM_BYTES))


def _build_pipeline(
    settings: Config, state: ProcessState, directory: KeyDirectory, upstream_client: HttpUpstreamClient
) -> Pipeline:
    return Pipeline(
        directory=directory,
        auth_failures=state.auth_failures,
        admission_control=state.admission_control,
        budgets=state.budgets.alerting_at(settings.alerts.thresholds),
        upload_parser=UploadParser(settings.models, settings.server.max_file_bytes, state.spools),
        upstream=UpstreamContext(
            settings.upstream.name,
            upstream_client,
            settings.upstream.framing,
            settings.timeouts,
            state.spools,
            state.response_memory,
        ),
        ledger=state.ledger,
        observer=state.observers.observer,
        trace_headers=state.observers.trace_headers,
    )


def _build_audio_endpoints(pipeline: Pipeline, timeouts: TimeoutSettings) -> dict[str, ASGIApp]:
    """Returns the endpoint of each operation, by its path and by its alias."""
    endpoints = [(operation, AudioEndpoint(pipeline, operation, timeouts)) for operation in OPERATIONS.values()]
    return {path: endpoint for operation, endpoint in endpoints for path in operation.paths}


def _build_api(settings: Config, environ: Mapping[str, str], state: ProcessState, directory: KeyDirectory) -> FastAPI:
    """Returns the FastAPI application with every route that is not an audio endpoint."""
    api = _build_empty_api(docs=settings.server.docs)
    identify = identify_caller(directory, state.auth_failures)
    api.include_router(models_router(settings.models, settings.upstream.name, identify))
    api.include_router(usage_router(partial(_own_usage, state.reports), identify))
    admin_key, metrics_key = settings.admin.key(environ), settings.metrics.key()
    if admin_key is not None:
        api.include_router(_build_admin_router(settings, state, admin_key))
    api.include_router(system_router(partial(_ready, state)))
    if settings.metrics.enabled:
        keys = [key for key in (metrics_key, admin_key) if key is not None]
        render = scrape(state.observers.requests, state.observers.commits, _build_gauges(settings, state))
        api.include_router(metrics_router(render, keys, state.auth_failures, open=settings.metrics.open))
    error_handlers.install(api)
    return api


def _build_empty_api(*, docs: bool) -> FastAPI:
    """Returns a FastAPI application without routes, but for those of the documentation page.

    FastAPI's own telemetry is off: environment variables can turn it on, and it reports request bodies.
    """
    api = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if docs else None,
        title=_TITLE,
        version=__version__,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    if docs:
        add_docs(api, "/docs", "/openapi.json")
    return api


def _build_admin_router(settings: Config, state: ProcessState, admin_key: SecretStr) -> APIRouter:
    administer = partial(_administer, settings, state.changes)
    reconcile = partial(_reconcile, settings, state.changes)
    report_usage, read_audit_log = partial(_usage_totals, state.reports), partial(_audit, state.reports)
    return admin_router(admin_key, state.auth_failures, administer, reconcile, report_usage, read_audit_log)


def _build_gauges(settings: Config, state: ProcessState) -> Gauges:
    return Gauges(
        ready=partial(_ready, state),
        server_status=state.server_status,
        log_queue=state.log_queue,
        admission_control=state.admission_control,
        budgets=state.budgets,
        spools=state.spools,
        response_memory=state.response_memory,
        ledger=state.ledger,
        ledger_path=settings.ledger.path,
        requests=state.observers.requests,
    )


def _add_browser_middleware(app: ASGIApp, settings: Config) -> ASGIApp:
    """Returns the application with the headers for browsers that the settings ask for, CORS and HSTS."""
    if settings.cors.origins:
        app = GatewayCORSMiddleware(app, settings.cors.origins)
    may_be_https = settings.tls.certificate_file is not None or settings.server.forwarded_allow_ips
    return HSTSMiddleware(app) if may_be_https else app


def _ready(state: ProcessState) -> bool:
    """Whether this process can serve. A failing upstream does not count: it has metrics and alerts, and restarting this
    process or using another replica does not help.
    """
    return state.ledger.writable and not state.server_status.draining


async def _administer(settings: Config, work: LedgerWork, change: Callable[[Administration], T]) -> T:
    return await work.run(lambda session: change(Administration.from_config(settings, session.callers, "admin-api")))


async def _reconcile(settings: Config, work: LedgerWork, change: Callable[[Reconciliation], T]) -> T:
    return await work.run(
        lambda session: change(Reconciliation.from_config(settings, session.unknown_requests, "admin-api"))
    )


async def _usage_totals(work: LedgerWork, grouping: Grouping, period: Period, caller: str | None) -> list[UsageTotals]:
    return await work.run(lambda session: session.usage.totals(grouping, period, caller))


async def _own_usage(work: LedgerWork, caller: Caller, grouping: Grouping, period: Period, tags: Tags) -> OwnUsage:
    def own_usage(session: LedgerSession) -> OwnUsage:
        totals = session.usage.totals(grouping, period, caller.name, tags)
        return OwnUsage(totals, session.usage.budget_statuses(caller.name, caller.policy.budgets, now_ms()))

    return await work.run(own_usage)


async def _audit(work: LedgerWork, limit: int) -> list[AuditEntry]:
    return await work.run(lambda session: session.callers.audit(limit))
