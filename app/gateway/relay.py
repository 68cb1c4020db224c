"""Relaying: which provider, and with how much patience."""

from app.config import TimeoutSettings
from app.errors import Header
from app.gateway.attempt import UpstreamAttempt, UpstreamContext
from app.gateway.ports import Spools, UpstreamClient
from app.gateway.reservation import Admission
from app.gateway.upload import Upload
from app.gateway.upstream_body import UpstreamBody
from app.operations import Operation
from app.policy.quota import Quota


class Relay:
    """The stage."""

    def __init__(
        self, provider: UpstreamClient, framing: str, timeouts: TimeoutSettings, spools: Spools, answers: Quota
    ) -> None:
        self._line = UpstreamContext(provider, framing, timeouts, spools, answers)

    def form(self, upload: Upload, admission: Admission) -> UpstreamBody:
        return UpstreamBody(upload, admission, self._line.timeouts)

    def exchange(
        self, form: UpstreamBody, operation: Operation, trace_headers: tuple[Header, ...] = ()
    ) -> UpstreamAttempt:
        """The exchange that sends this form, and `trace_headers` among its headers."""
        return UpstreamAttempt(self._line, form, operation, trace_headers)
