"""Several observers as one: a fault in one does not affect the others."""

import logging

import pytest

from app.adapters.telemetry import RequestObservers
from app.gateway.inbound_request import InboundRequest
from app.gateway.request_record import RequestRecord
from app.operations import TRANSCRIPTION
from app.wire.headers import Headers
from tests.gateway.unread import unread_body


class Recorder:
    def __init__(self) -> None:
        self.records: list[RequestRecord] = []

    def observe(self, record: RequestRecord) -> None:
        self.records.append(record)


class Faulty:
    def observe(self, record: RequestRecord) -> None:
        raise ValueError("a fault")


def test_a_fault_of_one_observer_is_logged_and_contained(caplog: pytest.LogCaptureFixture) -> None:
    before, after = Recorder(), Recorder()
    record = RequestRecord(InboundRequest("req_1", TRANSCRIPTION, Headers(()), unread_body(), 0))
    with caplog.at_level(logging.ERROR):
        RequestObservers(before, Faulty(), after).observe(record)
    assert before.records == after.records == [record]
    (logged,) = caplog.records
    assert logged.exc_info is not None
