"""The gateway's reading connection: point queries of some ten microseconds each, too short to be worth a thread."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import apsw

from app import errors
from app.adapters.sqlite.database import Database, rows
from app.adapters.sqlite.usage_reports import closed_amounts
from app.gateway.caller import Key
from app.gateway.ledger_rows import ClosedUsage, Days
from app.policy.budget import Amounts
from app.policy.caller_policy import CallerPolicy

_log = logging.getLogger("audio_gateway.ledger")

_FIND = """
SELECT keys.id, keys.caller, keys.sha256, callers.terms, keys.expires_ms, keys.revoked_ms IS NOT NULL
FROM keys JOIN callers ON callers.name = keys.caller WHERE keys.sha256 = ?
"""
_RESOLUTIONS = """
SELECT seq, caller, admitted_ms, cost_nano_usd, audio_ms, charged_tokens FROM resolutions WHERE seq > ? ORDER BY seq
"""
_LAST_RESOLUTION = "SELECT ifnull(max(seq), 0) FROM resolutions"


_DUE_NOTICES = """
SELECT id, body, attempts FROM notices WHERE delivered_ms IS NULL AND next_ms <= ? ORDER BY next_ms LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Resolution:
    """That a row which was closed as unknown has been resolved: what it is charged more (or less) than before."""

    number: int
    caller: str
    admitted_ms: int
    change: Amounts


class LedgerReader:
    """Keys and sums as the gateway needs them at a request. A change holds from the next request on."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connect()
        with database.explained():
            self._last_resolution: int = self._connection.execute(_LAST_RESOLUTION).get

    def close(self) -> None:
        self._connection.close()

    async def find(self, sha256: str) -> Key | None:
        """The key with this SHA-256; APIError 503 if the ledger cannot be read."""
        with _readable():
            row = self._connection.execute(_FIND, (sha256,)).get
        if row is None:
            return None
        key_id, caller, stored, policy, expires_ms, revoked = row
        return Key(key_id, caller, stored, _policy(policy), expires_ms, bool(revoked))

    def spent(self, caller: str, periods: Sequence[Days]) -> ClosedUsage:
        """What a caller's closed rows come to in each of these periods."""
        with _readable(), self._connection:
            amounts = tuple(closed_amounts(self._connection, caller, *period) for period in periods)
            resolution = self._connection.execute(_LAST_RESOLUTION).get
        return ClosedUsage(amounts, resolution)

    def due_alerts(self, now_ms: int, limit: int) -> list[tuple[str, str, int]]:
        """Id, body and number of tries of the notices that are to be delivered by now."""
        return rows(self._connection, _DUE_NOTICES, (now_ms, limit))

    def new_resolutions(self) -> list[Resolution]:
        """Those since the last call."""
        found = rows(self._connection, _RESOLUTIONS, (self._last_resolution,))
        if found:
            self._last_resolution = found[-1][0]
        return [
            Resolution(number, caller, admitted_ms, Amounts(*change)) for number, caller, admitted_ms, *change in found
        ]


@lru_cache
def _policy(text: str) -> CallerPolicy:
    return CallerPolicy.read(json.loads(text))


@contextmanager
def _readable() -> Iterator[None]:
    """A request that needs what cannot be read is refused, not failed."""
    try:
        yield
    except apsw.Error as error:
        _log.error("the ledger cannot be read: %s", error)
        raise errors.ledger_unavailable() from error
