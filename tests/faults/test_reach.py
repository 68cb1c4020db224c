"""Connections to the upstream: DNS, connect, TLS, and reuse."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from openai import APIStatusError

from tests.behaviour.caller import CLIP, begin, connect, form, post, sdk
from tests.faults.answers import is_released, is_unknown, row_of
from tests.stubs.certificate import certificate, serving
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess, free_port
from tests.stubs.nameserver import Nameserver
from tests.stubs.raw import chunked, multipart
from tests.stubs.upstream import Reply, ScriptedUpstream, json_answer, no_answer

IMPATIENT = "[timeouts]\nconnect = 0.5"


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, socket.socket]]:
    """A gateway whose upstream port is bound, but not listening."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        with GatewayProcess(tmp_path_factory.mktemp("unreachable"), url, "[timeouts]\nconnect = 0.3") as process:
            yield process, bound


def accept_nothing(bound: socket.socket) -> list[socket.socket]:
    """Fills the accept queue of this port, so that further connection attempts get no response."""
    bound.listen(0)
    made = []
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(bound.getsockname())
        made.append(waiting)
    return made


@pytest.mark.parametrize(
    ("prepare", "status", "code"),
    [(lambda bound: [], 502, "upstream_unreachable"), (accept_nothing, 504, "upstream_timeout")],
    ids=["refused", "not accepted"],
)
def test_E73_E76_an_unreachable_upstream(
    unreachable: tuple[GatewayProcess, socket.socket],
    prepare: Callable[[socket.socket], list[socket.socket]],
    status: int,
    code: str,
) -> None:
    gateway, bound = unreachable
    waiting = prepare(bound)
    with pytest.raises(APIStatusError) as raised:
        sdk(gateway).audio.transcriptions.create(file=CLIP, model="whisper-1")
    for each in waiting:
        each.close()
    error = raised.value
    assert (error.status_code, error.code) == (status, code)
    assert "x-should-retry" not in error.response.headers
    row = gateway.row(error.request_id or "")
    assert (row["state"], row["error"], row["cost_nano_usd"]) == ("released", code, 0)


# -- DNS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["speech.invalid", "a" * 64 + ".invalid", "a..invalid", "127.1"])
def test_E74_a_host_name_that_does_not_resolve(tmp_path: Path, host: str) -> None:
    with GatewayProcess(tmp_path, f"http://{host}:{free_port()}/v1") as gateway:
        assert is_released(gateway, post(gateway, form()), 502, "upstream_unreachable")


@pytest.fixture
def nameserver() -> Iterator[Nameserver]:
    with Nameserver(f"127.53.{os.getpid() % 250 + 1}.1") as server:
        yield server


def resolving_with(nameserver: Nameserver, folder: Path) -> list[str]:
    """Returns a command prefix that runs a program with this server as its only source of names."""
    settings = folder / "resolv.conf"
    settings.write_text(f"nameserver {nameserver.address}\noptions timeout:2 attempts:2\n")
    mounted = f'mount --bind "{settings}" /etc/resolv.conf && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mounted, "sh"]


@pytest.mark.system
def test_E74_a_host_name_that_resolves_too_late(
    upstream: ScriptedUpstream, nameserver: Nameserver, tmp_path: Path
) -> None:
    """Needs root: a mount namespace replaces the files that resolve names."""
    url = f"http://speech.test:{upstream.port}/v1"
    gateway = GatewayProcess(tmp_path, url, IMPATIENT)
    gateway.program = [*resolving_with(nameserver, tmp_path), *gateway.program]
    with gateway:
        with ThreadPoolExecutor(8) as callers:
            for answer in callers.map(lambda _: post(gateway, form()), range(16)):
                assert is_released(gateway, answer, 504, "upstream_timeout")
        assert nameserver.queries > 0
        assert upstream.connections_opened == 0 or upstream.journal == []
        nameserver.answering.set()
        deadline = threading.Event()
        answer = post(gateway, form())
        for _ in range(40):
            if answer.status == 200:
                break
            deadline.wait(0.25)
            answer = post(gateway, form())
        assert (answer.status, row_of(gateway, answer)["state"]) == (200, "settled")
        assert upstream.journal[0].header("host") == f"speech.test:{upstream.port}"
        nameserver.answering.clear()
        assert gateway.stop() == 0


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def behind_tls(pem: Path) -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(tls=serving(pem)) as upstream:
        yield upstream


