"""An entrance that nobody has spent anything at, and calls whose body is not to be read."""

from collections.abc import AsyncIterator, Sequence

from app.gateway.budgets import Budgets, Days, Spent
from app.gateway.call import Call
from app.gateway.entry import Entrance
from app.gateway.limits import Limits
from app.policy.budget import NOTHING
from app.policy.quota import Quota
from app.wire.headers import Header, Headers

MAX_FILE_BYTES = 1_000
FORM = (b"content-type", b"multipart/form-data; boundary=abc")


class NothingSpent:
    def spent(self, caller: str, periods: Sequence[Days]) -> Spent:
        return Spent((NOTHING,) * len(periods), 0)


def entrance_for(requests: int, limits: Limits | None = None) -> Entrance:
    return Entrance(requests, MAX_FILE_BYTES, limits or Limits(), Budgets(NothingSpent(), ()), Quota(1 << 20, ""))


async def untouched() -> AsyncIterator[bytes]:
    raise AssertionError("the body was read")
    yield b""


def call(*fields: Header) -> Call:
    return Call("req_1", "transcribe", Headers(fields), untouched(), 0)
