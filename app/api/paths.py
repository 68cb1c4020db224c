"""What is wrong with a path that is nearly one of ours: a `base_url` that does not end in /v1, or a slash too many."""

import re
from collections.abc import Callable, Iterator

_SLASHES = re.compile(r"/{2,}")
_TWICE = re.compile(r"(/v1(/.+))\2")


def advice(path: str, known: Callable[[str], bool]) -> str:
    """What to do about an unknown path, where exactly one thing is meant; else where the API begins."""
    for meant, reason in _corrections(path):
        if meant != path and known(meant):
            return f"Did you mean {meant}? {reason}"
    return "The API begins at /v1."


def _corrections(path: str) -> Iterator[tuple[str, str]]:
    """What may be meant, and what to change for it."""
    plain = _SLASHES.sub("/", path).rstrip("/")
    if plain != path:
        reason = "The path ends in a slash." if plain == path.rstrip("/") else "The path has a double slash."
        yield plain, f"{reason} A base_url should end in /v1, and the path behind it should begin with one slash."
    if plain.startswith("/v1/v1/"):
        yield plain.removeprefix("/v1"), "/v1 is twice in the path. A base_url should end in one /v1."
    elif plain.startswith("/v1/"):
        yield plain.removeprefix("/v1"), "This path is not below /v1."
    yield "/v1" + plain, "/v1 is missing. A base_url should end in /v1."
    if twice := _TWICE.fullmatch(plain):
        yield twice[1], "The endpoint is twice in the path. A base_url should end in /v1."
