"""Several journals as one: a fault in one costs the others nothing."""

import logging

import pytest

from app.adapters.telemetry import Journals
from app.gateway.call import Call
from app.gateway.pipeline import Trail
from app.wire.headers import Headers
from tests.gateway.entering import untouched


class Noted:
    def __init__(self) -> None:
        self.trails: list[Trail] = []

    def request(self, trail: Trail) -> None:
        self.trails.append(trail)


class Faulty:
    def request(self, trail: Trail) -> None:
        raise ValueError("a fault")


def test_a_fault_is_logged_and_ends_there(caplog: pytest.LogCaptureFixture) -> None:
    before, behind = Noted(), Noted()
    trail = Trail(Call("req_1", "transcribe", Headers(()), untouched(), 0))
    with caplog.at_level(logging.ERROR):
        Journals(before, Faulty(), behind).request(trail)
    assert before.trails == behind.trails == [trail]
    (record,) = caplog.records
    assert record.getMessage() == "a request could not be reported"
