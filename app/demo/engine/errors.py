"""The engine's errors, in OpenAI's error envelope."""

from __future__ import annotations

import json


class APIError(Exception):
    """A response with an error status; `param` names the invalid field of the form."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message, self.status, self.code, self.param = message, status, code, param

    def envelope(self) -> str:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error})


def missing(param: str) -> APIError:
    return APIError(f"you must provide a {param} parameter", param=param, code="missing_required_parameter")


def invalid(param: str, value: str, allowed: str) -> APIError:
    return APIError(f"Invalid value {value!r} for {param}: use one of {allowed}.", param=param, code="invalid_value")


def unreadable_file(reason: str) -> APIError:
    return APIError(f"Invalid file: {reason}.", param="file", code="invalid_file_format")


def wrong_key() -> APIError:
    return APIError("Incorrect API key provided.", status=401, code="invalid_api_key")
