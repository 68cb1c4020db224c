"""The gateway's reading connection. Its queries take about ten microseconds each, so they run without a thread."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import apsw

from app import errors
from app.adapters.sqlite.connection import rows
from app.adapters.sqlite.database import Database
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


_DUE_ALERTS = """
SELECT id, body, attempts FROM notices WHERE delivered_ms IS NULL AND next_ms <= ? ORDER BY next_ms LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A resolution of an unknown request. `change` is the difference to its charge before, which may be negative."""

    number: int
    caller: str
    admitted_ms: int
    change: Amounts


class LedgerReader:
    """Reads keys and spent budgets for requests. A change in the ledger applies from the next request on."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connect()
        with database.errors_explained():
            self._last_resolution: int = self._connection.execute(_LAST_RESOLUTION).get

    def close(self) -> None:
        self._connection.close()

    async def find(self, sha256: str) -> Key | None:
        """Returns the key with this SHA-256. Raises APIError 503 if the ledger cannot be read."""
        with _errors_as_503():
            row = self._connection.execute(_FIND, (sha256,)).get
        if row is None:
            return None
        key_id, caller, stored, policy, expires_ms, revoked = row
        return Key(key_id, caller, stored, _policy(policy), expires_ms, bool(revoked))

    def spent(self, caller: str, periods: Sequence[Days]) -> ClosedUsage:
        """Returns the charges of a caller's closed rows in each period. Raises APIError 503 if it cannot read them."""
        with _errors_as_503(), self._connection:
            amounts = tuple(closed_amounts(self._connection, caller, *period) for period in periods)
            resolution = self._connection.execute(_LAST_RESOLUTION).get
        return ClosedUsage(amounts, resolution)

    def due_alerts(self, now_ms: int, limit: int) -> list[tuple[str, str, int]]:
        """Returns the id, the body and the number of attempts of each alert that is due."""
        return rows(self._connection, _DUE_ALERTS, (now_ms, limit))

    def new_resolutions(self) -> list[Resolution]:
        """Returns the resolutions since the last call."""
        resolutions = rows(self._connection, _RESOLUTIONS, (self._last_resolution,))
        if resolutions:
            self._last_resolution = resolutions[-1][0]
        return [Resolution(number, caller, ms, Amounts(*change)) for number, caller, ms, *change in resolutions]


@lru_cache
def _policy(text: str) -> CallerPolicy:
    return CallerPolicy.read(json.loads(text))


@contextmanager
def _errors_as_503() -> Iterator[None]:
    """Turns errors of the database into APIError 503."""
    try:
        yield
    except apsw.Error as error:
        _log.error("the ledger cannot be read: %s", error)
        raise errors.ledger_unavailable() from error
