"""`GET /v1/usage`: the caller's own usage, in the sums that `audio-gateway usage` prints."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from app.api.access import Identify
from app.gateway.auth import Caller
from app.gateway.report import Grouping, Period, UsageSum

Sums = Callable[[Grouping, Period, str], Awaitable[list[UsageSum]]]


class UsageList(BaseModel):
    """One object a group: the grouping's own field (`caller`, `key`, `model`, `endpoint` or `day`) and the sums."""

    object: str = "list"
    data: list[dict[str, Any]]


def usage_router(sums: Sums, identify: Identify) -> APIRouter:
    router = APIRouter(tags=["usage"])

    @router.get("/v1/usage", summary="Your own usage")
    async def usage(
        caller: Annotated[Caller, Depends(identify)],
        by: Annotated[Grouping, Query(description="What to group by")] = Grouping.MODEL,
        since: Annotated[date | None, Query(description="First UTC day, such as 2026-11-01")] = None,
        until: Annotated[date | None, Query(description="Last UTC day, included")] = None,
    ) -> UsageList:
        found = await sums(by, Period(since, until), caller.name)
        return UsageList(data=[each.as_json(by) for each in found])

    return router
