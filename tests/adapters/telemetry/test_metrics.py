"""What the counters make of callers and tokens, however many there are."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.telemetry import RequestMetrics, scrape
from app.adapters.telemetry.metrics import MAX_CALLERS, Charged
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import SettlementResult, State
from app.gateway.pipeline import RequestRecord
from app.operations import TRANSLATION
from app.policy.budget import Amounts
from app.policy.caller_policy import CallerPolicy
from app.units import Tokens, UsageSource
from app.wire.headers import Headers
from tests.gateway.entering import untouched


def refused(caller: str) -> RequestRecord:
    record = RequestRecord(
        InboundRequest("req_1", TRANSLATION, Headers(()), untouched(), 0), Caller(caller, "key_1", CallerPolicy())
    )
    record.status, record.error = 429, "rate_limit_exceeded"
    return record


def test_callers_beyond_the_first_thousand_share_a_label() -> None:
    metrics = RequestMetrics("scripted")
    for number in range(MAX_CALLERS + 5):
        metrics.request(refused(f"caller-{number}"))
    metrics.request(refused("caller-0"))
    text = scrape(metrics)()[0].decode()
    (family,) = (each for each in text_string_to_metric_families(text) if each.name == "audio_gateway_requests")
    numbers = {sample.labels["caller"]: sample.value for sample in family.samples}
    assert len(numbers) == MAX_CALLERS + 1
    assert (numbers["(other)"], numbers["caller-0"], numbers["caller-1"]) == (5, 2, 1)


def test_a_request_that_an_error_of_ours_ended() -> None:
    metrics = RequestMetrics("scripted")
    metrics.request(RequestRecord(InboundRequest("req_1", TRANSLATION, Headers(()), untouched(), 0)))
    text = scrape(metrics)()[0].decode()
    assert (
        'audio_gateway_requests_total{caller="(unknown)",endpoint="/v1/audio/translations",error="internal_error",'
        'model="(unknown)",status="500"} 1.0\n'
    ) in text


@pytest.mark.parametrize(
    ("tokens", "kinds"),
    [
        (Tokens(input=14, output=45, total=59), (14, 0, 0, 45)),
        (Tokens(input=14, output=45, total=59, audio=10, text=4), (0, 10, 4, 45)),
        (Tokens(input=14, output=45, total=59, audio=10), (4, 10, 0, 45)),
        (Tokens(input=1, output=0, total=1, audio=2), (0, 2, 0, 0)),
    ],
)
def test_each_token_is_of_one_kind(tokens: Tokens, kinds: tuple[int, int, int, int]) -> None:
    charged = Charged()
    charged.add(settled(tokens))
    assert (charged.input, charged.input_audio, charged.input_text, charged.output) == kinds
    assert (charged.nano_usd, charged.audio_ms) == (7, 8)


def settled(tokens: Tokens) -> SettlementResult:
    return SettlementResult(
        id="req_1",
        state=State.SETTLED,
        status=200,
        error=None,
        bound=Amounts(cost=7, audio=8, tokens=tokens.total),
        charge=Amounts(cost=7, audio=8, tokens=tokens.total),
        tokens=tokens,
        source=UsageSource.UPSTREAM,
        file_bytes=1,
        response_format="json",
        stream=False,
        upstream_request_id=None,
        sent_ms=None,
        answered_ms=None,
        done_ms=0,
    )
