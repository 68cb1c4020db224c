"""One thing that was looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found; `advice` is what to do, None if all is as it should be."""

    check: str
    told: str
    advice: str | None = None

    @property
    def good(self) -> bool:
        return self.advice is None
