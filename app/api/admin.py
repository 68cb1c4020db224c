"""`/admin/v1/...`: callers, keys, unknown rows, usage and the audit over HTTP, for whoever holds the admin key.

Without an admin key in the settings none of these routes exist. A caller's key opens none of them.
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
from app.services.administration import (
    Administration,
    AdministrationError,
    AdministrationFault,
    AuditEntry,
    CallerRecord,
)
from app.services.documents import audit_document, caller_document, unknown_document
from app.services.reconciliation import Billed, Reconciliation
from app.services.usage import Grouping, Period, UsageTotals
from app.wire.headers import Headers

T = TypeVar("T")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Administer = Callable[[Callable[[Administration], T]], Awaitable[T]]
Reconcile = Callable[[Callable[[Reconciliation], T]], Awaitable[T]]
Done = Callable[[Callable[[Any], Any]], Awaitable[Any]]
Sums = Callable[[Grouping, Period, str | None], Awaitable[list[UsageTotals]]]
Audit = Callable[[int], Awaitable[list[AuditEntry]]]

MS_PER_HOUR = 3_600_000

# What a request without a body asks for.
_NO_CHANGE, _USUAL_ROTATION = TermsBody(), Rotation()

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
    sums: Sums,
    audit: Audit,
) -> APIRouter:
    """The routes, behind the admin key."""
    router = APIRouter(prefix="/admin/v1", tags=["admin"], route_class=_behind(admin_key, auth_failures))
    done = partial(_done, administer)
    _add_callers(router, done)
    _add_keys(router, done)
    _add_unknown(router, partial(_done, reconcile))
    _add_reports(router, done, sums, audit)
    return router


def _behind(admin_key: SecretStr, auth_failures: AuthFailureLimiter) -> type[APIRoute]:
    class AdminRoute(APIRoute):
        """Looks at the key before anything else: FastAPI would read and check the body before any dependency."""

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def handle_admitted(request: Request) -> Response:
                with auth_failure_watch(auth_failures, request.scope):
                    _refuse_strangers(Headers(request.scope["headers"]), admin_key)
                return await handle(request)

            return handle_admitted

    return AdminRoute


def _refuse_strangers(headers: Headers, admin_key: SecretStr) -> None:
    try:
        secret = authentication.secret_in(headers)
    except APIError as refusal:
        if refusal.status != 401:
            raise
        raise errors.invalid_admin_key(refusal.reason or "no key") from None
    if not hmac.compare_digest(secret.encode(), admin_key.get_secret_value().encode()):
        raise errors.invalid_admin_key("not the admin key")


async def _done(run: Callable[[Callable[[Any], T]], Awaitable[T]], work: Callable[[Any], T]) -> T:
    try:
        return await run(work)
    except AdministrationError as error:
        raise APIError(error.fault.value, _CODES[error.fault], str(error)) from error


def _add_callers(router: APIRouter, done: Done) -> None:
    @router.get("/callers", summary="All callers", response_model=admin_schemas.CallerList)
    async def list_callers() -> dict[str, Any]:
        return {
            "data": await done(
                lambda administration: [_shown(administration, each) for each in administration.callers()]
            )
        }

    @router.post(
        "/callers",
        status_code=201,
        summary="Create a caller; its key is in this answer only",
        response_model=admin_schemas.CallerWithKey,
    )
    async def create_caller(body: NewCaller) -> dict[str, Any]:
        policy = {part: value for part, value in body.document().items() if part not in ("caller", "expires_in_hours")}
        expires_ms = _from_now(body.expires_in_hours)

        def create(administration: Administration) -> dict[str, Any]:
            secret = administration.create(body.caller, policy, expires_ms)
            return {**_shown(administration, administration.caller(body.caller)), "key": secret}

        created: dict[str, Any] = await done(create)
        return created

    @router.get("/callers/{caller}", summary="One caller", response_model=admin_schemas.Caller)
    async def get_caller(caller: str) -> Any:
        return await done(lambda administration: _shown(administration, administration.caller(caller)))

    @router.patch(
        "/callers/{caller}",
        summary="Change parts of a caller's terms; null takes one out",
        response_model=admin_schemas.Caller,
    )
    async def update_caller(caller: str, body: TermsBody = _NO_CHANGE) -> Any:
        changes = body.document()
        return await done(lambda administration: _shown(administration, administration.update(caller, changes)))


def _add_keys(router: APIRouter, done: Done) -> None:
    @router.post(
        "/callers/{caller}/keys",
        status_code=201,
        summary="Rotate: a new key, the others end after the overlap",
        response_model=admin_schemas.CallerWithKey,
    )
    async def rotate_key(caller: str, body: Rotation = _USUAL_ROTATION) -> Any:
        overlap_ms, expires_ms = round(body.overlap_hours * MS_PER_HOUR), _from_now(body.expires_in_hours)

        def rotate(administration: Administration) -> dict[str, Any]:
            rotated = administration.rotate(caller, overlap_ms, expires_ms, revive=body.revive)
            return {**_shown(administration, administration.caller(caller)), "key": rotated.secret}

        return await done(rotate)

    @router.delete(
        "/callers/{caller}/keys", summary="Revoke all keys of a caller", response_model=admin_schemas.Revoked
    )
    async def revoke_all(caller: str) -> dict[str, Any]:
        await done(lambda administration: administration.caller(caller))
        return {"revoked": await done(lambda administration: administration.revoke(caller))}

    @router.delete("/callers/{caller}/keys/{key_id}", summary="Revoke one key", response_model=Revoked)
    async def revoke_one(caller: str, key_id: str) -> dict[str, Any]:
        record = await done(lambda administration: administration.caller(caller))
        if key_id not in {key.id for key in record.keys}:
            raise APIError(404, "not_found", f"{caller} has no key {key_id}")
        return {"revoked": await done(lambda administration: administration.revoke(key_id))}


def _add_unknown(router: APIRouter, done: Done) -> None:
    @router.get(
        "/unknown",
        summary="Requests that the provider may have billed, oldest first",
        response_model=admin_schemas.UnknownList,
    )
    async def list_unknown() -> dict[str, Any]:
        rows = await done(lambda reconciliation: reconciliation.unknown())
        return {"data": [unknown_document(row) for row in rows]}

    @router.post(
        "/unknown/{request_id}",
        summary="Close an unknown row with what the provider billed",
        response_model=admin_schemas.Resolution,
    )
    async def resolve_unknown(request_id: str, body: ResolutionBody) -> Any:
        billed = Billed(body.release is True, body.seconds, body.cost_usd)
        if not billed.one:
            raise APIError(400, "invalid_value", "name exactly one of release, seconds and cost_usd")
        resolved = await done(lambda reconciliation: reconciliation.resolve(request_id, billed))
        return resolved.document()


def _add_reports(router: APIRouter, done: Done, sums: Sums, audit: Audit) -> None:
    @router.get("/usage", summary="Usage of all callers")
    async def usage(
        by: Annotated[Grouping, Query()] = Grouping.CALLER,
        since: Annotated[date | None, Query()] = None,
        until: Annotated[date | None, Query()] = None,
        caller: Annotated[str | None, Query()] = None,
    ) -> UsageList:
        found = await sums(by, period_of(since, until), caller)
        if caller is not None and not found and since is None and until is None:
            await done(lambda administration: administration.caller(caller))  # 404 for one that never was
        return UsageList(data=[each.as_json(by) for each in found])

    @router.get(
        "/audit", summary="The latest administrative changes, newest first", response_model=admin_schemas.AuditList
    )
    async def entries(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"data": [audit_document(entry) for entry in await audit(limit)]}


def _shown(administration: Administration, record: CallerRecord) -> dict[str, Any]:
    return caller_document(record, administration.budget_statuses(record), now_ms())


def _from_now(hours: float | None) -> int | None:
    return None if hours is None else now_ms() + round(hours * MS_PER_HOUR)
