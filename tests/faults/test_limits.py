"""I: limits and budgets hold exactly, for concurrent requests and every outcome; nothing is free by accident."""

import asyncio
import random
import select
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from tests.audio import make
from tests.behaviour.caller import CLIP, begin, connect, error_of, form, post, post_bytes, request_id
from tests.behaviour.test_kill import SILENCE
from tests.behaviour.test_limits import FORM, FORM_TYPE, PATH, head_only
from tests.faults.asking import Asking
from tests.stubs.gateway import ADMIN_KEY, NO_TLS, GatewayProcess
from tests.stubs.invariants import max_overrun
from tests.stubs.raw import RawConnection, RawResponse, chunked, multipart, request
from tests.stubs.upstream import (
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
    text_answer,
    verbose_answer,
)

ROUNDS = 50
AT_ONCE = 100

ANY_REPLY = [
    json_answer("hello"),
    json_answer("late").but(delay=0.02),
    error_answer(400, "bad", "No."),
    no_answer(),
    sse_answer(["a", "b"]).but(cut_after=60),
]

Seen = tuple[int, str | None, str | None]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(keep_bodies=False) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), upstream.base_url, admin_key=ADMIN_KEY) as process:
        yield process


@pytest.fixture(scope="module")
def bound(gateway: GatewayProcess) -> int:
    """The reservation of one request in nano-dollars. It equals the cost, as the form is complete at admission."""
    assert at_once(gateway, gateway.key, 1) == [(200, None, None)]
    (row,) = gateway.rows("caller = 'team'")
    assert 0 < row["cost_nano_usd"] == row["bound_nano_usd"]
    return int(row["bound_nano_usd"])


def caller_with(gateway: GatewayProcess, name: str, budget_nano_usd: int) -> str:
    """A new caller with this budget; the key."""
    return gateway.create_caller(name, budgets=[f"{budget_nano_usd / 1e9:.9f}usd/month"])


def at_once(
    gateway: GatewayProcess, key: str, count: int, gate: threading.Event | None = None, refused: int = 0
) -> list[Seen]:
    """Sends requests at the same moment; the provider responds once the given number has been rejected."""
    seen: list[Seen] = []
    with ExitStack() as stack:
        callers = [stack.enter_context(RawConnection("127.0.0.1", gateway.port, timeout=60)) for _ in range(count)]
        for caller in callers:
            caller.send(whole(key))
        waiting = {caller.socket: caller for caller in callers}
        while waiting:
            answered, _, _ = select.select(list(waiting), [], [], 60)
            assert answered, f"{len(waiting)} have no answer"
            seen += [seen_by(waiting.pop(each).read_response()) for each in answered]
            if gate is not None and sum(status != 200 for status, _, _ in seen) >= refused:
                gate.set()
    return seen


def seen_by(answer: RawResponse) -> Seen:
    code = None if answer.status == 200 else error_of(answer)["code"]
    return answer.status, code, answer.header("x-should-retry")


@pytest.mark.timeout(600)
def test_I137_ten_of_a_hundred_concurrent_requests_fit_a_budget_for_ten(
    upstream: ScriptedUpstream, gateway: GatewayProcess, bound: int
) -> None:
    for number in range(ROUNDS):
        name, gate = f"round-{number}", threading.Event()
        key = caller_with(gateway, name, 10 * bound)
        upstream.default = json_answer("hello").but(gate=gate)
        seen = Counter(at_once(gateway, key, AT_ONCE, gate, refused=90))
        assert seen == {(200, None, None): 10, (429, "budget_reserved", None): 90}
        rows = gateway.rows(f"caller = '{name}'")
        assert len(rows) == 10
        assert {row["state"] for row in rows} == {"settled"}
        assert max_overrun(rows, 10 * bound) <= 0


def test_I137_sequential_requests_spend_a_budget_completely(
    upstream: ScriptedUpstream, gateway: GatewayProcess, bound: int
) -> None:
    upstream.default = json_answer("hello")
    limit = 3 * bound
    key = caller_with(gateway, "to-the-end", limit)
    seen = [at_once(gateway, key, 1)[0] for _ in range(6)]
    assert seen[-1] == (429, "insufficient_quota", "false")
    rows = gateway.rows("caller = 'to-the-end'")
    spent = sum(row["cost_nano_usd"] for row in rows)
    assert limit <= spent < limit + bound
    assert max_overrun(rows, limit) <= bound


