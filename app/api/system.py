"""`GET /healthz` (the process is alive) and `GET /readyz` (it can serve requests).

Both are cheap and need no key, and answer only yes or no, so that they reveal nothing else.
"""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse

Ready = Callable[[], bool]


def system_router(ready: Ready) -> APIRouter:
    router = APIRouter(tags=["system"])

    @router.get("/healthz", summary="Alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="Ready for requests", responses={503: {"description": "Not ready"}})
    async def readyz() -> JSONResponse:
        if ready():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503)

    return router
