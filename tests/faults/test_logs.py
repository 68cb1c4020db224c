"""J149, J150, J153: responses, logs and files hold no traceback, key or transcript; dependencies are pinned."""

import base64
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import pytest
from packaging.requirements import Requirement

from tests.behaviour.caller import CLIP, begin, connect, error_of, fence, form, post, request_id
from tests.faults.asking import PATIENCE
from tests.stubs.gateway import ADMIN_KEY, PROVIDER_KEY, GatewayProcess
from tests.stubs.raw import RawResponse, chunked, multipart, request
from tests.stubs.upstream import (
    TOKENS,
    Reply,
    ScriptedUpstream,
    error_answer,
    json_answer,
    no_answer,
    sse_answer,
    text_answer,
    verbose_answer,
)
from tests.stubs.vitals import unlinked_files

ROOT = Path(__file__).parents[2]


# -- what is answered -------------------------------------------------------------------------------------------------

TRACES = re.compile(rb'Traceback|File "|line \d+|site-packages|Error:|Exception')


def get(gateway: GatewayProcess, path: str, key: str = "") -> RawResponse:
    with connect(gateway) as caller:
        caller.send(request("GET", path, [("Authorization", f"Bearer {key}")] if key else []))
        return caller.read_response()


def test_J149_an_unexpected_error_gives_an_envelope_and_a_traceback_in_the_log(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """An unreadable row of the ledger represents any unknown bug."""
    with GatewayProcess(tmp_path, upstream.base_url, admin_key=ADMIN_KEY) as gateway:
        key = gateway.create_caller("alice")
        with closing(sqlite3.connect(gateway.ledger, timeout=30)) as ledger, ledger:
            ledger.execute("UPDATE callers SET terms = '{no json'")
        answers = [
            *(get(gateway, path, key) for path in ("/v1/models", "/v1/usage")),
            get(gateway, "/admin/v1/callers", ADMIN_KEY),
            post(gateway, form(), headers=[("Authorization", key)]),
        ]
        for answer in answers:
            error = error_of(answer)
            assert (answer.status, error["code"], error["type"]) == (500, "internal_error", "server_error")
            assert not TRACES.search(answer.body)
        gateway.wait_for_log(request_id(answers[-1]))
        fence(gateway)
        traced = [line for line in gateway.log_lines("log") if "exception" in line]
        assert len(traced) == len(answers)
        for answer, line in zip(answers, traced, strict=True):
            assert request_id(answer) in str(line["message"])
            assert "JSONDecodeError" in str(line["exception"])
        assert key not in gateway.log.read_text()
        assert upstream.journal == []
        assert get(gateway, "/healthz").status == 200


STRANGE_PATHS = [
    *("/nowhere", "/v1/models/none", "/v1/usage?by=x", "/v1/usage?since=yesterday", "/admin/v1/audit?limit=x"),
    *("/static/../../etc/passwd", "/docs/../app/main", "/static-offline-docs/../../main", "/debug", "/server-status"),
    *("/%00", "/v1/usage?tag=%ff", "/v1/models/%f0%9f%92%a9"),
]


@pytest.mark.parametrize("path", STRANGE_PATHS)
def test_J149_no_error_reveals_internals(gateway: GatewayProcess, path: str) -> None:
    for key in ("", gateway.key, ADMIN_KEY):
        answer = get(gateway, path, key)
        assert not TRACES.search(answer.body), answer.body
        if answer.status >= 400:
            assert error_of(answer)["message"]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_J149_descriptions_hold_no_secret(gateway: GatewayProcess, path: str) -> None:
    gateway.create_caller(f"somebody-{path[1:]}")
    answer = get(gateway, path)
    assert answer.status == 200
    for secret in (PROVIDER_KEY, ADMIN_KEY, gateway.key, "somebody", "scripted", str(gateway.folder), "PROVIDER_KEY"):
        assert secret.encode() not in answer.body


def test_J149_descriptions_can_be_switched_off(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", "[server]\ndocs = false", admin_key=ADMIN_KEY) as gateway:
        for path in ("/docs", "/openapi.json", "/redoc", "/docs/oauth2-redirect"):
            for key in ("", gateway.key, ADMIN_KEY):
                answer = get(gateway, path, key)
                assert (answer.status, error_of(answer)["code"]) == (404, "unknown_url")


# -- what is left behind ----------------------------------------------------------------------------------------------

SAID, ASKED, NAMED = "the-transcript-of-it", "the-prompt-of-it", "the-name-of-it"
HEARD = b"the-audio-of-it"
AUDIO = CLIP + HEARD * 50_000  # larger than what a spool keeps in memory
AT_ITS_MOST_TALKATIVE = """
import logging, runpy, sys
logging.basicConfig(level=1, stream=sys.stdout)
runpy.run_module("app", run_name="__main__")
"""


@pytest.fixture(scope="module")
def talkative(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with all libraries logging at DEBUG."""
    folder = tmp_path_factory.mktemp("talkative")
    process = GatewayProcess(folder, shared_upstream.base_url, admin_key=ADMIN_KEY, PYTHONASYNCIODEBUG="1")
    process.program = (sys.executable, "-c", AT_ITS_MOST_TALKATIVE)
    with process:
        yield process


REPLIES: list[Reply] = [
    json_answer(SAID, TOKENS),
    verbose_answer(SAID, 3.0),
    text_answer(SAID),
    sse_answer([SAID, SAID], TOKENS),
    sse_answer([SAID, SAID], TOKENS).but(cut_after=100),
    error_answer(401, "invalid_api_key", f"Incorrect API key provided: {PROVIDER_KEY}."),
    error_answer(403, "moderated", f"You said: {SAID}"),
    error_answer(500, "x", PROVIDER_KEY),
    text_answer(f"<html>{PROVIDER_KEY}</html>", "text/html").but(status=404),
    Reply(headers=[("Content-Type", "application/json")], body=f'{{"text": "{SAID}'.encode()),
    json_answer(SAID).but(headers=[("Content-Type", "application/json"), ("X-Echo", PROVIDER_KEY)]),
    no_answer(),
    Reply(302, [("Location", f"http://127.0.0.1:1/{PROVIDER_KEY}")]),
]


def written(secret: str) -> set[bytes]:
    """A secret in plain form, in a URL, and in base64 at each of three offsets."""
    ways = {secret.encode(), quote(secret, safe="").encode()}
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + secret.encode())
        ways.add(encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4])
    return ways


@pytest.fixture(scope="module")
def worked(talkative: GatewayProcess, shared_upstream: ScriptedUpstream) -> tuple[GatewayProcess, list[str]]:
    """The gateway after responses of every kind, and all keys that it has used."""
    made = talkative.create_caller("alice")
    shared_upstream.reset(json_answer(SAID, TOKENS))
    shared_upstream.reply(*REPLIES)
    last = ""
    for number, _ in enumerate(REPLIES):
        fields = [("prompt", ASKED), *([("response_format", "text")] if number == 2 else [])]
        parts = form("gpt-4o-transcribe", AUDIO, f"{NAMED}.wav", fields)
        answer = post(talkative, parts[::-1] if number % 2 else parts, headers=[("Authorization", f"Bearer {made}")])
        last = request_id(answer)
    wrong = made[:-1] + ("0" if made[-1] != "0" else "1")
    assert get(talkative, "/v1/models", wrong).status == 401
    talkative.wait_for_log(last, PATIENCE)
    fence(talkative)
    return talkative, [made, wrong, talkative.key, ADMIN_KEY, PROVIDER_KEY]


def test_J150_no_log_has_a_key_or_a_transcript_even_at_debug(worked: tuple[GatewayProcess, list[str]]) -> None:
    gateway, keys = worked
    log = gateway.log.read_bytes()
    assert b"TRACE:uvicorn" in log  # lower than DEBUG
    for key in keys:
        assert not [way for way in written(key) if way in log]
    for words in (SAID, ASKED, NAMED, HEARD.decode()):
        assert words.encode() not in log


def test_J150_no_file_has_a_key_or_a_transcript(worked: tuple[GatewayProcess, list[str]]) -> None:
    gateway, keys = worked
    files = {path.name: path.read_bytes() for path in gateway.folder.iterdir()}
    assert set(files) == {
        *("config.toml", "metrics_key", "gateway.log"),
        *("ledger.db", "ledger.db.lock", "ledger.db-shm", "ledger.db-wal"),
    }
    for name, content in files.items():
        for words in (*keys, SAID, ASKED, NAMED, HEARD.decode()):
            assert words.encode() not in content, (name, words)


def test_J150_an_upload_on_disk_has_no_name_and_ends_with_its_request(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    before = {path.name for path in gateway.folder.iterdir()}
    body = multipart(form(audio=AUDIO)[::-1])
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([body[:600_000]], last=b""))
        wait_for_spools(gateway, 1)
        assert {path.name for path in gateway.folder.iterdir()} == before
        caller.send(chunked([body[600_000:]]))
        assert caller.read_response().status == 200
    wait_for_spools(gateway, 0)
    assert {path.name for path in gateway.folder.iterdir()} == before


def wait_for_spools(gateway: GatewayProcess, count: int) -> None:
    """Waits until the process has `count` open files without a name in its folder."""
    deadline = monotonic() + PATIENCE
    while len(unlinked_files(gateway.proc, gateway.folder)) != count:
        assert monotonic() < deadline, unlinked_files(gateway.proc, gateway.folder)
        sleep(0.02)


def test_J150_a_crash_leaves_no_core_dump(gateway: GatewayProcess) -> None:
    limits = (gateway.proc / "limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]


# -- what is installed ------------------------------------------------------------------------------------------------

LOCKS = ("requirements.lock", "requirements-dev.lock")
PATH_FILES = {"_editable_impl_audio_gateway.pth", "distutils-precedence.pth", "_virtualenv.pth"}


def pinned(lock: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Each requirement of a lock file, with its hashes."""
    lines = [line for line in (ROOT / lock).read_text("utf-8").replace("\\\n", " ").splitlines() if line.strip()]
    found = {}
    for line in (line for line in lines if not line.lstrip().startswith("#")):
        told, *hashes = line.split(" --hash=")
        requirement = Requirement(told.strip())
        found[requirement.name] = requirement, [each.strip() for each in hashes]
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_J153_every_dependency_is_pinned_to_one_version_by_hash(lock: str) -> None:
    found = pinned(lock)
    assert len(found) > 20
    for name, (requirement, hashes) in found.items():
        assert re.fullmatch(r"==[\w.+]+", str(requirement.specifier)), name
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_J153_the_installed_versions_are_the_locked_ones() -> None:
    for name, (requirement, _) in pinned("requirements.lock").items():
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(metadata.version(name)), name


@pytest.mark.parametrize("file", ["scripts/install.py", "Dockerfile"])
def test_J153_nothing_is_installed_without_its_hash_or_built(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert re.search(r"\binstall\b", text)
    assert "--require-hashes" in text
    assert "--only-binary" in text


def test_J153_the_project_itself_is_installed_without_its_dependencies() -> None:
    installs = [
        line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if re.search(r"pip.*\binstall\b", line)
    ]
    assert installs
    assert all("--no-deps" in line and "--no-build-isolation" in line for line in installs), installs


def test_J153_no_file_of_an_installed_package_runs_code_at_every_start() -> None:
    folder = Path(str(metadata.distribution("uvicorn").locate_file("")))
    assert {path.name for path in folder.glob("*.pth")} <= PATH_FILES
    assert not list(folder.glob("*customize.py"))
    for path in folder.glob("*.pth"):
        code = [line for line in path.read_text("utf-8").splitlines() if line.startswith(("import ", "import\t"))]
        assert not code or path.name in PATH_FILES - {"_editable_impl_audio_gateway.pth"}, path
