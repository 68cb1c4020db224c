"""Rewrites the messages of pydantic and typer, so that settings, bodies and command lines share one style of error."""

import re

_REWRITES = (
    (r"Field required", "is required"),
    (r"Extra inputs are not permitted", "is not known"),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid (?:number|decimal).*", "must be a number"),
    (r"Input should be a finite number", "must be a finite number"),
    (r"Input should be a valid boolean.*", "must be true or false"),
    (r"Input should be a valid string", "must be text"),
    (r"Input should be a valid (?:tuple|list)", "must be a list"),
    (r"Input should be a valid dictionary.*", "must be a table"),
    (r"('.*') does not match the formats? .*", r"\1 is not a day such as 2026-11-01"),
    (r"Input should be a valid date.*", "must be a day such as 2026-11-01"),
    (r"Input is not a valid path.*", "must be a path"),
    (r"Input should be greater than or equal to (\S+)", r"must be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"must be \1 or less"),
    (r"Input should be greater than (\S+)", r"must be more than \1"),
    (r"Input should be less than (\S+)", r"must be less than \1"),
    (r"String should have at least (\d+) characters?", r"must have \1 or more characters"),
    (r"String should have at most (\d+) characters?", r"must have \1 or fewer characters"),
    (r"\w+ should have at least (\d+) items?.*", r"must have \1 or more entries"),
    (r"\w+ should have at most (\d+) items?.*", r"must have \1 or fewer entries"),
    (r"String should match pattern '(.+)'", r"has characters or a form that is not allowed here (pattern \1)"),
    (r"JSON decode error", "must be valid JSON"),
    (r"Input should (?:be )?(.+)", r"must be \1"),
)
_COMPILED = tuple((re.compile(pattern, re.DOTALL), rewrite) for pattern, rewrite in _REWRITES)


def plain_message(message: str) -> str:
    """The message in the style of the gateway; a message that is not known stays as it is."""
    message = message.removeprefix("Value error, ")
    for pattern, rewrite in _COMPILED:
        if (match := pattern.fullmatch(message)) is not None:
            return match.expand(rewrite)
    return message
