"""`GET /v1/usage`: the caller's own usage, with the totals that `audio-gateway usage` prints, limits and budgets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from app import errors
from app.api.authentication import Identify
from app.errors import APIError
from app.gateway.caller import Caller
from app.policy.caller_policy import Tags, parse_tags
from app.services.usage import BudgetStatus, Grouping, Period, UsageTotals


@dataclass(frozen=True, slots=True)
class OwnUsage:
    """The usage and budgets of one caller."""

    totals: list[UsageTotals]
    budget_statuses: list[BudgetStatus]


ReadUsage = Callable[[Caller, Grouping, Period, Tags], Awaitable[OwnUsage]]


class UsageList(BaseModel):
    """One object per group: the field that names the group (`caller`, `key`, `model`, ...) and its totals."""

    object: str = "list"
    data: list[dict[str, Any]]


class OwnUsageList(UsageList):
    """The totals, the caller's limits, and each budget with the amounts that are spent, held and left."""

    limits: dict[str, Any]
    budgets: list[dict[str, Any]]


def usage_router(read_usage: ReadUsage, identify: Identify) -> APIRouter:
    router = APIRouter(tags=["usage"])

    @router.get("/v1/usage", summary="Your own usage, limits and budgets")
    async def usage(
        caller: Annotated[Caller, Depends(identify)],
        by: Annotated[Grouping, Query(description="What to group by")] = Grouping.MODEL,
        since: Annotated[date | None, Query(description="First UTC day, such as 2026-11-01")] = None,
        until: Annotated[date | None, Query(description="Last UTC day, included")] = None,
        tag: Annotated[list[str] | None, Query(description="Only requests with this tag, k=v")] = None,
    ) -> OwnUsageList:
        report = await read_usage(caller, by, period_of(since, until), _tags(tag or []))
        policy = caller.policy.document()
        return OwnUsageList(
            data=[totals.as_json(by) for totals in report.totals],
            limits={name: policy.get(name) for name in ("rpm", "burst", "concurrency")},
            budgets=[status.as_json() for status in report.budget_statuses],
        )

    return router


def _tags(texts: list[str]) -> Tags:
    try:
        return parse_tags(texts)
    except ValueError as error:
        raise errors.invalid_field("tag", "must be k=v") from error


def period_of(since: date | None, until: date | None) -> Period:
    """The period from one day to another, both included; APIError 400 if they are in the wrong order."""
    if since is not None and until is not None and since > until:
        raise APIError(400, "invalid_value", f"since: {since} is after until, {until}", param="since")
    return Period(since, until)
