"""L: connections to a TLS port that are silent, slow or broken before TLS is established."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.caller import error_of
from tests.stubs.certificate import certificate
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, request
from tests.stubs.upstream import ScriptedUpstream

CEILING = 5
HEALTH = request("GET", "/healthz")


class TlsConnection(RawConnection):
    """A RawConnection over TLS."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)


def secured(folder: Path, upstream: ScriptedUpstream, head: float) -> GatewayProcess:
    file = certificate(folder)
    settings = f"""
[tls]
certificate_file = "{file}"
key_file = "{file.parent / "key.pem"}"
[server]
max_connections = {CEILING}
[timeouts]
head = {head}
"""
    gateway = GatewayProcess(folder, upstream.base_url, settings)
    gateway.host = f"https://127.0.0.1:{gateway.port}"
    return gateway


@pytest.fixture(scope="module")
def patient(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with TLS that accepts five connections and waits two minutes for a head."""
    with secured(tmp_path_factory.mktemp("patient"), shared_upstream, 120) as process:
        yield process


def plain(gateway: GatewayProcess) -> RawConnection:
    """Opens a TCP connection to the TLS port, without a handshake."""
    return RawConnection("127.0.0.1", gateway.port, 30)


def test_L195_a_connection_counts_before_its_handshake(patient: GatewayProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(CEILING):
            stack.enter_context(plain(patient))
        with TlsConnection(patient.port) as caller:
            caller.send(request("GET", "/v1/models"))
            answer = caller.read_response()
            assert (answer.status, error_of(answer)["code"]) == (503, "overloaded")
        with TlsConnection(patient.port) as caller:
            caller.send(HEALTH)
            assert caller.read_response().status == 200
    still_full = True
    while still_full:  # until the gateway has seen that they are gone
        with TlsConnection(patient.port) as caller:
            caller.send(request("GET", "/v1/models"))
            still_full = caller.read_response().status == 503


@pytest.mark.parametrize("opening", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "3", "6"])
def test_L195_the_head_deadline_covers_the_handshake(
    shared_upstream: ScriptedUpstream, tmp_path: Path, opening: bytes
) -> None:
    with secured(tmp_path, shared_upstream, 1) as gateway, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(plain(gateway)) for _ in range(40)]
        for caller in silent:
            caller.send(opening)
        assert all(caller.closed(30) for caller in silent)


def test_L195_the_head_deadline_goes_on_after_the_handshake(shared_upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with secured(tmp_path, shared_upstream, 1) as gateway, TlsConnection(gateway.port) as caller:
        assert caller.closed(30)


def test_L195_an_invalid_handshake_closes_the_connection_at_once(patient: GatewayProcess) -> None:
    with plain(patient) as caller:
        caller.send(HEALTH)
        caller.socket.settimeout(30)
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/" not in caller.socket.recv(1000)
        assert caller.closed(30)


def test_L195_a_request_in_the_last_segment_of_the_handshake_is_served(patient: GatewayProcess) -> None:
    """The gateway reads both before the connection has its HTTP protocol."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with plain(patient) as caller:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                caller.send(outgoing.read())
                incoming.write(caller.socket.recv(1 << 16))
        tls.write(HEALTH)
        caller.send(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            incoming.write(caller.socket.recv(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += tls.read(1 << 16)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_L195_a_client_hello_may_arrive_byte_by_byte(patient: GatewayProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with plain(patient) as caller:
        for byte in outgoing.read():
            caller.send(bytes([byte]))
        assert caller.socket.recv(1) == b"\x16"


def test_L195_a_stop_does_not_wait_for_a_handshake(shared_upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with secured(tmp_path, shared_upstream, 120) as gateway, plain(gateway) as silent:
        with TlsConnection(gateway.port) as caller:
            caller.send(HEALTH)
            assert caller.read_response().status == 200
        assert gateway.stop() == 0
        with contextlib.suppress(ConnectionError, socket.timeout):
            assert silent.socket.recv(1) == b""
