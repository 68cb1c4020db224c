"""What a caller may do: models, tasks, rate, concurrency, budgets and tags.

It is the same for callers in the settings, in the ledger and in the admin API. As a document, every part is optional:

    {"models": ["whisper-1"], "tasks": ["transcribe"], "rpm": 60, "burst": 10, "concurrency": 8,
     "budgets": ["50usd/month", "600min/day"], "tags": {"team": "search"}}
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from app.policy.budget import Budget
from app.policy.rate_limit import Rate
from app.policy.task import TASKS

MAX_TAGS = 8
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_TAG_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/@-]{0,63}")
_PARTS = frozenset({"models", "tasks", "rpm", "burst", "concurrency", "budgets", "tags"})

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CallerPolicy:
    """One caller's policy. None means no limit: every model, every task, any rate, any concurrency."""

    models: frozenset[str] | None = None
    tasks: frozenset[str] | None = None
    rpm: int | None = None
    burst: int | None = None
    concurrency: int | None = None
    budgets: tuple[Budget, ...] = ()
    tags: Tags = ()

    @cached_property
    def rate(self) -> Rate | None:
        """The rate. Without a stated burst, the burst is one minute's requests."""
        return None if self.rpm is None else Rate(self.rpm, self.burst or self.rpm)

    def over(self, defaults: "CallerPolicy") -> "CallerPolicy":
        """Returns this policy with the defaults' rate and concurrency if it states none."""
        stated: dict[str, Any] = {}
        if self.rpm is None and defaults.rpm is not None:
            stated = {"rpm": defaults.rpm, "burst": defaults.burst}
        if self.concurrency is None and defaults.concurrency is not None:
            stated["concurrency"] = defaults.concurrency
        return replace(self, **stated) if stated else self

    def document(self) -> dict[str, Any]:
        """Returns the parts that are stated."""
        parts: dict[str, Any] = {
            "models": None if self.models is None else sorted(self.models),
            "tasks": None if self.tasks is None else sorted(self.tasks),
            "rpm": self.rpm,
            "burst": self.burst,
            "concurrency": self.concurrency,
            "budgets": [str(budget) for budget in self.budgets] or None,
            "tags": dict(self.tags) or None,
        }
        return {name: value for name, value in parts.items() if value is not None}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Returns the policy that a document states; ValueError names the part that is wrong."""
        unknown = set(document) - _PARTS
        if unknown:
            raise ValueError(f"{min(unknown)}: a caller's policy has no such part")
        budgets = tuple(Budget.parse(text) for text in _texts(document, "budgets") or ())
        if len({(budget.unit, budget.window) for budget in budgets}) < len(budgets):
            raise ValueError("budgets: two of the same unit and window")
        if document.get("burst") is not None and document.get("rpm") is None:
            raise ValueError("burst: needs rpm")
        return cls(
            models=_names(document, "models"),
            tasks=_tasks(document),
            rpm=_count(document, "rpm"),
            burst=_count(document, "burst"),
            concurrency=_count(document, "concurrency"),
            budgets=budgets,
            tags=read_tags(document.get("tags") or {}),
        )


def parse_tags(texts: Iterable[str]) -> Tags:
    """Returns the tags for texts such as `team=search`; ValueError."""
    pairs = list(texts)
    for text in pairs:
        if "=" not in text:
            raise ValueError(f"{text!r} is not a tag such as team=search")
    return read_tags(dict(text.split("=", 1) for text in pairs))


def read_tags(document: Any) -> Tags:
    """Returns the tags, checked and in the order of their keys; ValueError."""
    if not isinstance(document, Mapping) or len(document) > MAX_TAGS:
        raise ValueError(f"tags: must be a table of {MAX_TAGS} tags at most")
    for key, value in document.items():
        if not (isinstance(value, str) and _TAG_KEY.fullmatch(key) and _TAG_VALUE.fullmatch(value)):
            raise ValueError("tags: a key is lower-case letters and digits, a value 64 plain characters at the most")
    return tuple(sorted(document.items()))


def _texts(document: Mapping[str, Any], part: str) -> list[str] | None:
    value = document.get(part)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{part}: must be a list of texts")
    return list(value)


def _names(document: Mapping[str, Any], part: str) -> frozenset[str] | None:
    names = _texts(document, part)
    return None if names is None else frozenset(names)


def _tasks(document: Mapping[str, Any]) -> frozenset[str] | None:
    tasks = _names(document, "tasks")
    if tasks is not None and not tasks.issubset(TASKS):
        raise ValueError("tasks: transcribe, translate or both")
    return tasks


def _count(document: Mapping[str, Any], part: str) -> int | None:
    value = document.get(part)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError(f"{part}: must be a whole number of 1 or more")
    return value