# -- a cost that is not known -----------------------------------------------------------------------------------------

COMPRESSED = {
    "I138-opus-at-6-kbit": ("ogg", "libopus", 48_000, 6_000),
    "I138-opus-in-webm": ("webm", "libopus", 48_000, 6_000),
    "I138-mp3-at-8-kbit": ("mp3", "libmp3lame", 16_000, 8_000),
    "I138-aac-at-12-kbit": ("ipod", "aac", 16_000, 12_000),
    "I138-flac": ("flac", "flac", 16_000, None),
}


def compressed(case: str, seconds: float = 20) -> bytes:
    container, codec, sample_rate, bit_rate = COMPRESSED[case]
    return make(container, codec, seconds, sample_rate, bit_rate=bit_rate)


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav", "g722"])
def test_I138_I146_a_false_byte_rate_makes_no_audio_free(
    upstream: ScriptedUpstream, gateway: GatewayProcess, codec: str
) -> None:
    """The WAV header states 4 GB a second and one sample a block."""
    upstream.reset(json_answer("hello"))
    audio = bytearray(make("wav", codec, 20))
    fmt = audio.index(b"fmt ") + 8
    audio[fmt + 8 : fmt + 12] = struct.pack("<I", 4_000_000_000)
    if audio[fmt - 4] >= 20:
        audio[fmt + 18 : fmt + 20] = struct.pack("<H", 1)
    answer = post(gateway, form(audio=bytes(audio)))
    assert answer.status == 200
    row = gateway.row(request_id(answer))
    assert row["bound_audio_ms"] >= row["audio_ms"] > 9_000


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("case", COMPRESSED)
def test_compressed_audio_is_reserved_at_its_bound_and_charged_for_its_length(
    upstream: ScriptedUpstream, gateway: GatewayProcess, case: str, declared: bool
) -> None:
    """The provider's answer tells no length: it is measured while the file passes."""
    upstream.reset(json_answer("hello"))
    body = multipart(form(audio=compressed(case)))
    with connect(gateway) as caller:
        if declared:
            caller.send(post_bytes(gateway, body))
        else:
            begin(gateway, caller)
            caller.send(chunked([body]))
        answer = caller.read_response()
    assert answer.status == 200
    row = gateway.row(request_id(answer))
    assert row["audio_ms"] == pytest.approx(20_000, abs=500)
    assert row["bound_audio_ms"] >= row["audio_ms"]
    assert row["bound_nano_usd"] >= row["cost_nano_usd"] > 0
    assert (row["state"], row["source"]) == ("settled", "measured")


