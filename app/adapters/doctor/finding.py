"""The result of one check."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do; it is None if the check passes."""

    check: str
    message: str
    advice: str | None = None

    @property
    def ok(self) -> bool:
        return self.advice is None
