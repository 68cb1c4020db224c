"""J151: requests create no new metric series."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audio import make
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import RawConnection, request
from tests.stubs.scrape import Scrape, wait_for_scrape
from tests.stubs.upstream import ScriptedUpstream

CLIP = make("wav", "pcm_s16le", 0.01)
REQUESTS = 10_000
AT_ONCE = 100


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with ScriptedUpstream() as upstream, GatewayProcess(tmp_path, upstream.base_url) as process:
        yield process


def asked(model: str, key: str) -> bytes:
    """A whole request for this model, the file first: such a form is read to its end before its model is refused, so
    that the connection can be used again.
    """
    body = b"".join(
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n',
            CLIP,
            b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n',
            model.encode(),
            b"\r\n--b--\r\n",
        )
    )
    headers = [("Authorization", f"Bearer {key}"), ("Content-Type", "multipart/form-data; boundary=b")]
    return request("POST", "/v1/audio/transcriptions", headers, body)


def refused(gateway: GatewayProcess, key: str) -> int:
    with RawConnection("127.0.0.1", gateway.port) as caller:
        caller.send(asked("whisper-1", key))
        return caller.read_response().status


def test_J151_ten_thousand_models_and_a_hundred_keys_give_one_label_each(gateway: GatewayProcess) -> None:
    with RawConnection("127.0.0.1", gateway.port) as caller:
        caller.send(asked("first", gateway.key))
        assert (caller.read_response().status, refused(gateway, "sk-agw-wrong")) == (404, 401)
        before = wait_for_scrape(gateway, lambda scrape: scrape.value("audio_gateway_requests_total") == 2)
        for _ in range(REQUESTS // AT_ONCE):
            models = [secrets.token_hex(12) for _ in range(AT_ONCE)]
            caller.send(b"".join(asked(model, gateway.key) for model in models))
            assert {caller.read_response().status for _ in models} == {404}
            assert refused(gateway, f"sk-agw-{secrets.token_hex(16)}") == 401
    expected = 2 + REQUESTS + REQUESTS // AT_ONCE
    after = wait_for_scrape(gateway, lambda scrape: scrape.value("audio_gateway_requests_total") == expected)
    assert series(after) == series(before)
    assert len(after.series("audio_gateway_requests_total")) == 2


def series(scrape: Scrape) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {(sample.name, frozenset(sample.labels.items())) for sample in scrape.samples}
