"""Several journals as one: a fault in one costs the others nothing."""

import logging

import pytest

from app.adapters.telemetry import RequestObservers
from app.gateway.inbound_request import InboundRequest
from app.gateway.request_record import RequestRecord
from app.operations import TRANSCRIPTION
from app.wire.headers import Headers
from tests.gateway.entering import untouched


class Noted:
    def __init__(self) -> None:
        self.trails: list[RequestRecord] = []

    def observe(self, record: RequestRecord) -> None:
        self.trails.append(record)


class Faulty:
    def observe(self, record: RequestRecord) -> None:
        raise ValueError("a fault")


def test_a_fault_is_logged_and_ends_there(caplog: pytest.LogCaptureFixture) -> None:
    before, behind = Noted(), Noted()
    record = RequestRecord(InboundRequest("req_1", TRANSCRIPTION, Headers(()), untouched(), 0))
    with caplog.at_level(logging.ERROR):
        RequestObservers(before, Faulty(), behind).observe(record)
    assert before.trails == behind.trails == [record]
    (logged,) = caplog.records
    assert logged.getMessage() == "a request could not be reported"
