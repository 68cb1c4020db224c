"""What an endpoint means: where it is, which form it takes, and how its response is read."""

from collections.abc import Callable
from dataclasses import dataclass

from app.policy.task import Task
from app.units import Usage


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the audio API.

    `path` is its endpoint, and `alias` another path to the same. `description` completes "This model cannot ...".
    `fields` are the form's fields that the documentation names; any other field goes upstream too. `read_usage` returns
    the usage that a response's JSON document states, None if it states none.
    """

    task: Task
    path: str
    alias: str
    description: str
    summary: str
    fields: tuple[str, ...]
    response_formats: tuple[str, ...]
    read_usage: Callable[[object], Usage | None]

    @property
    def paths(self) -> tuple[str, str]:
        return self.path, self.alias