def test_I138_requests_run_one_at_a_time_while_less_than_one_bound_is_left(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    upstream.reset(json_answer("hello"))
    audio = compressed("I138-opus-at-6-kbit")
    key = gateway.create_caller("squeezed", budgets=["0.35min/day"])
    assert gateway.row(gateway.transcribe(key, audio).headers["x-request-id"])["audio_ms"] == 20_000
    gate = threading.Event()
    upstream.default = json_answer("hello").but(gate=gate)
    with Asking(gateway, form(audio=audio), key) as going:
        upstream.wait_for(2)
        others = [gateway.transcribe(key, audio) for _ in range(5)]
        gate.set()
    assert going.answer.status == 200
    assert {(each.status_code, each.json()["error"]["code"]) for each in others} == {(429, "budget_reserved")}
    assert {each.headers["retry-after"] for each in others} == {"2"}
    spent = gateway.transcribe(key, audio)
    assert (spent.status_code, spent.json()["error"]["code"]) == (429, "insufficient_quota")
    assert spent.headers["x-should-retry"] == "false"
    assert len(upstream.journal) == 2
    assert len(gateway.rows("caller = 'squeezed'")) == 2


@pytest.mark.parametrize("unit", ["usd", "tokens", "min"])
def test_I139_usage_above_the_reservation_is_charged_in_full_and_stops_later_requests(
    upstream: ScriptedUpstream, gateway: GatewayProcess, unit: str
) -> None:
    """Up to the limit above which usage is not believed (N240)."""
    tenfold = {"type": "tokens", "input_tokens": 900, "output_tokens": 100, "total_tokens": 1_000}
    budgets = {"usd": "0.001usd/day", "tokens": "500tokens/day", "min": "0.5min/day"}
    told = verbose_answer("a", 60.0) if unit == "min" else json_answer("a", tenfold)
    upstream.reset(told)
    model = "whisper-1" if unit == "min" else "gpt-4o-transcribe"
    key = gateway.create_caller(f"over-{unit}", budgets=[budgets[unit]])
    answer = gateway.transcribe(key, CLIP, model)
    assert answer.status_code == 200
    row = gateway.row(answer.headers["x-request-id"])
    if unit == "min":
        assert row["audio_ms"] == 60_000 > 10 * row["bound_audio_ms"]
    else:
        assert row["charged_tokens"] == 1_000 > 10 * row["bound_tokens"]
        assert row["cost_nano_usd"] == 900 * 2_500 + 100 * 10_000 > 10 * row["bound_nano_usd"]
    following = [gateway.transcribe(key, CLIP, model) for _ in range(3)]
    assert {(each.status_code, each.json()["error"]["code"]) for each in following} == {(429, "insufficient_quota")}
    assert len(gateway.rows(f"caller = 'over-{unit}'")) == 1
    assert len(upstream.journal) == 1


# -- places, and what is held when nothing is in flight ---------------------------------------------------------------


async def statuses_at_the_concurrency_limit(
    gateway: GatewayProcess, upstream: ScriptedUpstream, key: str, places: int
) -> list[int]:
    """The statuses of one request more than the concurrency limit."""
    gate, begun = threading.Event(), len(upstream.journal)
    upstream.default = json_answer("late").but(gate=gate)
    async with httpx.AsyncClient(timeout=30, headers={"authorization": f"Bearer {key}"}) as client:

        async def one() -> int:
            answer = await client.post(gateway.host + PATH, content=FORM, headers=dict([FORM_TYPE]))
            if answer.status_code != 200:
                assert int(answer.headers["retry-after-ms"]) == 1000 * int(answer.headers["retry-after"])
                gate.set()
            return answer.status_code

        waiting = [asyncio.create_task(one()) for _ in range(places)]
        await asyncio.to_thread(upstream.wait_until, lambda: len(upstream.journal) >= begun + places)
        last = await one()
        gate.set()
        return [*await asyncio.gather(*waiting), last]


def requests_with_every_outcome(gateway: GatewayProcess, upstream: ScriptedUpstream, key: str, times: int) -> None:
    """Sends requests that end in every way, and waits until none is in flight."""
    chance = random.Random(4)
    upstream.default = lambda _: chance.choice(ANY_REPLY)
    ways = [ask, ask, ask, ask_with_no_audio, leave_in_the_upload, leave_before_the_answer]
    for _ in range(times):
        chance.choice(ways)(gateway, key)
    deadline = monotonic() + 30
    while gateway.rows("state = 'held'"):
        assert monotonic() < deadline
        sleep(0.02)


def test_I142_concurrency_is_limited_and_every_lease_is_released(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    key = gateway.create_caller("three", concurrency=3)
    assert asyncio.run(statuses_at_the_concurrency_limit(gateway, upstream, key, 3)) == [200, 200, 200, 429]
    requests_with_every_outcome(gateway, upstream, key, 100)
    assert asyncio.run(statuses_at_the_concurrency_limit(gateway, upstream, key, 3)) == [200, 200, 200, 429]
    states = {row["state"] for row in gateway.rows("caller = 'three'")}
    assert states == {"settled", "released", "unknown"}


def test_I142_a_request_above_the_concurrency_limit_gets_retry_after_before_its_body(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    key, gate = gateway.create_caller("one", concurrency=1), threading.Event()
    upstream.reset(json_answer("late").but(gate=gate))
    with Asking(gateway, key=key) as going:
        upstream.wait_for(1)
        refused = head_only(gateway, key)
        other = head_only(gateway, gateway.key, ("Content-Encoding", "gzip"))
        gate.set()
    assert going.answer.status == 200
    error = error_of(refused)
    assert (refused.status, error["code"], error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert (refused.header("retry-after"), refused.interim) == ("1", [])
    assert other.status == 415  # another caller has places of its own


def test_I145_nothing_is_reserved_when_nothing_is_in_flight(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    key = gateway.create_caller("idle", budgets=["100usd/day", "10000min/week", "100000000tokens/total"])
    requests_with_every_outcome(gateway, upstream, key, 60)
    deadline = monotonic() + 30
    while {each["held"] for each in own_budgets(gateway, key)} != {"0"}:
        assert monotonic() < deadline, own_budgets(gateway, key)
        sleep(0.02)
    rows = gateway.rows("caller = 'idle'")
    upstream.default = json_answer("hello")
    spent, bound = sum(row["cost_nano_usd"] for row in rows), rows[0]["bound_nano_usd"]
    tight = {"budgets": [f"{(spent + bound) / 1e9:.9f}usd/day"]}
    assert gateway.admin("PATCH", "/callers/idle", tight).status_code == 200
    assert gateway.transcribe(key, SILENCE).status_code == 200  # a hold that leaked would leave no room for it


def own_budgets(gateway: GatewayProcess, key: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{gateway.base_url}/usage", headers={"authorization": key}, timeout=30, **NO_TLS)
    return list(answer.json()["budgets"])


def ask(gateway: GatewayProcess, key: str) -> None:
    with RawConnection("127.0.0.1", gateway.port) as connection:
        connection.send(whole(key))
        assert connection.read_response().status > 0


def ask_with_no_audio(gateway: GatewayProcess, key: str) -> None:
    assert gateway.transcribe(key, b"no audio").status_code in (400, 429)


def leave_in_the_upload(gateway: GatewayProcess, key: str) -> None:
    with RawConnection("127.0.0.1", gateway.port) as connection:
        connection.send(whole(key)[: -len(FORM) // 2])
        connection.reset()


def leave_before_the_answer(gateway: GatewayProcess, key: str) -> None:
    with RawConnection("127.0.0.1", gateway.port) as connection:
        connection.send(whole(key))
        connection.reset()


def whole(key: str) -> bytes:
    return request("POST", PATH, [("Authorization", key), FORM_TYPE], FORM)


# -- a price that is not there ----------------------------------------------------------------------------------------

MODEL = '[[models]]\nid = "x"\ntasks = ["transcribe"]\n'
NO_PRICES = {
    "I146-none": (MODEL, "models.0.price: is required"),
    "I146-zero": (MODEL + "price = { per_minute = 0 }", 'has price = "free"'),
    "I146-half": (MODEL + "price = { input = 1 }", "both input and output"),
    "I146-no-model": ("models = []", "must have 1 or more entries"),
}


@pytest.mark.parametrize("case", NO_PRICES)
def test_a_model_without_a_price_stops_the_start(tmp_path: Path, case: str) -> None:
    settings, words = NO_PRICES[case]
    top_level, tables = (settings, "") if settings.startswith("models") else ("", settings)
    process = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    process.config.write_text(f"{top_level}\n{process.config.read_text()}\n{tables}\n")
    done = process.invoke("check")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr


def test_I146_a_model_outside_the_catalogue_is_never_relayed(
    upstream: ScriptedUpstream, gateway: GatewayProcess
) -> None:
    upstream.reset(json_answer("hello"))
    for model in ("whisper-2", "WHISPER-1", "whisper-1 ", "gpt-4o-transcribe-free"):
        refused = gateway.transcribe(gateway.key, CLIP, model)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert upstream.journal == []


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_I146_a_response_without_usage_is_charged(
    upstream: ScriptedUpstream, gateway: GatewayProcess, response_format: str
) -> None:
    upstream.reset(json_answer("hello") if response_format == "json" else text_answer("hello"))
    for model in ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe"):
        answer = post(gateway, form(model, fields=[("response_format", response_format)]))
        row = gateway.row(request_id(answer))
        assert (row["state"], row["source"], row["audio_ms"]) == ("settled", "measured", 500)
        assert row["cost_nano_usd"] > 0