def test_E73_a_trusted_upstream_behind_tls(behind_tls: ScriptedUpstream, pem: Path, tmp_path: Path) -> None:
    keys = tmp_path / "tls.keys"
    trusted = f'ca_file = "{pem}"'
    with GatewayProcess(tmp_path, behind_tls.base_url, upstream_settings=trusted, SSLKEYLOGFILE=str(keys)) as gateway:
        answers = [post(gateway, form()) for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert {exchange.connection for exchange in behind_tls.journal[-3:]} == {behind_tls.journal[-1].connection}
        behind_tls.reply(json_answer("a").but(cut_after=5))
        assert is_unknown(gateway, post(gateway, form()), 502, "upstream_error")
    assert not keys.exists() or "SECRET" not in keys.read_text()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_E98_the_environment_does_not_choose_the_trusted_authorities(
    behind_tls: ScriptedUpstream, pem: Path, tmp_path: Path, variable: str
) -> None:
    """The key goes only to a server whose certificate the system, or the settings, trust."""
    before = len(behind_tls.journal)
    named = {variable: str(pem.parent if variable.endswith("DIR") else pem)}
    with GatewayProcess(tmp_path, behind_tls.base_url, **named) as gateway:
        assert is_released(gateway, post(gateway, form()), 502, "upstream_unreachable")
    assert len(behind_tls.journal) == before
    behind_tls.failures.clear()


def test_E73_a_certificate_for_another_host(tmp_path: Path) -> None:
    other = certificate(tmp_path, "127.0.0.2")
    with ScriptedUpstream(tls=serving(other)) as upstream:
        with GatewayProcess(tmp_path, upstream.base_url, upstream_settings=f'ca_file = "{other}"') as gateway:
            assert is_released(gateway, post(gateway, form()), 502, "upstream_unreachable")
        assert upstream.journal == []


def respond_without_tls(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_E73_a_server_without_tls(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=respond_without_tls, args=(listener,), daemon=True).start()
        with GatewayProcess(tmp_path, f"https://127.0.0.1:{listener.getsockname()[1]}/v1") as gateway:
            assert is_released(gateway, post(gateway, form()), 502, "upstream_unreachable")


def test_E76_a_handshake_without_a_response(pem: Path, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        with GatewayProcess(tmp_path, url, IMPATIENT, f'ca_file = "{pem}"') as gateway:
            assert is_released(gateway, post(gateway, form()), 504, "upstream_timeout")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_E73_an_unreadable_ca_file_prevents_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    gateway = GatewayProcess(tmp_path, "https://127.0.0.1:9/v1", upstream_settings=f'ca_file = "{file}"')
    done = gateway.command("serve")
    assert done.returncode != 0
    assert f"upstreams.scripted: {file} is no ca_file" in done.stderr
    assert "Traceback" not in done.stderr


# -- the environment ---------------------------------------------------------------------------------------------------


def test_E98_proxies_and_passwords_in_the_environment_are_ignored(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password elses\n")
    netrc.chmod(0o600)
    with ScriptedUpstream() as proxy:
        names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
        named = dict.fromkeys(names, f"http://127.0.0.1:{proxy.port}")
        with GatewayProcess(
            tmp_path, upstream.base_url, HOME=str(tmp_path), NETRC=str(netrc), NO_PROXY="", **named
        ) as gateway:
            assert post(gateway, form()).status == 200
        assert proxy.connections_opened == 0
    assert upstream.journal[0].header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert upstream.journal[0].header("proxy-authorization") is None


# -- reused connections ------------------------------------------------------------------------------------------------


def test_E79_a_connection_that_the_upstream_closed_is_not_reused(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """It closes after each response without `Connection: close`. Each request is sent once and gets its response.

    The next request waits for the close: what is still on the wire when a request begins cannot be seen.
    """
    upstream.default = json_answer("hello").but(close_after="silent")
    for _ in range(50):
        assert post(gateway, form()).status == 200
        upstream.wait_until(lambda: upstream.connections_open == 0)
    assert len(upstream.journal) == 50


STALE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" + b'{"text": "OTHER"}'
TOO_MUCH = {
    "another answer": STALE,
    "half a head": STALE[:20],
    "a head": STALE[:-17],
    "408 for an idle connection": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "line ends": b"\r\n\r\n",
    "garbage": b"\0garbage",
}


@pytest.mark.parametrize("delay", [0.0, 0.1])
@pytest.mark.parametrize("more", TOO_MUCH)
def test_E79_E97_bytes_after_a_response_are_not_the_response_to_the_next_request(
    gateway: GatewayProcess, upstream: ScriptedUpstream, more: str, delay: float
) -> None:
    """Two callers share the connections: surplus bytes for one must not reach the other."""
    body = b'{"text": "a"}'
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    upstream.reply(Reply(headers=headers, body=[(0, body), (delay, TOO_MUCH[more])]))
    upstream.default = json_answer("mine").but(close_after="announced")
    first = post(gateway, form())
    assert (first.status, first.body) in [(200, body), (502, first.body)]
    if delay:
        upstream.wait_until(lambda: upstream.connections_open == 0)
    answers = [post(gateway, form()) for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"text": "mine"}] * 3
    assert len(upstream.journal) == 4


@pytest.mark.parametrize("cut", ["reset", "close"])
def test_E79_a_request_is_not_repeated_when_its_reused_connection_ends(
    gateway: GatewayProcess, upstream: ScriptedUpstream, cut: str
) -> None:
    """The request was sent completely: the gateway cannot know whether the provider has read it."""
    assert post(gateway, form()).status == 200
    upstream.reply(no_answer().but(cut=cut))
    assert is_unknown(gateway, post(gateway, form()), 502, "upstream_error")
    first, second = upstream.journal
    assert (first.connection, len(upstream.journal)) == (second.connection, 2)


@pytest.mark.parametrize("cut", ["reset", "close"])
def test_E79_an_upload_on_a_reused_connection_that_ends_costs_nothing(
    gateway: GatewayProcess, upstream: ScriptedUpstream, cut: str
) -> None:
    assert post(gateway, form()).status == 200
    upstream.reply(no_answer().but(cut=cut, when="after_head"))
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([multipart(form(), closing=False)], last=b""))
        head = caller.read_until(b"\r\n\r\n").decode()
        assert head.startswith("HTTP/1.1 502 ")
        assert "x-should-retry" not in head
        caller.send(chunked([b"--test-boundary--\r\n"]))
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert gateway.wait_for_row(lines["x-request-id"], "released")["error"] == "upstream_error"


def test_E79_a_connection_is_not_reused_after_an_early_response(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    upstream.reply(json_answer("early").but(status=413, when="after_bytes", after=1))
    assert post(gateway, form()).status in (413, 502)
    assert post(gateway, form()).status == 200
