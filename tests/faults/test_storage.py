"""G110, G112, G113, G124: the ledger's disk fails, or its file is locked, damaged, foreign or missing.

Nothing complete goes upstream without a hold on disk, no answer comes down without its row, nothing is recreated.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from app.adapters.sqlite.schema import APPLICATION_ID, VERSION
from tests.behaviour.caller import CLIP, connect, error_of, fence, form, post, post_bytes, request_id, wait_for_text
from tests.faults.asking import PATIENCE, STREAM, Asking
from tests.faults.disks import Disk, FailingCalls, FullFileSystem, LimitedFiles, small_file_system
from tests.stubs.gateway import ADMIN_KEY, NO_TLS, GatewayProcess
from tests.stubs.raw import RawResponse, multipart
from tests.stubs.upstream import TOKENS, Exchange, ScriptedUpstream, json_answer, sse_answer

NOBODY = 65534


def readiness(gateway: GatewayProcess) -> int:
    return httpx.get(f"{gateway.host}/readyz", timeout=30, **NO_TLS).status_code


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


def is_refused_before_the_provider_could_work(answer: RawResponse) -> None:
    error = error_of(answer)
    assert (answer.status, error["code"], error["type"]) == (503, "ledger_unavailable", "server_error")
    assert (answer.header("retry-after"), answer.header("x-should-retry")) == ("5", None)


def is_withheld(answer: RawResponse) -> None:
    assert (answer.status, error_of(answer)["code"]) == (500, "ledger_unavailable")
    assert (answer.header("retry-after"), answer.header("x-should-retry")) == (None, "false")
    assert b"late" not in answer.body


def gated(upstream: ScriptedUpstream) -> threading.Event:
    """The provider responds once the returned event is set."""
    gate = threading.Event()
    upstream.default = json_answer("late", TOKENS).but(gate=gate)
    return gate


def at_the_provider(gateway: GatewayProcess, upstream: ScriptedUpstream, number: int = 1) -> Exchange:
    """The exchange whose complete form has been sent, so that its reservation is on disk."""
    exchange = upstream.wait_for(number)
    upstream.wait_until(lambda: exchange.complete)
    assert gateway.rows("state = 'held'")
    return exchange


# -- a disk that takes no more ----------------------------------------------------------------------------------------

SYSTEM = pytest.mark.system
DISKS = [
    "limit",
    pytest.param("full", marks=SYSTEM),
    pytest.param("pwrite64:ENOSPC", marks=SYSTEM),
    pytest.param("fsync,fdatasync:EIO", marks=SYSTEM),
]


@pytest.fixture(scope="module", params=DISKS)
def served(
    request: pytest.FixtureRequest, shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, Disk]]:
    """A gateway and its disk."""
    folder = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        gateway = GatewayProcess(folder, shared_upstream.base_url, admin_key=ADMIN_KEY)
        disk: Disk = LimitedFiles(gateway)
        if request.param == "full":
            stack.enter_context(small_file_system(folder / "data", "4m"))
            gateway.ledger = folder / "data" / "ledger.db"
            disk = FullFileSystem(folder / "data")
        elif request.param != "limit":
            disk = FailingCalls(gateway, *request.param.split(":"))
        stack.enter_context(gateway)
        yield gateway, disk


@pytest.fixture
def failing(served: tuple[GatewayProcess, Disk], upstream: ScriptedUpstream) -> Iterator[tuple[GatewayProcess, Disk]]:
    """A gateway with a working disk; in the end the disk works again and the gateway is ready."""
    gateway, disk = served
    yield gateway, disk
    disk.repair()
    wait_until(lambda: readiness(gateway) == 200)


def test_G110_a_request_is_rejected_before_the_provider_can_process_it(
    failing: tuple[GatewayProcess, Disk], upstream: ScriptedUpstream
) -> None:
    gateway, disk = failing
    disk.fail()
    answer = post(gateway, form())
    is_refused_before_the_provider_could_work(answer)
    assert readiness(gateway) == 503
    assert gateway.rows(f"id = '{request_id(answer)}'") == []
    assert not [each for each in upstream.journal if each.complete]
    disk.repair()
    wait_until(lambda: readiness(gateway) == 200)
    assert post(gateway, form()).status == 200
    messages = [str(line["message"]) for line in gateway.log_lines("log") if line["logger"] == "audio_gateway.ledger"]
    assert messages[-2].startswith("the ledger cannot be written: ")
    assert messages[-1].startswith("the ledger can be written again")


def test_G110_G124_I144_a_response_that_cannot_be_recorded_is_withheld_and_recorded_later(
    failing: tuple[GatewayProcess, Disk], upstream: ScriptedUpstream
) -> None:
    gateway, disk = failing
    gate = gated(upstream)
    with Asking(gateway) as asking:
        at_the_provider(gateway, upstream)
        disk.fail()
        gate.set()
        is_withheld(asking.answer)
    row = gateway.row(request_id(asking.answer))
    assert (row["state"], row["cost_nano_usd"]) == ("held", 0)
    disk.repair()
    row = gateway.wait_for_row(request_id(asking.answer), "settled", PATIENCE)
    assert (row["total_tokens"], row["source"]) == (59, "upstream")
    assert row["cost_nano_usd"] > 0


def test_G110_G124_I144_a_stream_that_cannot_be_recorded_ends_in_an_error_before_its_last_event(
    failing: tuple[GatewayProcess, Disk], upstream: ScriptedUpstream
) -> None:
    gateway, disk = failing
    gate = threading.Event()
    upstream.default = sse_answer(["a", "b"], TOKENS).but(tail_gate=gate)
    with Asking(gateway, STREAM) as asking:
        at_the_provider(gateway, upstream)
        disk.fail()
        gate.set()
        answer = asking.answer
    assert (answer.status, answer.complete) == (200, False)
    assert b'"code": "ledger_unavailable"' in answer.body
    assert b"transcript.text.done" not in answer.body
    disk.repair()
    assert gateway.wait_for_row(request_id(answer), "settled", PATIENCE)["total_tokens"] == 59


def test_G110_a_repaired_disk_is_detected_without_a_request(
    failing: tuple[GatewayProcess, Disk], upstream: ScriptedUpstream
) -> None:
    """A load balancer that sends requests only to ready gateways would otherwise never send one again."""
    gateway, disk = failing
    disk.fail()
    assert post(gateway, form("gpt-9")).status == 404
    wait_until(lambda: readiness(gateway) == 503)
    disk.repair()
    wait_until(lambda: readiness(gateway) == 200)


def test_G110_callers_are_authenticated_while_nothing_can_be_written(
    failing: tuple[GatewayProcess, Disk], upstream: ScriptedUpstream
) -> None:
    gateway, disk = failing
    disk.fail()
    models = httpx.get(f"{gateway.base_url}/models", headers={"authorization": gateway.key}, timeout=30, **NO_TLS)
    made = gateway.admin("POST", "/callers", {"caller": "never"})
    assert models.status_code == 200
    assert (made.status_code, made.json()["error"]["code"]) == (503, "ledger_unavailable")
    disk.repair()
    assert gateway.admin("GET", "/callers/never").status_code == 404
    assert gateway.admin("POST", "/callers", {"caller": f"later-{id(disk)}"}).status_code == 201


def test_G110_an_unrecorded_settlement_is_unknown_after_a_kill(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, GatewayProcess(tmp_path, upstream.base_url) as gateway:
        disk, gate = LimitedFiles(gateway), gated(upstream)
        with Asking(gateway) as asking:
            at_the_provider(gateway, upstream)
            disk.fail()
            gate.set()
            is_withheld(asking.answer)
        gateway.kill()
        gateway.start()
        row = gateway.row(request_id(asking.answer))
        assert (row["state"], row["cost_nano_usd"]) == ("unknown", row["bound_nano_usd"])


def test_G110_a_file_that_cannot_be_spooled_is_rejected(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, GatewayProcess(tmp_path, upstream.base_url) as gateway:
        disk = LimitedFiles(gateway)
        file_first = list(reversed(form(audio=CLIP + bytes(600_000))))
        disk.fail()
        answer = post(gateway, file_first)
        assert (answer.status, error_of(answer)["code"]) == (503, "overloaded")
        assert answer.header("retry-after") is not None
        assert upstream.journal == []
        disk.repair()
        assert post(gateway, file_first).status == 200


@pytest.mark.system
def test_G110_a_full_disk_stops_the_start_with_a_clear_message(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "data", "64k"):
        FullFileSystem(tmp_path / "data").fail()
        gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
        gateway.ledger = tmp_path / "data" / "ledger.db"
        for words in (("serve",), ("keys", "create", "alice")):
            done = gateway.command(*words)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"audio-gateway: ledger {gateway.ledger}: ")
            assert done.stderr.count("\n") == 1
            assert "full" in done.stderr or "No space left" in done.stderr


# -- a lock -----------------------------------------------------------------------------------------------------------


def test_G112_a_locked_ledger_gives_a_503_with_retry_after(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    gate = gated(upstream)
    with ExitStack() as stack:
        settling = stack.enter_context(Asking(gateway))
        at_the_provider(gateway, upstream)
        other = stack.enter_context(closing(sqlite3.connect(gateway.ledger)))
        other.execute("BEGIN IMMEDIATE")
        gate.set()
        holding = stack.enter_context(Asking(gateway))
        command = gateway.command("keys", "create", "never")
        made = gateway.admin("POST", "/callers", {"caller": "never"})
        is_withheld(settling.answer)
        is_refused_before_the_provider_could_work(holding.answer)
        assert readiness(gateway) == 503
        assert (made.status_code, made.json()["error"]["code"]) == (503, "ledger_unavailable")
        assert made.headers["retry-after"] == "5"
        assert (command.returncode, command.stdout) == (1, "")
        assert command.stderr.endswith("another program has kept it locked for too long\n")
        assert not [each for each in upstream.journal[1:] if each.complete]
        other.execute("ROLLBACK")
    assert gateway.wait_for_row(request_id(settling.answer), "settled", PATIENCE)["total_tokens"] == 59
    wait_until(lambda: readiness(gateway) == 200)
    assert post(gateway, form()).status == 200
    assert gateway.rows("state = 'held'") == []


def test_G112_a_short_lock_causes_no_errors(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with closing(sqlite3.connect(gateway.ledger)) as other, connect(gateway) as caller:
        other.execute("BEGIN IMMEDIATE")
        caller.send(post_bytes(gateway, multipart(form())))
        upstream.wait_for(1)
        fence(gateway)
        other.execute("ROLLBACK")
        answer = caller.read_response()
    assert (answer.status, gateway.row(request_id(answer))["state"]) == (200, "settled")


# -- a file that is no ledger, or no longer one -----------------------------------------------------------------------


def marked(path: Path, application_id: int, version: int) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.execute(f"PRAGMA application_id = {application_id}")
        other.execute(f"PRAGMA user_version = {version}")
        other.commit()


def parent_is_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("x")


def damaged(path: Path) -> None:
    """A valid header; every page after it is noise."""
    marked(path, APPLICATION_ID, VERSION)
    path.write_bytes(path.read_bytes()[:100] + os.urandom(8092))


NO_LEDGERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "G113-text": (lambda path: path.write_text("caller,cost\nalice,1\n" * 100), "this file is not a database"),
    "G113-noise": (lambda path: path.write_bytes(os.urandom(8192)), "this file is not a database"),
    "G113-damaged": (damaged, "the database is damaged; restore a backup"),
    "G113-of-another-program": (lambda path: marked(path, 0, 0), "this is another program's database"),
    "G113-of-another-marked-program": (lambda path: marked(path, 77, 1), "this is another program's database"),
    "G113-of-a-newer-gateway": (
        lambda path: marked(path, APPLICATION_ID, VERSION + 1),
        f"made by a newer gateway (schema {VERSION + 1}); upgrade this one",
    ),
    "G113-a-folder": (lambda path: path.mkdir(), "it cannot be opened"),
    "G113-its-folder-is-a-file": (parent_is_a_file, "File exists"),
}


@pytest.mark.parametrize("case", NO_LEDGERS)
def test_a_file_that_is_not_a_ledger_stops_the_start_and_stays_unchanged(tmp_path: Path, case: str) -> None:
    make, words = NO_LEDGERS[case]
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    gateway.ledger = tmp_path / "data" / "ledger.db"
    gateway.ledger.parent.mkdir()
    make(gateway.ledger)
    before = gateway.ledger.read_bytes() if gateway.ledger.is_file() else None
    is_stopped(gateway.command("serve"), gateway, words)
    assert before is None or gateway.ledger.read_bytes() == before


def is_stopped(done: "subprocess.CompletedProcess[str]", gateway: GatewayProcess, words: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"audio-gateway: ledger {gateway.ledger}: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("table", ["requests_held", "resolutions"])
def test_G113_a_damaged_page_that_the_start_reads_stops_it(tmp_path: Path, table: str) -> None:
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1") as gateway:
        assert gateway.stop() == 0
        damage(gateway.ledger, table)
        is_stopped(gateway.command("serve"), gateway, "the database is damaged; restore a backup")


def test_G113_a_missing_folder_is_created(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    gateway.ledger = tmp_path / "new" / "folder" / "ledger.db"
    with gateway:
        assert gateway.ledger.is_file()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        for path in Path(name).glob("**/"):
            path.chmod(0o755)


@pytest.mark.parametrize("there", [True, False], ids=["a ledger", "no ledger yet"])
def test_G113_a_read_only_folder_stops_the_start(open_folder: Path, there: bool) -> None:
    gateway = GatewayProcess(open_folder, "http://127.0.0.1:9/v1")
    gateway.ledger = open_folder / "data" / "ledger.db"
    gateway.ledger.parent.mkdir()
    if there:
        assert gateway.command("keys", "create", "alice").returncode == 0
    for path in (*gateway.ledger.parent.iterdir(), gateway.ledger.parent):
        path.chmod(path.stat().st_mode & ~0o222)
    command = [*as_nobody(), sys.executable, "-P", "-m", "app", "serve", "--config", str(gateway.config)]
    environment = {**gateway.environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"audio-gateway: ledger {gateway.ledger}: ")
    assert done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr or "read-only" in done.stderr or "may this user write" in done.stderr


def as_nobody() -> list[str]:
    """File modes do not restrict root, so the process runs as a user that may read everything and write nothing."""
    if os.getuid() != 0:
        return []
    kept = "-all,+dac_read_search"
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *user, f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]


def damage(ledger: Path, *tables: str) -> None:
    """Overwrites the first page of each table in the file, and makes every reader read again."""
    with closing(sqlite3.connect(ledger, timeout=30)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = other.execute("PRAGMA page_size").fetchone()[0]
        wanted = ", ".join(f"'{table}'" for table in tables)
        roots = other.execute(f"SELECT rootpage FROM sqlite_schema WHERE name IN ({wanted})").fetchall()
        assert len(roots) == len(tables)
        with ledger.open("r+b") as file:
            for (root,) in roots:
                file.seek(size * (root - 1))
                file.write(b"\xff" * size)
        other.execute("INSERT INTO refusals VALUES ('2026-01-01', 'x', 'x', 'x', 'x', 'x', 1)")
        other.commit()


def test_G113_a_ledger_damaged_under_a_running_gateway_gives_a_503(tmp_path: Path) -> None:
    with (
        ScriptedUpstream() as upstream,
        GatewayProcess(tmp_path, upstream.base_url, admin_key=ADMIN_KEY) as gateway,
    ):
        key = gateway.create_caller("alice")
        assert gateway.transcribe(key, CLIP).status_code == 200
        upstream.journal.clear()
        damage(gateway.ledger, "requests", "keys")
        is_refused_before_the_provider_could_work(post(gateway, form()))  # a caller of the settings: its hold fails
        for answer in (
            gateway.transcribe(key, CLIP),  # a caller of the ledger: its key cannot be looked up
            gateway.admin("GET", "/callers"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ledger_unavailable")
            assert answer.headers["retry-after"] == "5"
        assert readiness(gateway) == 503
        assert httpx.get(f"{gateway.host}/healthz", timeout=30, **NO_TLS).status_code == 200
        assert not [each for each in upstream.journal if each.complete]
        wait_for_text(gateway.log, "malformed")
        assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize("asked", ["usage over HTTP", "the admin API", "a command"])
def test_G113_G109_usage_commands_while_the_ledger_is_missing_create_no_file_and_lose_no_row(
    tmp_path: Path, asked: str
) -> None:
    """The rows are in the write-ahead log, which SQLite would delete with a new file."""
    with (
        ScriptedUpstream() as upstream,
        GatewayProcess(tmp_path, upstream.base_url, admin_key=ADMIN_KEY) as gateway,
    ):
        answer = post(gateway, form())
        assert answer.status == 200
        gateway.ledger.rename(tmp_path / "kept.db")
        if asked == "a command":
            done = gateway.command("usage")
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
            assert "the file is gone; put it back" in done.stderr
        else:
            path, key = ("/v1/usage", gateway.key) if asked == "usage over HTTP" else ("/admin/v1/callers", ADMIN_KEY)
            told = httpx.get(f"{gateway.host}{path}", headers={"authorization": f"Bearer {key}"}, timeout=30, **NO_TLS)
            assert (told.status_code, told.json()["error"]["code"]) == (503, "ledger_unavailable")
        assert not gateway.ledger.exists()
        (tmp_path / "kept.db").rename(gateway.ledger)
        gateway.kill()
        gateway.start()
        assert gateway.row(request_id(answer))["state"] == "settled"


def remove(ledger: Path, kept: Path) -> None:
    ledger.rename(kept)


def replace(ledger: Path, kept: Path) -> None:
    """Replaces the file, as when an operator restores a backup under a running gateway."""
    kept.hardlink_to(ledger)
    other = ledger.with_name("backup.db")
    with closing(sqlite3.connect(ledger)) as running, closing(sqlite3.connect(other)) as backup:
        running.backup(backup)
    other.rename(ledger)


@pytest.mark.parametrize("take_away", [remove, replace])
def test_G113_a_ledger_removed_under_a_running_gateway_gives_a_503_until_it_is_back(
    tmp_path: Path, take_away: Callable[[Path, Path], None]
) -> None:
    """Rows written to an unlinked file would be lost with the process."""
    with ScriptedUpstream() as upstream, GatewayProcess(tmp_path, upstream.base_url) as gateway:
        take_away(gateway.ledger, tmp_path / "kept.db")
        is_refused_before_the_provider_could_work(post(gateway, form()))
        assert not [each for each in upstream.journal if each.complete]
        assert readiness(gateway) == 503
        assert gateway.ledger.exists() == (take_away is replace)
        (tmp_path / "kept.db").rename(gateway.ledger)
        wait_until(lambda: readiness(gateway) == 200)
        assert post(gateway, form()).status == 200
        (line,) = [each for each in gateway.log_lines("log") if "cannot be written" in str(each["message"])]
        assert line["level"] == "error"
