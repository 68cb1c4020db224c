"""Assertions about the outcome of a fault: the error envelope, and the ledger's rows and rejection counts."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from tests.behaviour.caller import error_of, fence, post
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, RawResponse


def refused(answer: RawResponse, status: int, code: str, param: str | None = None) -> None:
    """Asserts that the response is this error, in the envelope."""
    error = error_of(answer)
    assert (answer.status, error["code"], error["param"]) == (status, code, param), error
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]


def refused_and_closed(caller: RawConnection, status: int, code: str, param: str | None = None) -> RawResponse:
    """Asserts that the next response is this error and closes the connection."""
    answer = caller.read_response()
    refused(answer, status, code, param)
    assert answer.header("connection") == "close"
    assert caller.closed(20)
    return answer


def wait_for(comes_true: Callable[[], object]) -> None:
    """Waits until the condition is true, for at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not comes_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def counts_refusals(gateway: GatewayProcess, *codes: str) -> Iterator[None]:
    """Asserts that the block adds no row, and exactly these rejections of the caller `team`."""
    before = _refusals(gateway)
    rows = len(gateway.rows())
    yield
    assert _refusals(gateway) - before - _MARK == Counter(codes)
    assert len(gateway.rows()) == rows


_MARK = Counter(["invalid_tag"])


def _refusals(gateway: GatewayProcess) -> Counter[str]:
    """The rejections of the caller `team` by code. It makes one itself to be sure that all earlier ones are counted."""
    fence(gateway)
    marks = _on_disk(gateway)["invalid_tag"]
    assert post(gateway, [], headers=[("X-Gateway-Tag", "none")]).status == 400
    wait_for(lambda: _on_disk(gateway)["invalid_tag"] > marks)
    return _on_disk(gateway)


def _on_disk(gateway: GatewayProcess) -> Counter[str]:
    with closing(sqlite3.connect(f"file:{gateway.ledger}?mode=ro", uri=True)) as ledger:
        return Counter(
            dict(ledger.execute("SELECT code, sum(count) FROM refusals WHERE caller = 'team' GROUP BY code"))
        )
