"""The examples for nginx and Caddy, in the real programs, relay uploads as they arrive and events at once."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import httpx
import pytest

from app.config import ServerSettings
from tests import audio
from tests.stubs.certificate import certificate
from tests.stubs.gateway import NO_TLS, GatewayProcess, free_port
from tests.stubs.upstream import TOKENS, ScriptedUpstream, json_answer, sse_answer
from tests.system import tools

pytestmark = pytest.mark.system

DEPLOY = Path(__file__).parents[2] / "deploy"

SETTINGS = '[server]\nforwarded_allow_ips = ["127.0.0.1"]\n'

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {example}
}}
"""

_CADDY = """
{{
  admin off
  auto_https disable_redirects
  http_port {plain}
}}
{example}
"""


class Proxy(NamedTuple):
    """A proxy over TLS, and the gateway behind it."""

    address: str
    gateway: GatewayProcess


def nginx(folder: Path, port: int, gateway: GatewayProcess) -> list[str]:
    """The command that serves the example on this port."""
    example = adapted(
        DEPLOY / "nginx" / "audio-gateway.conf",
        {
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{gateway.port};",
            "listen 80;": f"listen 127.0.0.1:{free_port()};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/audio.example.com.pem": str(folder / "certificate.pem"),
            "/etc/ssl/audio.example.com.key": str(folder / "key.pem"),
        },
    )
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, example=example))
    return [tools.path_of("nginx"), "-c", str(file), "-p", str(folder)]


def caddy(folder: Path, port: int, gateway: GatewayProcess) -> list[str]:
    """The command that serves the example on this port."""
    tls = f"\ttls {folder / 'certificate.pem'} {folder / 'key.pem'}\n"
    example = adapted(
        DEPLOY / "caddy" / "Caddyfile",
        {
            "\naudio.example.com {\n": f"\nhttps://127.0.0.1:{port} {{\n{tls}",
            "reverse_proxy 127.0.0.1:8080 {": f"reverse_proxy 127.0.0.1:{gateway.port} {{",
        },
    )
    file = folder / "Caddyfile"
    file.write_text(_CADDY.format(plain=free_port(), example=example))
    return [tools.path_of("caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]


def adapted(file: Path, changes: dict[str, str]) -> str:
    """Returns the example with this machine's values in place of its placeholders."""
    text = file.read_text("utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    command: Callable[[Path, int, GatewayProcess], list[str]] = request.param
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    certificate(folder)
    with GatewayProcess(folder, shared_upstream.base_url, SETTINGS) as gateway:
        environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with (folder / "proxy.log").open("wb") as log:
            process = subprocess.Popen(command(folder, port, gateway), stdout=log, stderr=log, env=environment)
        try:
            wait_for(process, f"https://127.0.0.1:{port}", folder / "proxy.log")
            yield Proxy(f"https://127.0.0.1:{port}", gateway)
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = monotonic() + 30
    while True:
        try:
            httpx.get(f"{address}/healthz", **NO_TLS).raise_for_status()
            return
        except httpx.TransportError:
            if process.poll() is not None or monotonic() > deadline:
                process.kill()
                raise AssertionError(f"the proxy did not start: {log.read_text()}") from None
            sleep(0.05)


def send(proxy: Proxy, file: bytes) -> httpx.Response:
    return httpx.post(
        f"{proxy.address}/v1/audio/transcriptions",
        data={"model": "whisper-1"},
        files={"file": ("a.wav", file)},
        headers={"Authorization": f"Bearer {proxy.gateway.key}"},
        timeout=60,
        **NO_TLS,
    )


def test_a_file_at_the_limit_passes(proxy: Proxy, upstream: ScriptedUpstream) -> None:
    limit = ServerSettings().max_file_bytes
    clip = audio.make("wav", "pcm_s16le", 2.0)
    file = clip + bytes(limit - len(clip))
    answer = send(proxy, file)
    assert answer.status_code == 200
    assert upstream.journal[0].size > limit
    too_long = send(proxy, file + b"\0")
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (413, "request_too_large")


def test_an_upload_reaches_the_provider_while_it_is_sent(proxy: Proxy, upstream: ScriptedUpstream) -> None:
    """A proxy that buffers would first store the whole upload."""
    clip = audio.make("wav", "pcm_s16le", 30.0)
    seen = threading.Event()

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + clip
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].size > len(clip) // 2)
        seen.set()
        yield b"\r\n--b--\r\n"

    headers = {"Authorization": f"Bearer {proxy.gateway.key}", "Content-Type": "multipart/form-data; boundary=b"}
    address = f"{proxy.address}/v1/audio/transcriptions"
    answer = httpx.post(address, content=form(), headers=headers, timeout=60, **NO_TLS)
    assert answer.status_code == 200
    assert seen.is_set()


def test_events_arrive_while_the_stream_is_open(proxy: Proxy, upstream: ScriptedUpstream) -> None:
    gate = threading.Event()
    upstream.reply(sse_answer(["Hello", ", world"], TOKENS).but(tail_gate=gate))
    form = {"model": "gpt-4o-mini-transcribe", "stream": "true"}
    headers = {"Authorization": f"Bearer {proxy.gateway.key}"}
    files = {"file": ("a.wav", audio.make("wav", "pcm_s16le", 1.0))}
    address = f"{proxy.address}/v1/audio/transcriptions"
    with httpx.stream("POST", address, data=form, files=files, headers=headers, timeout=60, **NO_TLS) as answer:
        lines = answer.iter_lines()
        assert "transcript.text.delta" in next(lines)
        gate.set()
        assert any("transcript.text.done" in line for line in lines)


def test_a_disconnect_reaches_the_gateway(proxy: Proxy, upstream: ScriptedUpstream) -> None:
    clip = audio.make("wav", "pcm_s16le", 30.0)

    class Left(Exception):
        pass

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + clip
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].size > len(clip) // 2)
        raise Left

    headers = {"Authorization": f"Bearer {proxy.gateway.key}", "Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(Left):
        httpx.post(f"{proxy.address}/v1/audio/transcriptions", content=form(), headers=headers, timeout=60, **NO_TLS)
    upstream.wait_until(lambda: upstream.journal[0].aborted)


def test_errors_keep_their_envelope(proxy: Proxy, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("never asked"))
    address = f"{proxy.address}/v1/audio/transcriptions"
    answer = httpx.post(address, headers={"Authorization": "Bearer wrong"}, timeout=60, **NO_TLS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["x-request-id"].startswith("req_")
    assert upstream.journal == []


def test_the_gateway_trusts_the_proxy_and_the_proxy_trusts_no_caller(proxy: Proxy) -> None:
    """A response has HSTS if the connection to the proxy uses TLS, whatever the caller's headers claim."""
    claimed = {"X-Forwarded-Proto": "http", "X-Forwarded-For": "127.0.0.1"}
    answer = httpx.get(f"{proxy.address}/healthz", headers=claimed, timeout=60, **NO_TLS)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_the_proxy_does_not_expose_metrics(proxy: Proxy) -> None:
    assert httpx.get(f"{proxy.address}/metrics", timeout=60, **NO_TLS).status_code == 404
