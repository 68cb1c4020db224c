"""The README's lines for nginx, in a real nginx: large uploads pass, and events come while the stream is open."""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from app.config import ServerSettings
from tests import audio
from tests.stubs.gateway import GatewayProcess, free_port
from tests.stubs.upstream import TOKENS, ScriptedUpstream, json_answer, sse_answer
from tests.system import tools

pytestmark = pytest.mark.system

README = Path(__file__).parents[2] / "README.md"

_CONFIGURATION = """
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
  server {{
    listen 127.0.0.1:{port};
    {location}
  }}
}}
"""


@pytest.fixture(scope="module")
def proxy(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an nginx in front of the gateway."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    found = re.search(r"```nginx\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    location = found[1].replace("http://127.0.0.1:8080", gateway.host)
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port, location=location))
    command = [tools.path_of("nginx"), "-c", str(file), "-p", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def wait_for(process: "subprocess.Popen[str]", address: str) -> None:
    deadline = monotonic() + 10
    while True:
        try:
            httpx.get(f"{address}/healthz").raise_for_status()
            return
        except httpx.TransportError:
            if process.poll() is not None or monotonic() > deadline:
                process.kill()
                raise AssertionError(f"nginx did not start: {process.communicate()[1]}") from None
            sleep(0.05)


def test_a_file_at_the_limit_passes(proxy: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    limit = ServerSettings().max_file_bytes
    clip = audio.make("wav", "pcm_s16le", 2.0)
    file = clip + bytes(limit - len(clip))
    answer = send(proxy, gateway, file)
    assert answer.status_code == 200
    assert upstream.journal[0].size > limit
    too_long = send(proxy, gateway, file + b"\0")
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (413, "request_too_large")


def test_an_upload_reaches_the_provider_while_it_is_sent(
    proxy: str, gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """nginx would otherwise keep the whole upload on its own disk first."""
    clip = audio.make("wav", "pcm_s16le", 30.0)
    seen = threading.Event()

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + clip
        upstream.wait_until(lambda: upstream.journal and upstream.journal[0].size > len(clip) // 2)
        seen.set()
        yield b"\r\n--b--\r\n"

    headers = {"Authorization": f"Bearer {gateway.key}", "Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{proxy}/v1/audio/transcriptions", content=form(), headers=headers, timeout=30)
    assert answer.status_code == 200
    assert seen.is_set()


def test_events_come_while_the_stream_is_open(proxy: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    gate = threading.Event()
    upstream.reply(sse_answer(["Hello", ", world"], TOKENS).but(tail_gate=gate))
    form = {"model": "gpt-4o-mini-transcribe", "stream": "true"}
    headers = {"Authorization": f"Bearer {gateway.key}"}
    files = {"file": ("a.wav", audio.make("wav", "pcm_s16le", 1.0))}
    address = f"{proxy}/v1/audio/transcriptions"
    with httpx.stream("POST", address, data=form, files=files, headers=headers, timeout=30) as answer:
        lines = answer.iter_lines()
        assert "transcript.text.delta" in next(lines)
        gate.set()
        assert any("transcript.text.done" in line for line in lines)


def send(proxy: str, gateway: GatewayProcess, file: bytes) -> httpx.Response:
    return httpx.post(
        f"{proxy}/v1/audio/transcriptions",
        data={"model": "whisper-1"},
        files={"file": ("a.wav", file)},
        headers={"Authorization": f"Bearer {gateway.key}"},
        timeout=30,
    )


def test_errors_keep_their_envelope(proxy: str, upstream: ScriptedUpstream) -> None:
    upstream.reply(json_answer("never asked"))
    answer = httpx.post(f"{proxy}/v1/audio/transcriptions", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert answer.headers["x-request-id"].startswith("req_")
    assert upstream.journal == []
