"""The usage and cost of a request for every kind of response; every total is the sum of its rows."""

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.audio import duration, make
from tests.behaviour.caller import CLIP, TRANSLATIONS, form, post, request_id
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import Part, RawResponse
from tests.stubs.upstream import (
    TOKENS,
    Reply,
    ScriptedUpstream,
    duration_usage,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
    text_answer,
    verbose_answer,
)
from tests.stubs.vitals import wait_for

MODELS = """
[[models]]
id = "minutes"
tasks = ["transcribe", "translate"]
price = { per_minute = "0.006" }
[[models]]
id = "tokens"
tasks = ["transcribe"]
price = { input = "2.50", audio_input = "6.00", output = "10.00", per_minute = "0.006" }
[[models]]
id = "tokens-alone"
tasks = ["transcribe"]
price = { input = "2.50", output = "10.00" }
[[models]]
id = "gratis"
tasks = ["transcribe"]
price = "free"
"""


@pytest.fixture(scope="module")
def meter(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a model of every kind of price."""
    with GatewayProcess(tmp_path_factory.mktemp("meter"), shared_upstream.base_url, MODELS) as process:
        yield process


def row_of(gateway: GatewayProcess, answer: RawResponse) -> dict[str, Any]:
    assert answer.status == 200, answer
    row = gateway.row(request_id(answer))
    assert row["state"] == "settled"
    return row


# -- where usage comes from -------------------------------------------------------------------------------------------

SPLIT = {
    **TOKENS,
    "input_tokens": 20,
    "input_token_details": {"text_tokens": 6, "audio_tokens": 14},
    "total_tokens": 65,
}
UNSPLIT = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
TOLD: dict[str, tuple[Reply, tuple[Any, ...]]] = {
    "tokens": (json_answer("a", TOKENS), (14, 14, 0, 45, 59)),
    "tokens with text": (json_answer("a", SPLIT), (20, 14, 6, 45, 65)),
    "tokens without details": (json_answer("a", UNSPLIT), (14, None, None, 45, 59)),
    "tokens in a stream": (sse_answer(["a"], TOKENS), (14, 14, 0, 45, 59)),
    "tokens in a stream with DONE": (sse_answer(["a"], SPLIT, end_mark=True), (20, 14, 6, 45, 65)),
}


@pytest.mark.parametrize("kind", TOLD)
def test_tokens_come_from_the_response_and_seconds_from_the_file(
    meter: GatewayProcess, upstream: ScriptedUpstream, kind: str
) -> None:
    reply, tokens = TOLD[kind]
    upstream.reply(reply)
    row = row_of(meter, post(meter, form("tokens")))
    names = ("input_tokens", "audio_tokens", "text_tokens", "output_tokens", "total_tokens")
    assert tuple(row[name] for name in names) == tokens
    assert (row["source"], row["audio_ms"]) == ("upstream", 500)


SECONDS: dict[str, tuple[Reply, str, int]] = {
    "duration": (json_answer("a", duration_usage(12.345)), "upstream", 12_345),
    "duration in a stream": (sse_answer(["a"], duration_usage(7.0)), "upstream", 7_000),
    "verbose_json": (verbose_answer("a", 3.2), "upstream", 3_200),
    "nothing": (json_answer("a"), "measured", 500),
    "nothing in a stream": (sse_answer(["a"]), "measured", 500),
    "nonsense": (json_answer("a", {"type": "duration", "seconds": -1}), "measured", 500),
    "words": (json_answer("a", {"type": "tokens", "input_tokens": "many"}), "measured", 500),
}


@pytest.mark.parametrize("kind", SECONDS)
def test_seconds_come_from_the_response_or_else_from_the_file(
    meter: GatewayProcess, upstream: ScriptedUpstream, kind: str
) -> None:
    reply, source, milliseconds = SECONDS[kind]
    upstream.reply(reply)
    row = row_of(meter, post(meter, form("minutes")))
    assert (row["source"], row["audio_ms"], row["total_tokens"]) == (source, milliseconds, None)
    assert row["cost_nano_usd"] == milliseconds * 100


# -- the file's own length --------------------------------------------------------------------------------------------


def id3(payload: bytes) -> bytes:
    size = bytes(len(payload) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + size + payload


STRICT = (("strict", "-2"),)
NO_HEADER = (("write_xing", "0"), ("id3v2_version", "0"))
FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "500000"))
FIRST = (("movflags", "faststart"),)
VBR = (("q", "5"), ("compression_level", "5"))
SECONDS_MADE = 4.3

FILES = {
    "WAV": lambda: make("wav", "pcm_s16le", SECONDS_MADE),
    "WAV written to a pipe": lambda: make("wav", "pcm_s16le", SECONDS_MADE, seekable=False),
    "WAV of mu-law": lambda: make("wav", "pcm_mulaw", SECONDS_MADE, 8_000),
    "RF64": lambda: make("wav", "pcm_s16le", SECONDS_MADE, options=(("rf64", "always"),)),
    "FLAC": lambda: make("flac", "flac", SECONDS_MADE),
    "FLAC behind ID3": lambda: id3(bytes(100_000)) + make("flac", "flac", SECONDS_MADE),
    "FLAC written to a pipe": lambda: make("flac", "flac", SECONDS_MADE, seekable=False),
    "MP3 with Xing and ID3": lambda: make("mp3", "libmp3lame", SECONDS_MADE, 44_100),
    "MP3 without Xing and ID3": lambda: make("mp3", "libmp3lame", SECONDS_MADE, 44_100, options=NO_HEADER),
    "MP3 behind a picture": lambda: id3(bytes(300_000)) + make("mp3", "libmp3lame", SECONDS_MADE, 44_100),
    "MP3 of a variable rate": lambda: make("mp3", "libmp3lame", SECONDS_MADE, 44_100, 2, codec_options=VBR),
    "MP3 of a variable rate without Xing": lambda: make(
        "mp3", "libmp3lame", SECONDS_MADE, 44_100, 2, codec_options=VBR, options=NO_HEADER
    ),
    "Ogg Vorbis": lambda: make("ogg", "vorbis", SECONDS_MADE, 44_100, 2, codec_options=STRICT),
    "Ogg Opus": lambda: make("ogg", "libopus", SECONDS_MADE, 48_000),
    "M4A, moov last": lambda: make("ipod", "aac", SECONDS_MADE, 44_100),
    "M4A, moov first": lambda: make("ipod", "aac", SECONDS_MADE, 44_100, options=FIRST),
    "MP4, moov last": lambda: make("mp4", "aac", SECONDS_MADE, 44_100),
    "MP4, moov first": lambda: make("mp4", "aac", SECONDS_MADE, 44_100, options=FIRST),
    "MP4, fragmented": lambda: make("mp4", "aac", SECONDS_MADE, 44_100, options=FRAGMENTED, seekable=False),
    "WebM with a Duration": lambda: make("webm", "libopus", SECONDS_MADE, 48_000),
    "WebM without a Duration": lambda: make("webm", "libopus", SECONDS_MADE, 48_000, seekable=False),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("file_first", [False, True], ids=["streamed", "kept"])
def test_the_duration_is_measured_for_every_container(
    meter: GatewayProcess, upstream: ScriptedUpstream, name: str, file_first: bool
) -> None:
    audio = FILES[name]()
    upstream.reply(text_answer("1\n00:00:00,000 --> 00:00:04,300\nhello\n"))
    parts = form("minutes", audio, fields=[("response_format", "srt")])
    row = row_of(meter, post(meter, parts[::-1] if file_first else parts))
    true = duration(audio)
    assert true == pytest.approx(SECONDS_MADE, abs=0.1)
    assert abs(row["audio_ms"] / 1000 - true) <= max(0.01 * true, 0.1)
    assert (row["source"], row["file_bytes"], row["response_format"]) == ("measured", len(audio), "srt")
    assert row["cost_nano_usd"] == row["audio_ms"] * 100
    assert row["bound_audio_ms"] >= row["audio_ms"]


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_the_duration_of_a_program_stream_is_measured_by_its_frames(
    meter: GatewayProcess, upstream: ScriptedUpstream, response_format: str
) -> None:
    upstream.reply(text_answer("hello"))
    audio = make("mpeg", "mp2", SECONDS_MADE)
    row = row_of(meter, post(meter, form("minutes", audio, fields=[("response_format", response_format)])))
    assert (row["source"], row["container"]) == ("measured", "mpeg")
    assert row["audio_ms"] / 1000 == pytest.approx(SECONDS_MADE, abs=0.1)
    assert row["cost_nano_usd"] == row["audio_ms"] * 100


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "reply", "nano_dollars"),
    [
        ("minutes", json_answer("a"), 50_000),  # 0.5 s at $0.006 a minute
        ("minutes", json_answer("a", TOKENS), 50_000),
        ("minutes", json_answer("a", duration_usage(60.0)), 6_000_000),
        ("tokens", json_answer("a", TOKENS), 14 * 6_000 + 45 * 10_000),
        ("tokens", json_answer("a", SPLIT), 14 * 6_000 + 6 * 2_500 + 45 * 10_000),
        ("tokens", json_answer("a", UNSPLIT), 14 * 2_500 + 45 * 10_000),
        ("tokens", sse_answer(["a"], TOKENS), 14 * 6_000 + 45 * 10_000),
        ("tokens", json_answer("a"), 50_000),  # no tokens: by the minute
        ("tokens", sse_answer(["a"]), 50_000),
        ("tokens-alone", json_answer("a", TOKENS), 14 * 2_500 + 45 * 10_000),
        ("tokens-alone", json_answer("a"), 166_667),  # 0.5 s of 2,000 tokens a minute at $10 a million, rounded up
        ("gratis", json_answer("a", TOKENS), 0),
        ("gratis", json_answer("a"), 0),
    ],
)
def test_the_cost_is_exact(
    meter: GatewayProcess, upstream: ScriptedUpstream, model: str, reply: Reply, nano_dollars: int
) -> None:
    upstream.reply(reply)
    answer = post(meter, form(model))
    row = row_of(meter, answer)
    assert row["cost_nano_usd"] == nano_dollars
    assert Decimal(meter.wait_for_log(request_id(answer))["cost_usd"]) * 10**9 == nano_dollars


def test_a_text_response_of_a_token_priced_model_is_charged_by_the_minute(
    meter: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(text_answer("A: hello\n"))
    row = row_of(meter, post(meter, form("tokens", fields=[("response_format", "text")])))
    assert (row["cost_nano_usd"], row["total_tokens"], row["source"]) == (50_000, None, "measured")


def test_an_interrupted_stream_is_charged_at_its_hold(meter: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(sse_answer(["a", "b"], TOKENS).but(cut_after=70))
    answer = post(meter, form("tokens", fields=[("stream", "true")]))
    row = meter.wait_for_row(request_id(answer), "unknown")
    assert row["cost_nano_usd"] == row["bound_nano_usd"] > 0
    assert row["source"] == "estimated"


# -- rows, lines and sums ---------------------------------------------------------------------------------------------

SECRETS = ("the transcript of it", "the prompt of it", "the-name-of-it")


@pytest.fixture(scope="module")
def second_key(meter: GatewayProcess) -> str:
    return meter.command("keys", "create", "second-team").stdout.strip()


@pytest.fixture(scope="module")
def worked(meter: GatewayProcess, shared_upstream: ScriptedUpstream, second_key: str) -> GatewayProcess:
    """The gateway after some requests of every kind, of two callers."""
    transcript = json_answer(SECRETS[0], TOKENS)
    plan: list[tuple[str, Reply]] = [
        ("tokens", transcript),
        ("tokens", sse_answer([SECRETS[0]], TOKENS)),
        ("tokens", json_answer(SECRETS[0])),
        ("minutes", verbose_answer(SECRETS[0], 6.5)),
        ("minutes", no_answer()),
        ("minutes", error_answer(500, "x", SECRETS[0])),
        ("gratis", text_answer(SECRETS[0])),
        ("unheard-of", transcript),
    ]
    for number, key in enumerate((meter.key, second_key, second_key)):
        for model, reply in plan:
            shared_upstream.reset(reply)
            formats = [("response_format", "text")] if model == "gratis" else []
            parts = form(model, CLIP, f"{SECRETS[2]}.wav", [("prompt", SECRETS[1]), *formats])
            path = TRANSLATIONS if model == "minutes" and number == 1 else "/v1/audio/transcriptions"
            answer = post(meter, parts, path, [("Authorization", key)])
            meter.wait_for_log(request_id(answer))
        refused = post(meter, [Part("model", b"tokens"), *form("tokens")], headers=[("Authorization", key)])
        assert refused.status == 400
    assert post(meter, form(), headers=[("Authorization", "nobody")]).status == 401
    # A refusal is counted after its answer: by each caller one of every 8 for its model, and one for its form.
    assert wait_for(lambda: sum(each["refused"] for each in meter.usage()) >= 6)
    return meter


def groups(gateway: GatewayProcess, grouping: str, caller: str | None = None) -> dict[str, dict[str, Any]]:
    """The sums as they must be, from the rows alone; refused requests are not among these."""
    paths = {"transcribe": "/v1/audio/transcriptions", "translate": "/v1/audio/translations"}
    sums: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for row in gateway.rows():
        if caller is not None and row["caller"] != caller:
            continue
        group = {
            "caller": row["caller"],
            "key": row["key_id"],
            "model": row["model"],
            "endpoint": paths[row["task"]],
            "day": datetime.fromtimestamp(row["admitted_ms"] / 1000, UTC).date().isoformat(),
        }[grouping]
        into = sums[group]
        into["requests"] += 1
        into["settled"] += row["state"] == "settled"
        into["unknown"] += row["state"] == "unknown"
        for kind in ("input", "audio", "text", "output", "total"):
            into[f"{kind}_tokens"] += row[f"{kind}_tokens"] or 0
        into["audio_ms"] += row["audio_ms"]
        into["cost"] += row["cost_nano_usd"]
    return sums


def compare(told: list[dict[str, Any]], sums: dict[str, dict[str, Any]], grouping: str) -> None:
    fields = ["requests", "settled", "unknown", "refused", "input_tokens", "audio_tokens", "text_tokens"]
    fields += ["output_tokens", "total_tokens", "audio_seconds", "cost_usd"]
    for each in told:
        assert list(each) == [grouping, *fields]
        expected = sums.get(each[grouping]) or defaultdict(int)
        for name in (*fields[:3], *fields[4:9]):
            assert each[name] == expected[name], (each, name)
        assert each["audio_seconds"] == expected["audio_ms"] / 1000
        assert isinstance(each["cost_usd"], str)
        assert Decimal(each["cost_usd"]) * 10**9 == expected["cost"]
    assert {each[grouping] for each in told if each["requests"]} == set(sums)


GROUPINGS = pytest.mark.parametrize("grouping", ["caller", "key", "model", "endpoint", "day"])


def sums(gateway: GatewayProcess, *arguments: str) -> list[dict[str, Any]]:
    """What the command tells, without limits and budgets, of which these callers have none."""
    told = gateway.usage(*arguments)
    assert all(each.pop("budgets", []) == [] for each in told)
    assert not any(value for each in told for value in each.pop("limits", {}).values())
    return told


@GROUPINGS
def test_the_usage_command_prints_the_totals_of_the_rows(worked: GatewayProcess, grouping: str) -> None:
    told = sums(worked, "--by", grouping)
    compare(told, groups(worked, grouping), grouping)
    assert sum(each["refused"] for each in told) == 6
    own = sums(worked, "--by", grouping, "--caller", "second-team")
    compare(own, groups(worked, grouping, "second-team"), grouping)
    assert sum(each["refused"] for each in own) == 4


@GROUPINGS
def test_a_caller_sees_the_totals_of_its_own_rows(worked: GatewayProcess, second_key: str, grouping: str) -> None:
    for caller, key, refused in (("team", worked.key, 2), ("second-team", second_key, 4)):
        answer = httpx.get(
            f"{worked.base_url}/usage", params={"by": grouping}, headers={"Authorization": f"Bearer {key}"}, timeout=5
        )
        document = answer.json()
        assert (answer.status_code, document["object"]) == (200, "list")
        compare(document["data"], groups(worked, grouping, caller), grouping)
        assert sum(each["refused"] for each in document["data"]) == refused


def test_a_period_includes_both_days(worked: GatewayProcess) -> None:
    today = datetime.fromtimestamp(worked.rows()[-1]["admitted_ms"] / 1000, UTC).date()
    first = datetime.fromtimestamp(worked.rows()[0]["admitted_ms"] / 1000, UTC).date()
    tomorrow, yesterday = today + timedelta(days=1), first - timedelta(days=1)
    everything = worked.usage("--by", "model")
    assert worked.usage("--by", "model", "--since", str(first), "--until", str(today)) == everything
    assert worked.usage("--by", "model", "--since", str(tomorrow)) == []
    assert worked.usage("--by", "model", "--until", str(yesterday)) == []
    headers = {"Authorization": worked.key}
    url = f"{worked.base_url}/usage"
    assert httpx.get(url, params={"since": str(tomorrow)}, headers=headers).json()["data"] == []
    assert httpx.get(url, params={"since": str(first), "until": str(today)}, headers=headers).json()["data"] != []


@pytest.mark.parametrize(("name", "value"), [("by", "colour"), ("since", "yesterday"), ("until", "2026-13-01")])
def test_an_invalid_period_is_refused(gateway: GatewayProcess, name: str, value: str) -> None:
    answer = httpx.get(f"{gateway.base_url}/usage", params={name: value}, headers={"Authorization": gateway.key})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", name)
    assert answer.headers["x-request-id"]


def test_refusals_are_counted_by_model_if_known(meter: GatewayProcess, upstream: ScriptedUpstream) -> None:
    def refused() -> dict[str, int]:
        """A refusal is counted after its answer, but before the row of whatever comes next."""
        assert post(meter, form("tokens")).status == 200
        return {each["model"]: each["refused"] for each in meter.usage("--by", "model") if each["refused"]}

    before = refused()
    assert post(meter, form("tokens", b"MZ" + bytes(3000))).status == 400
    assert post(meter, form("tokens"), TRANSLATIONS).status == 400
    assert post(meter, form("nothing-of-this-name")).status == 404
    now = refused()
    assert now["tokens"] == before.get("tokens", 0) + 2
    assert now[""] == before.get("", 0) + 1
    assert "nothing-of-this-name" not in now
    with closing(sqlite3.connect(meter.ledger)) as ledger:
        codes = {code for (code,) in ledger.execute("SELECT code FROM refusals")}
    assert {"invalid_file_format", "unsupported_model", "model_not_found"} <= codes


def test_every_admitted_request_has_one_row_and_every_request_one_line(worked: GatewayProcess) -> None:
    rows = {row["id"]: row for row in worked.rows()}
    for row_id in rows:
        worked.wait_for_log(row_id)
    lines = worked.log_lines()
    assert max(Counter(line["request_id"] for line in lines).values()) == 1
    admitted = {line["request_id"]: line for line in lines if "state" in line}
    assert set(admitted) == set(rows)
    for row_id, line in admitted.items():
        row = rows[row_id]
        names = ("caller", "key_id", "model", "state", "source", "file_bytes", "container", "response_format", "error")
        for name in names:
            assert line[name] == row[name], (name, line, row)
        for name in ("input_tokens", "output_tokens", "total_tokens", "upstream_request_id"):
            assert line[name] == row[name], (name, line, row)
        assert line["audio_seconds"] == row["audio_ms"] / 1000
        assert Decimal(line["cost_usd"]) * 10**9 == row["cost_nano_usd"]
        assert line["status"] == row["status"]
        assert line["total_ms"] >= 0
    refused = [line for line in lines if "state" not in line]
    assert {(line["status"], line["error"]) for line in refused} >= {
        (401, "invalid_api_key"),
        (404, "model_not_found"),
        (400, "duplicate_parameter"),
    }


def test_transcripts_and_secrets_are_neither_in_the_log_nor_in_the_ledger(
    worked: GatewayProcess, second_key: str
) -> None:
    log, rows = worked.log.read_text(), json.dumps(worked.rows())
    ledger = b"".join(path.read_bytes() for path in worked.folder.glob("ledger.db*"))
    for secret in (*SECRETS, worked.key, second_key, PROVIDER_KEY):
        assert secret not in log
        assert secret not in rows
        assert secret.encode() not in ledger
    assert re.search(r'"request_id": "req_', log)


def test_the_table_and_the_csv_have_the_groups_of_the_json(worked: GatewayProcess) -> None:
    names = [each["model"] for each in worked.usage("--by", "model")]
    table = worked.command("usage", "--by", "model").stdout
    csv = worked.command("usage", "--by", "model", "--format", "csv").stdout.splitlines()
    assert csv[0].split(",")[:5] == ["model", "requests", "settled", "unknown", "refused"]
    assert [line.split(",")[0].strip('"') for line in csv[1:]] == names
    assert all(name in table for name in names)
