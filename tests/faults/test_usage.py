"""N: implausible provider usage, and requests that are not retryable because they are already charged."""

import asyncio
import gc
import io
import json
import logging
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from app import config
from app.adapters.spool import SpoolFolder
from app.adapters.sqlite import Database, LedgerReader, LedgerWriter
from app.adapters.telemetry import LogQueue, LogWriter
from app.adapters.telemetry.request_log import RequestLog
from app.adapters.upstream import HttpUpstreamClient
from app.errors import APIError
from app.gateway.admission_control import AdmissionControl
from app.gateway.auth_failures import AuthFailureLimiter
from app.gateway.authentication import KeyDirectory
from app.gateway.budgets import Budgets
from app.gateway.inbound_request import InboundRequest
from app.gateway.pipeline import Pipeline
from app.gateway.ports import RequestObserver
from app.gateway.rate_limiter import RateLimiter
from app.gateway.request_record import RequestRecord
from app.gateway.settlement import CallerResponse
from app.gateway.upload import UploadParser
from app.gateway.upstream.context import UpstreamContext
from app.operations import TRANSCRIPTION
from app.policy import plausibility
from app.policy.caller_policy import CallerPolicy
from app.policy.quota import Quota
from app.services.configured_callers import configured_keys
from app.wire.headers import Headers
from tests.adapters.sqlite.entries import BOUND, hold, writing
from tests.audio import make
from tests.behaviour.caller import CLIP, FORM, error_of, form, post, request_id
from tests.faults.asking import STREAM, Asking
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import multipart
from tests.stubs.scrape import Scrape, wait_for_scrape
from tests.stubs.upstream import Reply, ScriptedUpstream, duration_usage, json_answer, sse_answer, verbose_answer


def tokens(made: int, taken: int = 0) -> dict[str, Any]:
    return {"type": "tokens", "input_tokens": made, "output_tokens": taken, "total_tokens": made + taken}


MINUTE = make("wav", "pcm_s16le", 60)
YEAR = 364 * 86_400
COUNTER = "audio_gateway_upstream_implausible_usage_total"

# By the row of the catalogue: the file, the model, the response.
NOT_BELIEVED: dict[str, tuple[bytes, str, Reply]] = {
    "N240-364-days": (CLIP, "whisper-1", json_answer("a", duration_usage(YEAR))),
    "N240-364-days-of-duration": (CLIP, "whisper-1", verbose_answer("a", YEAR)),
    "N240-milliseconds": (MINUTE, "whisper-1", json_answer("a", duration_usage(60_000))),
    "N240-ten-thousand-million-tokens": (CLIP, "gpt-4o-transcribe", json_answer("a", tokens(9_900_000_000))),
    "N240-tokens-of-a-long-prompt-that-was-not-sent": (CLIP, "gpt-4o-transcribe", json_answer("a", tokens(9_000))),
    "N240-a-total-without-its-parts": (
        CLIP,
        "gpt-4o-transcribe",
        json_answer("a", {**tokens(14, 45), "total_tokens": 9_900_000_000}),
    ),
    "N240-in-a-stream": (CLIP, "gpt-4o-transcribe", sse_answer(["a"], tokens(9_900_000_000))),
    "N241-no-seconds": (MINUTE, "whisper-1", json_answer("a", duration_usage(0))),
    "N241-no-duration": (MINUTE, "whisper-1", verbose_answer("a", 0.0)),
    "N241-minutes-for-seconds": (MINUTE, "whisper-1", json_answer("a", duration_usage(1))),
    "N241-no-tokens": (MINUTE, "gpt-4o-transcribe", json_answer("a", tokens(0))),
    "N241-no-tokens-of-a-short-clip": (CLIP, "gpt-4o-transcribe", json_answer("a", tokens(0))),
    "N241-no-tokens-in-a-stream": (MINUTE, "gpt-4o-transcribe", sse_answer(["a"], tokens(0))),
    "N241-hardly-any-tokens": (MINUTE, "gpt-4o-transcribe", json_answer("a", tokens(3, 2))),
}


def warnings(gateway: GatewayProcess, row_id: str) -> list[str]:
    lines = [line for line in gateway.log_lines("log") if line.get("request_id") == row_id]
    return [str(line["message"]) for line in lines if line["logger"] == "audio_gateway.accounting"]


