"""The gateway's own TLS: everything works as without it, and a reload renews the certificate."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.behaviour.test_kill import SILENCE
from tests.stubs.certificate import certificate
from tests.stubs.reloading import ReloadableGateway
from tests.stubs.upstream import TOKENS, ScriptedUpstream, json_answer, sse_answer


class TlsGateway(ReloadableGateway):
    """Behind TLS, with the certificate and the key of `tls`, a folder."""

    def __init__(self, folder: Path, upstream_url: str) -> None:
        self.tls = folder / "tls"
        self.tls.mkdir()
        certificate(self.tls)
        super().__init__(folder, upstream_url)
        self.host = f"https://127.0.0.1:{self.port}"
        self.base_url = f"{self.host}/v1"

    def settings(self, more: str = "", policy: str = "", key_file: Path | None = None) -> str:
        files = f'[tls]\ncertificate_file = "{self.tls / "certificate.pem"}"\nkey_file = "{self.tls / "key.pem"}"\n'
        return super().settings(more + files, policy, key_file)

    def served_certificate(self) -> bytes:
        """The certificate that a new connection gets, as DER."""
        with self.connection() as connection:
            return connection.getpeercert(binary_form=True) or b""

    def connection(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 20))

    def transcribe_over(self, client: httpx.Client, **fields: str) -> httpx.Response:
        return client.post(
            f"{self.base_url}/audio/transcriptions",
            headers={"authorization": f"Bearer {self.key}"},
            data={"model": "gpt-4o-mini-transcribe", **fields},
            files={"file": ("a.wav", SILENCE)},
        )


def der(folder: Path) -> bytes:
    """The certificate of this folder."""
    text = (folder / "certificate.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)])


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[TlsGateway]:
    with TlsGateway(tmp_path, upstream.base_url) as process:
        yield process


def client(gateway: TlsGateway) -> httpx.Client:
    """A client that trusts this certificate and no other."""
    trusting = ssl.create_default_context(cafile=str(gateway.tls / "certificate.pem"))
    return httpx.Client(verify=trusting, timeout=30)


def test_responses_streams_and_errors_work_over_tls(gateway: TlsGateway, upstream: ScriptedUpstream) -> None:
    with client(gateway) as trusting:
        upstream.reply(json_answer("hello", TOKENS), sse_answer(["Hello", ", world"], TOKENS))
        answer = gateway.transcribe_over(trusting)
        assert (answer.status_code, answer.json()["text"]) == (200, "hello")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert "transcript.text.done" in gateway.transcribe_over(trusting, stream="true").text
        refused = trusting.post(f"{gateway.base_url}/audio/transcriptions", content=bytes(1 << 20))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


def test_plain_http_gets_no_response(gateway: TlsGateway) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{gateway.port}/healthz", timeout=30)
    assert len(gateway.served_certificate()) > 0


def test_a_reload_renews_the_certificate_and_keeps_connections(gateway: TlsGateway) -> None:
    first = gateway.served_certificate()
    assert first == der(gateway.tls)
    with client(gateway) as trusting:
        assert gateway.transcribe_over(trusting).status_code == 200
        certificate(gateway.tls)
        assert gateway.served_certificate() == first
        gateway.reload()
        assert gateway.served_certificate() == der(gateway.tls) != first
        # The client would not trust the new one: this is its connection from before.
        assert gateway.transcribe_over(trusting).status_code == 200


@pytest.mark.parametrize("spoiled", ["certificate.pem", "key.pem"])
def test_an_invalid_certificate_changes_nothing(spoiled: str, gateway: TlsGateway, tmp_path: Path) -> None:
    first, other = gateway.served_certificate(), tmp_path / "other"
    other.mkdir()
    certificate(other)
    (gateway.tls / spoiled).write_bytes((other / spoiled).read_bytes().split(b"-----BEGIN PRIVATE", 1)[-1][:40])
    assert "are not a certificate and its key" in gateway.failed_reload()
    assert gateway.served_certificate() == first
    checked = gateway.command("check")
    assert (checked.returncode, "are not a certificate and its key" in checked.stderr) == (2, True)


def test_the_key_of_another_certificate_changes_nothing(gateway: TlsGateway, tmp_path: Path) -> None:
    """An incomplete renewal: OpenSSL accepts the certificate before it finds that the key does not match."""
    first, other = gateway.served_certificate(), tmp_path / "other"
    other.mkdir()
    certificate(other)
    (gateway.tls / "key.pem").write_bytes((other / "key.pem").read_bytes())
    assert "are not a certificate and its key" in gateway.failed_reload()
    with client(gateway) as trusting:
        assert gateway.transcribe_over(trusting).status_code == 200
    assert gateway.served_certificate() == first


def test_a_certificate_without_its_key_is_refused_at_the_start(gateway: TlsGateway) -> None:
    gateway.stop()
    (gateway.tls / "key.pem").unlink()
    result = gateway.command("serve")
    assert result.returncode == 2
    assert "tls.key_file" in result.stderr
