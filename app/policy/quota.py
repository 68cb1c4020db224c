"""How many bytes one kind of buffer may take for all requests together.

A request has its first bytes for itself: they are bounded by the number of requests. What it holds beyond them counts
against the quota of the process, in which one caller has at most three quarters of what the others leave. So there is
room for another caller, whatever one of them holds, and a caller who is alone has most of it.
"""

from app import errors


class Quota:
    """The bytes of one kind that the process holds, and how many of them each caller holds."""

    __slots__ = ("_by_caller", "_total", "_what", "used")

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._by_caller: dict[str, int] = {}
        self.used = 0

    def take(self, caller: str, size: int) -> None:
        """Count these bytes as held; APIError 503 if there is no room for them."""
        own = self._by_caller.get(caller, 0)
        if 4 * (own + size) > 3 * (self._total - self.used + own):
            raise errors.overloaded(f"{self._what}, or your share of it, is full")
        self._by_caller[caller] = own + size
        self.used += size

    def give_back(self, caller: str, size: int) -> None:
        """Count these bytes as free."""
        left = self._by_caller[caller] - size
        self.used -= size
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]


class QuotaShare:
    """What one request holds of a quota; `free` bytes of it do not count. To be released on every way out."""

    __slots__ = ("_caller", "_free", "_quota", "_taken")

    def __init__(self, quota: Quota, caller: str, free: int = 0) -> None:
        self._quota = quota
        self._caller = caller
        self._free = free
        self._taken = 0

    def resize(self, size: int) -> None:
        """Hold so many bytes from now on; APIError 503 if there is no room for them.

        A refused request is over and holds nothing any more, so that of many that grow at once some can go on.
        """
        if size <= self._free and not self._taken:  # nearly every call of nearly every request
            return
        wanted = max(0, size - self._free)
        if wanted == self._taken:
            return
        if self._taken:
            self._quota.give_back(self._caller, self._taken)
            self._taken = 0
        if wanted:
            self._quota.take(self._caller, wanted)
            self._taken = wanted

    def release(self) -> None:
        self.resize(0)
