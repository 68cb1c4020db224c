"""The request metrics bound their series, and count each token once."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.telemetry import RequestMetrics, scrape
from app.adapters.telemetry.metrics import MAX_CALLERS, tokens_by_kind
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.request_record import RequestRecord
from app.operations import TRANSLATION
from app.policy.caller_policy import CallerPolicy
from app.units import Tokens
from app.wire.headers import Headers
from tests.gateway.unread import unread_body


def refused(caller: str) -> RequestRecord:
    record = RequestRecord(
        InboundRequest("req_1", TRANSLATION, Headers(()), unread_body(), 0), Caller(caller, "key_1", CallerPolicy())
    )
    record.status, record.error = 429, "rate_limit_exceeded"
    return record


def test_callers_beyond_the_first_thousand_share_a_label() -> None:
    metrics = RequestMetrics("scripted")
    for number in range(MAX_CALLERS + 5):
        metrics.observe(refused(f"caller-{number}"))
    metrics.observe(refused("caller-0"))
    text = scrape(metrics)()[0].decode()
    (family,) = (each for each in text_string_to_metric_families(text) if each.name == "audio_gateway_requests")
    numbers = {sample.labels["caller"]: sample.value for sample in family.samples}
    assert len(numbers) == MAX_CALLERS + 1
    assert (numbers["(other)"], numbers["caller-0"], numbers["caller-1"]) == (5, 2, 1)


def test_a_request_that_an_internal_error_ended_is_counted() -> None:
    metrics = RequestMetrics("scripted")
    metrics.observe(RequestRecord(InboundRequest("req_1", TRANSLATION, Headers(()), unread_body(), 0)))
    text = scrape(metrics)()[0].decode()
    assert (
        'audio_gateway_requests_total{caller="(unknown)",endpoint="/v1/audio/translations",error="internal_error",'
        'model="(unknown)",status="500"} 1.0\n'
    ) in text


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (Tokens(input=14, output=45, total=59), (14, 0, 0, 45)),
        (Tokens(input=14, output=45, total=59, audio=10, text=4), (0, 10, 4, 45)),
        (Tokens(input=14, output=45, total=59, audio=10), (4, 10, 0, 45)),
        (Tokens(input=1, output=0, total=1, audio=2), (0, 2, 0, 0)),
    ],
)
def test_each_token_counts_under_one_kind(tokens: Tokens, expected: tuple[int, int, int, int]) -> None:
    by_kind = tokens_by_kind(tokens)
    assert tuple(by_kind[kind] for kind in ("input", "input_audio", "input_text", "output")) == expected
