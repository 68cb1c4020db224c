"""Relaying: which provider, and with how much patience."""

from app.config import Task, TimeoutSettings
from app.errors import Header
from app.gateway.admission import Permit
from app.gateway.exchange import Exchange, Line
from app.gateway.intake import Spools, Upload
from app.gateway.outbound import OutboundForm
from app.gateway.provider import Provider
from app.policy.quota import Quota


class Relay:
    """The stage."""

    def __init__(
        self, provider: Provider, framing: str, timeouts: TimeoutSettings, spools: Spools, answers: Quota
    ) -> None:
        self._line = Line(provider, framing, timeouts, spools, answers)

    def form(self, upload: Upload, permit: Permit) -> OutboundForm:
        return OutboundForm(upload, permit, self._line.timeouts)

    def exchange(self, form: OutboundForm, task: Task, onward: tuple[Header, ...] = ()) -> Exchange:
        """The exchange that sends this form, and `onward` among its headers."""
        return Exchange(self._line, form, task, onward)
