"""An unknown path that resembles a known one gets a suggestion."""

import pytest

from app.api.path_suggestions import suggestion

KNOWN = {"/v1/audio/transcriptions", "/v1/models", "/healthz", "/admin/v1/callers"}


@pytest.mark.parametrize(
    ("path", "expected", "reason"),
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
def test_a_near_miss_names_the_known_path_and_the_reason(path: str, expected: str, reason: str) -> None:
    text = suggestion(path, KNOWN.__contains__)
    assert text.startswith(f"Did you mean {expected}? ")
    assert reason in text


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "//", "*", "/v2/models", "/v1/chat/completions", "/v1/v1/v1/models"]
)
def test_another_path_gets_the_start_of_the_api(path: str) -> None:
    assert suggestion(path, KNOWN.__contains__) == "The API begins at /v1."