@pytest.mark.parametrize("case", NOT_BELIEVED)
def test_implausible_usage_is_settled_as_measured_and_flagged(
    gateway: GatewayProcess, upstream: ScriptedUpstream, case: str
) -> None:
    audio, model, reply = NOT_BELIEVED[case]
    before = Scrape.of(gateway).value(COUNTER)
    upstream.reply(reply)
    fields = [("stream", "true")] if reply.framing == "chunked" else []
    answer = post(gateway, form(model, audio, fields=fields))
    assert answer.status == 200
    row = gateway.wait_for_row(request_id(answer), "settled")
    assert (row["source"], row["audio_ms"]) == ("measured", 60_000 if audio is MINUTE else 500)
    assert row["total_tokens"] is None
    assert 0 < row["cost_nano_usd"] <= row["bound_nano_usd"]
    assert 0 < row["charged_tokens"] <= row["bound_tokens"]
    assert json.loads(row["implausible_usage"])
    gateway.wait_for_log(row["id"])
    words = plausibility.TOO_LITTLE if case.startswith("N241") else plausibility.TOO_MUCH
    (warning,) = warnings(gateway, row["id"])
    assert words in warning
    wait_for_scrape(gateway, lambda scrape: scrape.value(COUNTER) == before + 1)


@pytest.mark.parametrize(
    ("audio", "model", "reply"),
    [
        (MINUTE, "whisper-1", json_answer("a", duration_usage(6))),  # silence left out
        (CLIP, "whisper-1", json_answer("a", duration_usage(30))),  # a whole window
        (CLIP, "gpt-4o-transcribe", json_answer("a", tokens(14, 1_999))),  # a phrase over and over
    ],
)
def test_N240_N241_plausible_usage_is_charged_as_reported(
    gateway: GatewayProcess, upstream: ScriptedUpstream, audio: bytes, model: str, reply: Reply
) -> None:
    upstream.reply(reply)
    row = gateway.wait_for_row(request_id(post(gateway, form(model, audio))), "settled")
    assert (row["source"], row["implausible_usage"]) == ("upstream", None)


def test_N240_the_tokens_of_a_long_prompt_are_charged(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("a", tokens(9_000)))
    parts = form("gpt-4o-transcribe", fields=[("prompt", "word " * 2_000)])
    row = gateway.wait_for_row(request_id(post(gateway, parts)), "settled")
    assert (row["source"], row["charged_tokens"]) == ("upstream", 9_000)


