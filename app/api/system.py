"""`GET /healthz` (the process is alive) and `GET /readyz` (send it requests): cheap, without a key, telling no outsider
more than yes or no.
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
