"""Every error in OpenAI's envelope: unknown paths, wrong methods, bad query values, and whatever nobody expected."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app import errors
from app.errors import Refusal
from app.validation import plain


def install(app: FastAPI) -> None:
    """Make every error that a route or the router raises an envelope."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid_query)
    app.add_exception_handler(Exception, _unexpected)


def _response(refusal: Refusal) -> Response:
    response = Response(refusal.envelope(), refusal.status)
    for name, value in refusal.all_headers():
        response.headers[name.decode()] = value.decode()
    return response


async def _refusal(request: Request, error: Any) -> Response:
    return _response(error)


async def _http_exception(request: Request, error: Any) -> Response:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return _response(errors.method_not_allowed(request.method, [each.strip() for each in allowed.split(",")]))
    if error.status_code == 404:
        return _response(errors.unknown_url(request.method, request.scope["path"]))
    return _response(Refusal(error.status_code, "bad_request", str(error.detail)))


async def _invalid_query(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    param = str(first["loc"][-1])
    return _response(
        Refusal(
            400, "invalid_value", f"{param}: {json.dumps(plain(first['msg']), ensure_ascii=False)[1:-1]}", param=param
        )
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    """Starlette raises the error once more behind this answer: `Edge` logs it."""
    return _response(errors.internal_error())
