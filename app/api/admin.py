"""`/admin/v1/...`: callers, keys, usage and the audit over HTTP, for whoever holds the admin key.

Without an admin key in the settings none of these routes exist. A caller's key opens none of them.
"""

import hmac
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app import errors
from app.api.access import watching
from app.api.usage import UsageList
from app.clock import now_ms
from app.errors import Refusal
from app.gateway import auth
from app.gateway.administration import Administration, AuditEntry, CallerRecord, Fault, Impossible, KeyRecord
from app.gateway.report import Grouping, Period, UsageSum
from app.gateway.throttle import Throttle
from app.wire.headers import Headers

T = TypeVar("T")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Administer = Callable[[Callable[[Administration], T]], Awaitable[T]]
Done = Callable[[Callable[[Administration], Any]], Awaitable[Any]]
Sums = Callable[[Grouping, Period, str | None], Awaitable[list[UsageSum]]]
Audit = Callable[[int], Awaitable[list[AuditEntry]]]

MS_PER_HOUR = 3_600_000
MAX_HOURS = 24 * 36_525  # a hundred years

_CODES = {Fault.INVALID: "invalid_value", Fault.MISSING: "not_found", Fault.CONFLICT: "conflict"}


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TermsBody(Body):
    """What a caller may do and spend; a part that is left out (or null) is no limit."""

    models: list[str] | None = None
    tasks: list[str] | None = None
    rpm: int | None = None
    burst: int | None = None
    concurrency: int | None = None
    budgets: list[str] | None = Field(None, examples=[["50usd/month", "600min/day"]])
    tags: dict[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """The parts that were sent, null ones too."""
        return {part: value for part, value in self.model_dump().items() if part in self.model_fields_set}


class NewCaller(TermsBody):
    name: str
    expires_in_hours: float | None = Field(None, gt=0, le=MAX_HOURS)


class Rotation(Body):
    overlap_hours: float = Field(24, ge=0, le=MAX_HOURS)
    revive: bool = Field(False, description="Also for a caller whose keys are all revoked")
    expires_in_hours: float | None = Field(None, gt=0, le=MAX_HOURS)


def admin_router(
    admin_key: SecretStr, throttle: Throttle, administer: Administer[Any], sums: Sums, audit: Audit
) -> APIRouter:
    """The routes, behind the admin key."""
    router = APIRouter(prefix="/admin/v1", tags=["admin"], route_class=_behind(admin_key, throttle))
    done = partial(_done, administer)
    _add_callers(router, done)
    _add_keys(router, done)
    _add_reports(router, sums, audit)
    return router


def _behind(admin_key: SecretStr, throttle: Throttle) -> type[APIRoute]:
    class AdminRoute(APIRoute):
        """Looks at the key before anything else: FastAPI would read and check the body before any dependency."""

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def handle_admitted(request: Request) -> Response:
                with watching(throttle, request.scope):
                    secret = auth.secret_in(Headers(request.scope["headers"]))
                    if not hmac.compare_digest(secret.encode(), admin_key.get_secret_value().encode()):
                        raise errors.invalid_api_key("not the admin key")
                return await handle(request)

            return handle_admitted

    return AdminRoute


async def _done(administer: Administer[Any], change: Callable[[Administration], T]) -> T:
    try:
        result: T = await administer(change)
    except Impossible as error:
        raise Refusal(error.fault.value, _CODES[error.fault], str(error)) from error
    return result


def _add_callers(router: APIRouter, done: Done) -> None:
    @router.get("/callers", summary="All callers")
    async def list_callers() -> dict[str, Any]:
        records = await done(lambda administration: administration.callers())
        return {"object": "list", "data": [shown(record) for record in records]}

    @router.post("/callers", status_code=201, summary="Create a caller; its key is in this answer only")
    async def create_caller(body: NewCaller) -> dict[str, Any]:
        document = {part: value for part, value in body.document().items() if part not in ("name", "expires_in_hours")}
        expires_ms = _from_now(body.expires_in_hours)

        def create(administration: Administration) -> tuple[str, CallerRecord]:
            return administration.create(body.name, document, expires_ms), administration.caller(body.name)

        return _with_key(*await done(create))

    @router.get("/callers/{name}", summary="One caller")
    async def get_caller(name: str) -> dict[str, Any]:
        return shown(await done(lambda administration: administration.caller(name)))

    @router.patch("/callers/{name}", summary="Change parts of a caller's terms; null takes one out")
    async def update_caller(name: str, body: TermsBody) -> dict[str, Any]:
        return shown(await done(lambda administration: administration.update(name, body.document())))


def _add_keys(router: APIRouter, done: Done) -> None:
    @router.post("/callers/{name}/keys", status_code=201, summary="Rotate: a new key, the others end after the overlap")
    async def rotate_key(name: str, body: Rotation) -> dict[str, Any]:
        overlap_ms, expires_ms = round(body.overlap_hours * MS_PER_HOUR), _from_now(body.expires_in_hours)

        def rotate(administration: Administration) -> tuple[str, CallerRecord]:
            return administration.rotate(
                name, overlap_ms, expires_ms, revive=body.revive
            ).secret, administration.caller(name)

        return _with_key(*await done(rotate))

    @router.delete("/callers/{name}/keys", summary="Revoke all keys of a caller")
    async def revoke_all(name: str) -> dict[str, Any]:
        await done(lambda administration: administration.caller(name))
        return {"revoked": await done(lambda administration: administration.revoke(name))}

    @router.delete("/callers/{name}/keys/{key_id}", summary="Revoke one key")
    async def revoke_one(name: str, key_id: str) -> dict[str, Any]:
        record = await done(lambda administration: administration.caller(name))
        if key_id not in {key.id for key in record.keys}:
            raise Refusal(404, "not_found", f"{name} has no key {key_id}")
        return {"revoked": await done(lambda administration: administration.revoke(key_id))}


def _add_reports(router: APIRouter, sums: Sums, audit: Audit) -> None:
    @router.get("/usage", summary="Usage of all callers")
    async def usage(
        by: Annotated[Grouping, Query()] = Grouping.CALLER,
        since: Annotated[date | None, Query()] = None,
        until: Annotated[date | None, Query()] = None,
        caller: Annotated[str | None, Query()] = None,
    ) -> UsageList:
        found = await sums(by, Period(since, until), caller)
        return UsageList(data=[each.as_json(by) for each in found])

    @router.get("/audit", summary="The latest administrative changes, newest first")
    async def entries(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"object": "list", "data": [audited(entry) for entry in await audit(limit)]}


def shown(record: CallerRecord) -> dict[str, Any]:
    """A caller as JSON: `{"name", "origin", "created_ms", "terms", "keys": [...]}`, with no key in it."""
    at_ms = now_ms()
    return {
        "name": record.name,
        "origin": record.origin,
        "created_ms": record.created_ms,
        "terms": record.terms.document(),
        "keys": [_key(key, at_ms) for key in record.keys],
    }


def _with_key(secret: str, record: CallerRecord) -> dict[str, Any]:
    return {**shown(record), "key": secret}


def audited(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at_ms": entry.at_ms,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
    }


def _key(key: KeyRecord, at_ms: int) -> dict[str, Any]:
    return {
        "id": key.id,
        "last4": key.last4,
        "state": key.state(at_ms),
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "revoked_ms": key.revoked_ms,
        "last_used_ms": key.last_used_ms,
    }


def _from_now(hours: float | None) -> int | None:
    return None if hours is None else now_ms() + round(hours * MS_PER_HOUR)
