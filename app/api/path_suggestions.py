"""Suggestions for an unknown path, such as one whose `base_url` does not end in /v1."""

import re
from collections.abc import Callable, Iterator

_SLASHES = re.compile(r"/{2,}")
_REPEATED = re.compile(r"(/v1(/.+))\2")


def suggestion(path: str, known: Callable[[str], bool]) -> str:
    """A sentence with the known path that is most likely meant, or with the path at which the API begins."""
    for candidate, reason in _corrections(path):
        if candidate != path and known(candidate):
            return f"Did you mean {candidate}? {reason}"
    return "The API begins at /v1."


def _corrections(path: str) -> Iterator[tuple[str, str]]:
    """Corrected paths, each with the reason."""
    cleaned = _SLASHES.sub("/", path).rstrip("/")
    if cleaned != path:
        reason = "The path ends in a slash." if cleaned == path.rstrip("/") else "The path has a double slash."
        yield cleaned, f"{reason} A base_url should end in /v1, and the path after it should begin with one slash."
    if cleaned.startswith("/v1/v1/"):
        yield cleaned.removeprefix("/v1"), "/v1 is twice in the path. A base_url should end in one /v1."
    elif cleaned.startswith("/v1/"):
        yield cleaned.removeprefix("/v1"), "This path is not below /v1."
    yield "/v1" + cleaned, "/v1 is missing. A base_url should end in /v1."
    if repeated := _REPEATED.fullmatch(cleaned):
        yield repeated[1], "The endpoint is twice in the path. A base_url should end in /v1."
