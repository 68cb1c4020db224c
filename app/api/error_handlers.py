"""Handlers that turn every error of a FastAPI route into OpenAI's envelope, unexpected errors too."""

import json
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from app import errors
from app.api import path_suggestions
from app.errors import APIError
from app.validation_messages import plain_message

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


def install(app: FastAPI) -> None:
    """Adds the handlers to the application."""
    app.add_exception_handler(APIError, _api_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid_value)
    app.add_exception_handler(Exception, _unexpected)


def _response(error: APIError) -> Response:
    response = Response(error.envelope(), error.status)
    for name, value in error.all_headers():
        response.headers[name.decode()] = value.decode()
    return response


async def _api_error(request: Request, error: Any) -> Response:
    return _response(error)


async def _http_exception(request: Request, error: Any) -> Response:
    if error.status_code == 405:
        return _wrong_method(request)
    if error.status_code == 404:
        path = request.scope["path"]
        known = partial(_matches, request, request.method)
        return _response(errors.unknown_url(request.method, path, path_suggestions.suggestion(path, known)))
    return _response(APIError(error.status_code, "bad_request", str(error.detail)))


def _wrong_method(request: Request) -> Response:
    """405 with all methods of the path, where the router would name those of one route; 204 for OPTIONS."""
    path = request.scope["path"]
    allowed = {method for method in _METHODS if _matches(request, method, path, Match.FULL)} | {"OPTIONS"}
    if "GET" in allowed:
        allowed.add("HEAD")
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"allow": ", ".join(sorted(allowed))})
    return _response(errors.method_not_allowed(request.method, allowed))


def _matches(request: Request, method: str, path: str, minimum: Match = Match.PARTIAL) -> bool:
    """Whether a route has this path; with `Match.FULL`, whether it has this method too."""
    scope = {**request.scope, "method": method, "path": path, "raw_path": path.encode("latin-1")}
    return any(route.matches(scope)[0].value >= minimum.value for route in request.app.router.routes)


async def _invalid_value(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    param = str(first["loc"][-1])
    reason = json.dumps(plain_message(first["msg"]), ensure_ascii=False)[1:-1]
    return _response(APIError(400, "invalid_value", f"{param}: {reason}", param=param))


async def _unexpected(request: Request, error: Exception) -> Response:
    """500. Starlette raises the error again after this response, and RequestIdMiddleware logs it."""
    return _response(errors.internal_error())
