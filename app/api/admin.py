"""The admin API, `/admin/v1/...`: callers, keys, unknown requests, usage and the audit.

The routes exist only if the settings have an admin key, and accept only that key.
"""

import hmac
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import SecretStr

from app import errors
from app.api import admin_schemas
from app.api.admin_schemas import NewCaller, ResolutionBody, Revoked, Rotation, TermsBody
from app.api.authentication import auth_failure_watch
from app.api.usage import UsageList, period_of
from app.clock import now_ms
from app.errors import APIError
from app.gateway import authentication
from app.gateway.auth_failures import AuthFailureLimiter
from app.services.administration import Administration, AdministrationError, AdministrationFault
from app.services.callers import AuditEntry, CallerRecord
from app.services.documents import audit_document, caller_document, unknown_document
from app.services.reconciliation import ProviderBill, Reconciliation
from app.services.usage import Grouping, Period, UsageTotals
from app.wire.headers import Headers

T = TypeVar("T")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Administer = Callable[[Callable[[Administration], T]], Awaitable[T]]
Reconcile = Callable[[Callable[[Reconciliation], T]], Awaitable[T]]
Run = Callable[[Callable[[Any], Any]], Awaitable[Any]]
ReadTotals = Callable[[Grouping, Period, str | None], Awaitable[list[UsageTotals]]]
ReadAudit = Callable[[int], Awaitable[list[AuditEntry]]]

MS_PER_HOUR = 3_600_000

# The defaults of requests without a body.
_NO_CHANGE, _DEFAULT_ROTATION = TermsBody(), Rotation()

_CODES = {
    AdministrationFault.INVALID: "invalid_value",
    AdministrationFault.MISSING: "not_found",
    AdministrationFault.CONFLICT: "conflict",
}


def admin_router(
    admin_key: SecretStr,
    auth_failures: AuthFailureLimiter,
    administer: Administer[Any],
    reconcile: Reconcile[Any],
    read_totals: ReadTotals,
    read_audit: ReadAudit,
) -> APIRouter:
    """The routes. Each of them requires the admin key.

    `administer` and `reconcile` run a function in the ledger's thread, with what it needs to change callers and keys,
    or unknown requests.
    """
    router = APIRouter(prefix="/admin/v1", tags=["admin"], route_class=_admin_route(admin_key, auth_failures))
    run_administration = partial(_run, administer)
    _add_callers(router, run_administration)
    _add_keys(router, run_administration)
    _add_unknown(router, partial(_run, reconcile))
    _add_reports(router, run_administration, read_totals, read_audit)
    return router


def _admin_route(admin_key: SecretStr, auth_failures: AuthFailureLimiter) -> type[APIRoute]:
    class AdminRoute(APIRoute):
        """Checks the key first. FastAPI would read and validate the body before it runs a dependency."""

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def check_key_and_handle(request: Request) -> Response:
                with auth_failure_watch(auth_failures, request.scope):
                    _check_admin_key(Headers(request.scope["headers"]), admin_key)
                return await handle(request)

            return check_key_and_handle

    return AdminRoute


def _check_admin_key(headers: Headers, admin_key: SecretStr) -> None:
    try:
        secret = authentication.secret_in(headers)
    except APIError as error:
        if error.status != 401:
            raise
        raise errors.invalid_admin_key(error.reason or "no key") from None
    if not hmac.compare_digest(secret.encode(), admin_key.get_secret_value().encode()):
        raise errors.invalid_admin_key("not the admin key")


async def _run(run: Callable[[Callable[[Any], T]], Awaitable[T]], work: Callable[[Any], T]) -> T:
    """Runs `work`; an AdministrationError becomes the APIError of its fault."""
    try:
        return await run(work)
    except AdministrationError as error:
        raise APIError(error.fault.value, _CODES[error.fault], str(error)) from error


