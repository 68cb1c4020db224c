"""The log of a real gateway: one line for each request, and the request's id on every line about it."""

import json
import re
from pathlib import Path

from tests.behaviour.caller import CLIP, wait_for_text
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream, error_answer, no_answer


def test_every_log_line_is_a_json_object_including_uvicorns(gateway: GatewayProcess) -> None:
    assert gateway.transcribe(gateway.key, CLIP).status_code == 200
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert all({"time", "level", "event"} <= set(line) for line in lines)
    assert "uvicorn.error" in {line.get("logger") for line in lines}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)


def test_log_lines_of_a_request_carry_its_id(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.reply(error_answer(401, "invalid_api_key", "no"))
    answer = gateway.transcribe(gateway.key, CLIP)
    assert answer.status_code == 502
    wait_for_text(gateway.log, "the provider answers 401")
    lines = [line for line in gateway.log_lines("log") if "the provider answers 401" in str(line["message"])]
    assert [(line["level"], line["request_id"]) for line in lines] == [("error", answer.headers["x-request-id"])]
    other = gateway.transcribe(gateway.key, CLIP)
    assert gateway.wait_for_log(other.headers["x-request-id"])["level"] == "info"
    started = [line for line in gateway.log_lines("log") if "request_id" not in line]
    assert started != []


def test_each_request_has_one_line_whose_level_shows_the_fault(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(no_answer())
    failed = gateway.transcribe(gateway.key, CLIP).headers["x-request-id"]
    refused = gateway.transcribe(gateway.key, CLIP, "no-such-model").headers["x-request-id"]
    good = gateway.transcribe(gateway.key, CLIP).headers["x-request-id"]
    gateway.wait_for_log(good)
    levels = {line["request_id"]: line["level"] for line in gateway.log_lines()}
    assert (levels[failed], levels[refused], levels[good]) == ("warning", "info", "info")
    assert len(levels) == len(gateway.log_lines())


def test_lines_below_the_level_are_not_logged(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, '[logs]\nlevel = "warning"') as gateway:
        assert gateway.transcribe(gateway.key, CLIP).status_code == 200
        upstream.reply(no_answer())
        failed = gateway.transcribe(gateway.key, CLIP)
        assert failed.status_code == 502
        gateway.wait_for_log(failed.headers["x-request-id"])
        assert gateway.stop() == 0
        lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
        assert [(line["level"], line["event"]) for line in lines] == [("warning", "request")]


def test_the_console_format_is_one_readable_line(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, upstream.base_url, '[logs]\nformat = "console"') as gateway:
        assert gateway.transcribe(gateway.key, CLIP).status_code == 200
        refused = gateway.transcribe(gateway.key, CLIP, model="gpt-9").headers["x-request-id"]
        wait_for_text(gateway.log, refused)
        *_, good, bad = gateway.log.read_text().splitlines()
    moment = r"\d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"{moment} 200 transcriptions team whisper-1 [\d.]+s \d+ms \$0\.\d+", good)
    assert re.fullmatch(rf"{moment} 404 transcriptions team model_not_found \d+ms {refused}", bad)
