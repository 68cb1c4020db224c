"""Delivering notices of budgets: one log event each, and a webhook where one is set, at least once.

The ledger's table is the queue, so nothing is lost with the process, and a dead receiver delays nobody: each notice has
its own next try, later each time. A webhook is signed as GitHub's are, `X-Signature-256: sha256=<HMAC of the body>`.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
from pydantic import SecretStr

from app.adapters.sqlite.reader import LedgerReader
from app.adapters.sqlite.writer import LedgerWriter
from app.clock import now_ms

TIMEOUT_SECONDS = 10
FIRST_PAUSE_MS = 2_000
LONGEST_PAUSE_MS = 3_600_000
AT_ONCE = 20

_log = logging.getLogger("audio_gateway.budgets")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where notices go, and the secret that signs them."""

    url: str
    secret: SecretStr


@dataclass(frozen=True, slots=True)
class _Try:
    """The last try of a notice: how many there were, when the next is due, and when it was delivered, if it was."""

    attempts: int
    next_ms: int
    delivered_ms: int | None


class WebhookDelivery:
    """Looks for notices that are due and delivers them.

    Another `webhook` may take its place at any time; each try goes to the one of its moment. What the ledger could not
    take in of a try is kept in memory: while it cannot be written each notice would otherwise be due at every look.
    """

    def __init__(self, reader: LedgerReader, ledger: LedgerWriter, webhook: Webhook | None) -> None:
        self._reader = reader
        self._ledger = ledger
        self._unmarked: dict[str, _Try] = {}
        self.webhook = webhook
        for name in ("httpx", "httpcore"):  # they log every request with its URL, which may hold a token
            logging.getLogger(name).setLevel(logging.WARNING)

    async def deliver(self) -> None:
        """Try all that are due."""
        due = self._reader.due_alerts(now_ms(), AT_ONCE + len(self._unmarked))
        # What the ledger no longer has as due, it has taken in.
        self._unmarked = {alert[0]: self._unmarked[alert[0]] for alert in due if alert[0] in self._unmarked}
        await asyncio.gather(*(self._deliver(*alert) for alert in due))

    async def _deliver(self, notice_id: str, body: str, attempts: int) -> None:
        last = self._unmarked.get(notice_id)
        if last is not None and (last.delivered_ms is not None or last.next_ms > now_ms()):
            if self._ledger.writable:
                self._ledger.mark_alert(notice_id, last.next_ms, last.delivered_ms)
            return
        attempts = attempts if last is None else last.attempts
        if attempts == 0:
            _log_reached(json.loads(body))
        delivered = self.webhook is None or await self._posted(self.webhook, body.encode())
        now, pause = now_ms(), min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(attempts, 20))
        done = _Try(attempts + 1, now if delivered else now + pause, now if delivered else None)
        self._unmarked[notice_id] = done
        self._ledger.mark_alert(notice_id, done.next_ms, done.delivered_ms)

    async def _posted(self, webhook: Webhook, body: bytes) -> bool:
        signature = hmac.new(webhook.secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Signature-256": f"sha256={signature}"}
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=TIMEOUT_SECONDS) as client,
                client.stream("POST", webhook.url, content=body, headers=headers) as answer,
            ):
                return answer.status_code < 300
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            _log.info("the webhook cannot be delivered: %s", type(error).__name__)
            return False

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """OpenSSL's defaults, read before the first notice and not at the start."""
        return ssl.create_default_context()


def _log_reached(alert: dict[str, Any]) -> None:
    _log.warning(
        "caller %s has spent %d %% of the budget %s: %s of %s (the notice at %d %%)",
        alert["caller"],
        alert.get("spent_percent", alert["threshold_percent"]),  # one of an older gateway has no other
        alert["budget"],
        alert["spent"],
        alert["limit"],
        alert["threshold_percent"],
    )
