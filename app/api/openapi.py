"""The OpenAPI document: FastAPI's for its routes, with the audio endpoints added, which are plain ASGI."""

from typing import Any

from fastapi import FastAPI

from app.operations import OPERATIONS, Operation
from app.wire.media import FORMATS

_STATUSES = {
    400: "The form, a field or the file is not valid; `param` names it.",
    401: "No valid key.",
    403: "The caller may not use this model, or not for this task.",
    404: "No such model.",
    408: "The body came too slowly.",
    413: "The file is larger than the limit.",
    415: "Not multipart/form-data, or a compressed body.",
    429: "The caller's rate, concurrency or budget is used up, or the provider limits the gateway.",
    500: "An error of the gateway; the request id names it in the log.",
    502: "The provider cannot be reached, or its answer cannot be used.",
    503: "The gateway is at its limit, or cannot write its ledger.",
    504: "The provider did not answer in time.",
}

# The first text on the page, as Markdown.
_INTRODUCTION = """\
Speech to text with OpenAI's API. In an OpenAI SDK, set `base_url` to this gateway's `/v1` and `api_key` to the key that
the administrator gave you (`sk-agw-...`). With curl:

```sh
curl "$OPENAI_BASE_URL/audio/transcriptions" -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -F model=gpt-4o-mini-transcribe -F file=@speech.mp3
```

To try a request on this page, choose **Authorize** and enter the key. An error has a `code` for programs and a
`message` that says what to do. `x-request-id` of an answer identifies the request in the gateway's log.
"""
_TAGS = (
    ("audio", "Transcriptions and translations. `/v1/speech/...` is an alias."),
    ("models", "The models that a key may name."),
    ("usage", "A caller's own usage, and what is left of its budgets."),
    ("admin", "Callers, their keys and limits, usage and the audit, with the admin key; off unless one is set."),
    ("system", "Health and metrics of the gateway, for its operator."),
)

_FIELDS: dict[str, dict[str, Any]] = {
    "file": {"type": "string", "format": "binary", "description": f"The audio: {', '.join(FORMATS)}."},
    "model": {"type": "string", "description": "A model of `GET /v1/models`.", "examples": ["gpt-4o-mini-transcribe"]},
    "prompt": {"type": "string"},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1},
    "stream": {"type": "boolean", "description": "Answer with server-sent events."},
    "language": {"type": "string", "description": "ISO 639-1.", "examples": ["en"]},
    "languages[]": {"type": "array", "items": {"type": "string"}},
    "keywords[]": {"type": "array", "items": {"type": "string"}},
    "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["word", "segment"]}},
    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
    "chunking_strategy": {"type": "string"},
    "known_speaker_names[]": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
    "known_speaker_references[]": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
}

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


_ERROR_RESPONSE = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def describe(app: FastAPI) -> None:
    """Makes `app.openapi()` return the whole document."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(generate())
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = _ERROR_SCHEMA
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A caller's key; the admin key for /admin/v1."}
    }
    document["security"] = [{"key": []}]
    audio = {
        path: {"post": _operation(path, operation)}
        for path, operation in (
            *((operation.path, operation) for operation in OPERATIONS.values()),
            *((operation.alias, operation) for operation in OPERATIONS.values()),
        )
    }
    _introduce(document, audio)
    for path in ("/healthz", "/readyz"):
        document["paths"][path]["get"]["security"] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _describe_errors(path, method, operation)
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)
    return document


def _introduce(document: dict[str, Any], audio: dict[str, Any]) -> None:
    """Puts an introduction and the audio endpoints first."""
    document["info"]["description"] = _INTRODUCTION
    document["paths"] = {**audio, **document["paths"]}
    used = {tag for path in document["paths"].values() for operation in path.values() for tag in operation["tags"]}
    document["tags"] = [{"name": name, "description": words} for name, words in _TAGS if name in used]


def _describe_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    """Replaces FastAPI's 422, which the gateway never sends: a bad value is a 400 in the envelope."""
    responses = operation["responses"]
    if responses.pop("422", None) is not None:
        responses["400"] = _ERROR_RESPONSE | {"description": "A value is not valid."}
    if operation.get("security") != []:
        responses.setdefault("401", _ERROR_RESPONSE | {"description": _STATUSES[401]})
        responses.setdefault("503", _ERROR_RESPONSE | {"description": _STATUSES[503]})
    if path.startswith("/admin/v1/") and method != "get":
        responses["409"] = _ERROR_RESPONSE | {"description": "The current state conflicts with the change."}
    if "{" in path or path == "/admin/v1/usage":
        responses["404"] = _ERROR_RESPONSE | {"description": "No object has this name."}


def _operation(path: str, operation: Operation) -> dict[str, Any]:
    response_format = {"type": "string", "enum": list(operation.response_formats), "default": "json"}
    fields = {name: response_format if name == "response_format" else _FIELDS[name] for name in operation.fields}
    form = {
        "type": "object",
        "required": ["file", "model"],
        "properties": fields,
        "additionalProperties": True,
    }
    return {
        "tags": ["audio"],
        "summary": operation.summary + (" (alias)" if path == operation.alias else ""),
        "operationId": path.strip("/").replace("/", "_"),
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {
            "200": {
                "description": "The provider's answer, byte for byte.",
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/plain": {"schema": {"type": "string"}},
                    "text/vtt": {"schema": {"type": "string"}},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **{
                str(status): _ERROR_RESPONSE | {"description": description} for status, description in _STATUSES.items()
            },
        },
    }
