"""Quotas: how many bytes one kind of buffer may take for all requests together.

A request's first bytes are free: the number of requests bounds them. What it holds beyond them counts against the quota
of the process, of which one caller gets at most three quarters of what the others leave. So there is room for another
caller, whatever one of them holds, and a single caller gets most of it.
"""

from app import errors


class Quota:
    """The bytes of one kind that the process holds, and each caller's part of them. `what` names the kind in errors."""

    __slots__ = ("_by_caller", "_total", "_what", "used")

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._by_caller: dict[str, int] = {}
        self.used = 0

    def take(self, caller: str, size: int) -> None:
        """Counts these bytes as held; APIError 503 if there is no room for them."""
        own = self._by_caller.get(caller, 0)
        if 4 * (own + size) > 3 * (self._total - self.used + own):
            raise errors.overloaded(f"{self._what}, or your share of it, is full")
        self._by_caller[caller] = own + size
        self.used += size

    def release(self, caller: str, size: int) -> None:
        """Counts these bytes as free."""
        left = self._by_caller[caller] - size
        self.used -= size
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]


class QuotaShare:
    """What one request holds of a quota. `free` bytes of it do not count. It must be released on every way out."""

    __slots__ = ("_caller", "_free", "_quota", "_taken")

    def __init__(self, quota: Quota, caller: str, free: int = 0) -> None:
        self._quota = quota
        self._caller = caller
        self._free = free
        self._taken = 0

    def resize(self, size: int) -> None:
        """Changes what the request holds to `size` bytes; APIError 503 if there is no room for them.

        A refused request holds nothing any more. So if many requests grow at once, some of them can continue.
        """
        if size <= self._free and not self._taken:  # nearly every call of nearly every request
            return
        wanted = max(0, size - self._free)
        if wanted == self._taken:
            return
        if self._taken:
            self._quota.release(self._caller, self._taken)
            self._taken = 0
        if wanted:
            self._quota.take(self._caller, wanted)
            self._taken = wanted

    def release(self) -> None:
        self.resize(0)