def _add_callers(router: APIRouter, run: Run) -> None:
    @router.get("/callers", summary="All callers", response_model=admin_schemas.CallerList)
    async def list_callers() -> dict[str, Any]:
        return {
            "data": await run(
                lambda administration: [_caller_document(administration, record) for record in administration.callers()]
            )
        }

    @router.post(
        "/callers",
        status_code=201,
        summary="Create a caller; only this response has its key",
        response_model=admin_schemas.CallerWithKey,
    )
    async def create_caller(body: NewCaller) -> dict[str, Any]:
        policy = {part: value for part, value in body.stated().items() if part not in ("caller", "expires_in_hours")}
        expires_ms = _from_now(body.expires_in_hours)

        def create(administration: Administration) -> dict[str, Any]:
            secret = administration.create(body.caller, policy, expires_ms)
            return {**_caller_document(administration, administration.caller(body.caller)), "key": secret}

        created: dict[str, Any] = await run(create)
        return created

    @router.get("/callers/{caller}", summary="One caller", response_model=admin_schemas.Caller)
    async def get_caller(caller: str) -> Any:
        return await run(lambda administration: _caller_document(administration, administration.caller(caller)))

    @router.patch(
        "/callers/{caller}",
        summary="Change parts of a caller's terms; null removes one",
        response_model=admin_schemas.Caller,
    )
    async def update_caller(caller: str, body: TermsBody = _NO_CHANGE) -> Any:
        changes = body.stated()
        return await run(
            lambda administration: _caller_document(administration, administration.update(caller, changes))
        )


def _add_keys(router: APIRouter, run: Run) -> None:
    @router.post(
        "/callers/{caller}/keys",
        status_code=201,
        summary="Rotate: create a key; the others expire after the overlap",
        response_model=admin_schemas.CallerWithKey,
    )
    async def rotate_key(caller: str, body: Rotation = _DEFAULT_ROTATION) -> Any:
        overlap_ms, expires_ms = round(body.overlap_hours * MS_PER_HOUR), _from_now(body.expires_in_hours)

        def rotate(administration: Administration) -> dict[str, Any]:
            rotated = administration.rotate(caller, overlap_ms, expires_ms, revive=body.revive)
            return {**_caller_document(administration, administration.caller(caller)), "key": rotated.secret}

        return await run(rotate)

    @router.delete(
        "/callers/{caller}/keys", summary="Revoke all keys of a caller", response_model=admin_schemas.Revoked
    )
    async def revoke_all(caller: str) -> dict[str, Any]:
        await run(lambda administration: administration.caller(caller))
        return {"revoked": await run(lambda administration: administration.revoke(caller))}

    @router.delete("/callers/{caller}/keys/{key_id}", summary="Revoke one key", response_model=Revoked)
    async def revoke_one(caller: str, key_id: str) -> dict[str, Any]:
        record = await run(lambda administration: administration.caller(caller))
        if key_id not in {key.id for key in record.keys}:
            raise APIError(404, "not_found", f"{caller} has no key {key_id}")
        return {"revoked": await run(lambda administration: administration.revoke(key_id))}


def _add_unknown(router: APIRouter, run: Run) -> None:
    @router.get(
        "/unknown",
        summary="Requests that the provider may have billed, oldest first",
        response_model=admin_schemas.UnknownList,
    )
    async def list_unknown() -> dict[str, Any]:
        rows = await run(lambda reconciliation: reconciliation.unknown())
        return {"data": [unknown_document(row) for row in rows]}

    @router.post(
        "/unknown/{request_id}",
        summary="Close an unknown row with what the provider billed",
        response_model=admin_schemas.Resolution,
    )
    async def resolve_unknown(request_id: str, body: ResolutionBody) -> Any:
        bill = ProviderBill(body.release is True, body.seconds, body.cost_usd)
        if not bill.complete:
            raise APIError(400, "invalid_value", "name exactly one of release, seconds and cost_usd")
        resolved = await run(lambda reconciliation: reconciliation.resolve(request_id, bill))
        return resolved.document()


def _add_reports(router: APIRouter, run: Run, read_totals: ReadTotals, read_audit: ReadAudit) -> None:
    @router.get("/usage", summary="Usage of all callers")
    async def usage(
        by: Annotated[Grouping, Query()] = Grouping.CALLER,
        since: Annotated[date | None, Query()] = None,
        until: Annotated[date | None, Query()] = None,
        caller: Annotated[str | None, Query()] = None,
    ) -> UsageList:
        totals = await read_totals(by, period_of(since, until), caller)
        if caller is not None and not totals and since is None and until is None:
            await run(lambda administration: administration.caller(caller))  # raises 404 for an unknown caller
        return UsageList(data=[group.as_json(by) for group in totals])

    @router.get(
        "/audit", summary="The latest administrative changes, newest first", response_model=admin_schemas.AuditList
    )
    async def entries(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"data": [audit_document(entry) for entry in await read_audit(limit)]}


def _caller_document(administration: Administration, record: CallerRecord) -> dict[str, Any]:
    return caller_document(record, administration.budget_statuses(record), now_ms())


def _from_now(hours: float | None) -> int | None:
    return None if hours is None else now_ms() + round(hours * MS_PER_HOUR)
