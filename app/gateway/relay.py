"""Relaying: which provider, with how much patience, and what is known of our key there."""

import logging
import time

from app.config import Task, TimeoutSettings
from app.errors import Header
from app.gateway import verdict
from app.gateway.admission import Permit
from app.gateway.exchange import Exchange, Line, is_success
from app.gateway.intake import Spools, Upload
from app.gateway.outbound import OutboundForm
from app.gateway.provider import Provider

KEY_TROUBLE_SECONDS = 60

_log = logging.getLogger("audio_gateway.relay")


class Relay:
    """The stage."""

    def __init__(self, provider: Provider, framing: str, timeouts: TimeoutSettings, spools: Spools) -> None:
        self._line = Line(provider, framing, timeouts, spools, self._heard)
        self._key_trouble_until = 0.0

    def form(self, upload: Upload, permit: Permit) -> OutboundForm:
        return OutboundForm(upload, permit, self._line.timeouts)

    def exchange(self, form: OutboundForm, task: Task, onward: tuple[Header, ...] = ()) -> Exchange:
        """The exchange that sends this form, and `onward` among its headers."""
        return Exchange(self._line, form, task, onward)

    @property
    def key_in_trouble(self) -> bool:
        """Whether the provider refused our key, until its next success or for 60 s."""
        return time.monotonic() < self._key_trouble_until

    def _heard(self, status: int) -> None:
        if is_success(status):
            self._key_trouble_until = 0.0
        elif verdict.is_key_trouble(status):
            self._key_trouble_until = time.monotonic() + KEY_TROUBLE_SECONDS
            _log.error("the provider answers %d: the gateway's own key is refused or out of credit", status)