def test_N240_the_rows_and_the_check_show_implausible_usage(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(json_answer("a", duration_usage(YEAR)))
    row_id = request_id(post(gateway, form()))
    exported = [json.loads(line) for line in gateway.invoke("usage", "export").stdout.splitlines()]
    (row,) = [each for each in exported if each["id"] == row_id]
    assert row["implausible_usage"] == '{"seconds": 31449600.0}'
    assert "(implausible_usage)" in gateway.invoke("ledger", "check").stdout


# -- charged requests are not retryable ------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_N242_a_request_aborted_during_its_settlement_is_not_retryable(tmp_path: Path, streamed: bool) -> None:
    gate = threading.Event()
    with (
        ScriptedUpstream() as upstream,
        GatewayProcess(tmp_path, upstream.base_url, "[timeouts]\ngrace = 1") as gateway,
    ):
        reply = sse_answer(["a"]) if streamed else json_answer("late")
        upstream.default = reply.but(gate=gate)
        with (
            Asking(gateway, STREAM if streamed else ()) as asking,
            closing(sqlite3.connect(gateway.ledger, isolation_level=None, timeout=30)) as other,
        ):
            exchange = upstream.wait_for(1)
            upstream.wait_until(lambda: exchange.complete)
            other.execute("BEGIN IMMEDIATE")
            gate.set()
            upstream.wait_until(lambda: exchange.answered_at is not None)
            gateway.signal(signal.SIGTERM)
            answer = asking.answer
            other.execute("ROLLBACK")
        assert gateway.process is not None
        assert gateway.process.wait(60) == 0
        (row,) = gateway.rows()
        assert row["state"] == "settled"
        if streamed:
            assert b"shutting_down" not in answer.body
        else:
            assert (answer.status, error_of(answer)["code"]) == (503, "shutting_down")
            assert answer.header("x-should-retry") == "false"


class NoJournal:
    def observe(self, record: RequestRecord) -> None:
        pass


@asynccontextmanager
async def running_pipeline(gateway: GatewayProcess, journal: RequestObserver) -> AsyncIterator[Pipeline]:
    """The pipeline of a gateway with these settings, in this process."""
    settings = config.load(gateway.config, gateway.environment)
    reader = LedgerReader(database := Database(gateway.ledger))
    ledger, budgets, spools = (
        LedgerWriter(database),
        Budgets(reader),
        SpoolFolder(gateway.folder, 1 << 20, 1 << 20, 1 << 20),
    )
    provider = HttpUpstreamClient(settings.upstream, settings.upstream.api_key(gateway.environment), settings.timeouts)
    ledger.open()
    ledger.start()
    await provider.open()
    try:
        yield Pipeline(
            KeyDirectory(configured_keys(settings, gateway.environment), reader, CallerPolicy()),
            AuthFailureLimiter(10),
            AdmissionControl(10, 1 << 20, RateLimiter(), budgets, Quota(1 << 20, "text")),
            budgets,
            UploadParser(settings.models, 1 << 20, spools),
            UpstreamContext("scripted", provider, "chunked", settings.timeouts, spools, Quota(1 << 20, "answers")),
            ledger,
            journal,
        )
    finally:
        await provider.close()
        await ledger.stop()
        reader.close()


async def failing_delivery(_: CallerResponse) -> None:
    raise RuntimeError("as an error of the gateway's own would")


def test_N243_a_gateway_error_after_the_closing_boundary_is_not_retryable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield multipart(form())

    async def refused(gateway: GatewayProcess) -> APIError:
        headers = Headers([(b"authorization", gateway.key.encode()), (b"content-type", FORM[1].encode())])
        async with running_pipeline(gateway, NoJournal()) as pipeline:
            with pytest.raises(APIError) as caught:
                await pipeline.handle(InboundRequest("req_1", TRANSCRIPTION, headers, body(), 0), failing_delivery)
        return caught.value

    with ScriptedUpstream() as upstream:
        gateway = GatewayProcess(tmp_path, upstream.base_url)
        refusal = asyncio.run(refused(gateway))
        (row,) = gateway.rows()
    assert row["state"] == "settled"
    assert (refusal.status, refusal.code, refusal.retry) == (500, "internal_error", False)
    assert "as an error of the gateway's own would" in caplog.text


@pytest.mark.parametrize("received_ms", [0, 4_102_444_800_000], ids=["clock went ahead", "clock went back"])
def test_durations_ignore_steps_of_the_wall_clock(tmp_path: Path, received_ms: int) -> None:
    """The clock steps by decades during the request."""
    answers: list[CallerResponse] = []

    async def body() -> AsyncIterator[bytes]:
        yield multipart(form())

    async def deliver(answer: CallerResponse) -> None:
        answers.append(answer)

    async def answered(gateway: GatewayProcess, log: io.StringIO) -> None:
        headers = Headers([(b"authorization", gateway.key.encode()), (b"content-type", FORM[1].encode())])
        log_queue = LogQueue()
        log_writer = LogWriter(log_queue, log)
        log_writer.start()
        async with running_pipeline(gateway, RequestLog(log_queue)) as pipeline:
            await pipeline.handle(InboundRequest("req_1", TRANSCRIPTION, headers, body(), received_ms), deliver)
        log_writer.stop()

    with ScriptedUpstream() as upstream:
        log = io.StringIO()
        asyncio.run(answered(GatewayProcess(tmp_path, upstream.base_url), log))
    (line,) = [json.loads(text) for text in log.getvalue().splitlines()]
    told = [line["admitted_ms"], line["upstream_ms"], line["total_ms"]]
    told.append(int(dict(answers[0].headers)[b"openai-processing-ms"]))
    assert all(0 <= each < 60_000 for each in told), told
    assert line["admitted_ms"] <= line["total_ms"]


def test_N245_a_reservation_that_fails_after_its_upload_leaves_no_unhandled_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing awaits the reservation then, and the ledger's writer has logged the error."""
    caplog.set_level(logging.CRITICAL, "audio_gateway.ledger")  # a record that is kept would keep the hold with it
    errors: list[dict[str, Any]] = []

    async def write_in_vain() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        database = Database(tmp_path / "ledger.db")
        async with writing(database) as writer:
            database.path.rename(tmp_path / "kept.db")
            held, raised = writer.reserve(hold()), writer.revise("req_1", BOUND, raised=True)
            while not (isinstance(raised, asyncio.Future) and raised.done()):
                await asyncio.sleep(0.01)
            (tmp_path / "kept.db").rename(database.path)
            del held, raised
            await writer.reserve(hold())  # the writer has let go of what it wrote before
            gc.collect()

    asyncio.run(write_in_vain())
    assert errors == []
