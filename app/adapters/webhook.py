"""Delivers budget alerts: a log line for each, and a request to the webhook, if one is set, at least once.

The queue is a table of the ledger, so that no alert is lost with the process. Each alert has its own retries with a
growing delay. A request is signed as GitHub signs its webhooks: `X-Signature-256: sha256=<HMAC of the body>`.
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
FIRST_RETRY_MS = 2_000
MAX_RETRY_MS = 3_600_000
BATCH_SIZE = 20

_log = logging.getLogger("audio_gateway.budgets")


@dataclass(frozen=True, slots=True)
class Webhook:
    """The receiver of alerts, and the secret that signs them."""

    url: str
    secret: SecretStr


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The last attempt to deliver an alert. `delivered_ms` is None after a failure."""

    attempts: int
    next_ms: int
    delivered_ms: int | None


class WebhookDelivery:
    """Delivers the alerts that are due.

    A reload may replace `webhook` at any time. The last attempts stay in memory until the ledger has them: while it
    cannot be written, each alert would otherwise be due at every call of `deliver`.
    """

    def __init__(self, reader: LedgerReader, ledger: LedgerWriter, webhook: Webhook | None) -> None:
        self._reader = reader
        self._ledger = ledger
        self._unrecorded: dict[str, _Attempt] = {}
        self.webhook = webhook
        for name in ("httpx", "httpcore"):  # they log every request with its URL, which may contain a token
            logging.getLogger(name).setLevel(logging.WARNING)

    async def deliver(self) -> None:
        """Attempts to deliver each alert that is due."""
        due = self._reader.due_alerts(now_ms(), BATCH_SIZE + len(self._unrecorded))
        # The ledger has recorded the attempts of alerts that are no longer due.
        self._unrecorded = {alert[0]: self._unrecorded[alert[0]] for alert in due if alert[0] in self._unrecorded}
        await asyncio.gather(*(self._deliver(*alert) for alert in due))

    async def _deliver(self, alert_id: str, body: str, attempts: int) -> None:
        last = self._unrecorded.get(alert_id)
        if last is not None and (last.delivered_ms is not None or last.next_ms > now_ms()):
            if self._ledger.writable:
                self._ledger.mark_alert(alert_id, last.next_ms, last.delivered_ms)
            return
        attempts = attempts if last is None else last.attempts
        if attempts == 0:
            _log_reached(json.loads(body))
        delivered = self.webhook is None or await self._post(self.webhook, body.encode())
        now, delay = now_ms(), min(MAX_RETRY_MS, FIRST_RETRY_MS << min(attempts, 20))
        attempt = _Attempt(attempts + 1, now if delivered else now + delay, now if delivered else None)
        self._unrecorded[alert_id] = attempt
        self._ledger.mark_alert(alert_id, attempt.next_ms, attempt.delivered_ms)

    async def _post(self, webhook: Webhook, body: bytes) -> bool:
        """Sends one alert and returns whether the receiver accepted it."""
        signature = hmac.new(webhook.secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Signature-256": f"sha256={signature}"}
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                httpx.AsyncClient(verify=self._tls_context, trust_env=False, timeout=TIMEOUT_SECONDS) as client,
                client.stream("POST", webhook.url, content=body, headers=headers) as response,
            ):
                return response.status_code < 300
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            _log.info("the webhook cannot be delivered: %s", type(error).__name__)
            return False

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        """OpenSSL's defaults, loaded before the first alert and not at the start."""
        return ssl.create_default_context()


def _log_reached(alert: dict[str, Any]) -> None:
    _log.warning(
        "caller %s has spent %d %% of the budget %s: %s of %s (alert at %d %%)",
        alert["caller"],
        alert.get("spent_percent", alert["threshold_percent"]),  # alerts of older versions have no spent_percent
        alert["budget"],
        alert["spent"],
        alert["limit"],
        alert["threshold_percent"],
    )
