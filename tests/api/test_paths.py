"""What is meant by a path that is nearly one of ours."""

import pytest

from app.api.paths import advice

KNOWN = {"/v1/audio/transcriptions", "/v1/models", "/healthz", "/admin/v1/callers"}


@pytest.mark.parametrize(
    ("path", "meant", "reason"),
    [
        ("/audio/transcriptions", "/v1/audio/transcriptions", "/v1 is missing"),
        ("/models", "/v1/models", "/v1 is missing"),
        ("/v1/v1/audio/transcriptions", "/v1/audio/transcriptions", "twice"),
        ("/v1//audio/transcriptions", "/v1/audio/transcriptions", "double slash"),
        ("//v1/audio/transcriptions", "/v1/audio/transcriptions", "double slash"),
        ("/v1/audio/transcriptions/", "/v1/audio/transcriptions", "ends in a slash"),
        ("//audio/transcriptions/", "/v1/audio/transcriptions", "/v1 is missing"),
        ("/v1//v1/models", "/v1/models", "twice"),
        ("/healthz/", "/healthz", "ends in a slash"),
        ("/v1/healthz", "/healthz", "not below /v1"),
        ("/v1/audio/transcriptions/audio/transcriptions", "/v1/audio/transcriptions", "The endpoint is twice"),
    ],
)
def test_one_thing_is_meant(path: str, meant: str, reason: str) -> None:
    said = advice(path, KNOWN.__contains__)
    assert said.startswith(f"Did you mean {meant}? ")
    assert reason in said


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "//", "*", "/v2/models", "/v1/chat/completions", "/v1/v1/v1/models"]
)
def test_what_is_not_sure_stays_unknown(path: str) -> None:
    assert advice(path, KNOWN.__contains__) == "The API begins at /v1."
