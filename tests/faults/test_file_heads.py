"""Files that begin with a tag of any length; honest files have a picture of several MiB there."""

import contextlib
from pathlib import Path

import pytest

from tests.behaviour.caller import begin, connect, error_of, form, post, request_id
from tests.faults.test_slowness import MEGABYTE, resident_kib, send_megabytes
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Part, chunked, multipart
from tests.stubs.scrape import Scrape, wait_for_scrape
from tests.stubs.upstream import ScriptedUpstream
from tests.wire.media.parts import id3, noise

MP3 = (b"\xff\xfb\x90\xc4" + bytes(413)) * 40
FLAC = b"fLaC\x80\0\0\x22" + bytes(10) + (16_000 << 44 | 15 << 36).to_bytes(8, "big") + bytes(16) + noise(3_000)
COVER = id3(noise(3 << 20))
LONG = 23 << 20
UPLOADS = 6


def spooled(gateway: GatewayProcess) -> float:
    return Scrape.of(gateway).value("audio_gateway_spool_bytes")


@pytest.mark.parametrize("file_first", [False, True], ids=["model first", "file first"])
@pytest.mark.parametrize(
    ("audio", "sent_as"),
    [
        (COVER + MP3, "audio.mp3"),
        (COVER + FLAC, "audio.flac"),
        (COVER + bytes(2_000) + MP3, "audio.mp3"),
        (id3(noise(70_000)) + id3(bytes(200_000)) + MP3, "audio.mp3"),
        (id3(noise(65_526)) + MP3, "audio.mp3"),
    ],
    ids=["MP3", "FLAC", "zeros behind it", "two tags", "as long as the head"],
)
def test_L185_a_file_after_a_large_picture_is_relayed_unchanged(
    gateway: GatewayProcess, upstream: ScriptedUpstream, audio: bytes, sent_as: str, file_first: bool
) -> None:
    fields = form(audio=audio, fields=[("language", "de")])[:: -1 if file_first else 1]
    answer = post(gateway, [*fields, Part("prompt", b"hello")])
    assert answer.status == 200
    (exchange,) = upstream.journal
    assert (exchange.file.data, exchange.file.filename) == (audio, sent_as)
    assert (exchange.field("language"), exchange.field("prompt")) == ("de", "hello")
    assert gateway.row(request_id(answer))["file_bytes"] == len(audio)
    assert spooled(gateway) == 0


def test_L185_a_tag_without_audio_after_it_is_rejected(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for audio in (COVER, COVER + noise(3_000), COVER[:-5]):
        assert error_of(post(gateway, form(audio=audio)))["code"] == "invalid_file_format"
    assert upstream.journal == []
    assert spooled(gateway) == 0


def test_L185_files_that_begin_with_a_long_tag_take_no_memory(
    tmp_path: Path,
) -> None:
    """Several at once, each with most of a tag of 23 MiB. Without the limit, four of them took 155 MB."""
    tag = id3(bytes(LONG))
    audio = tag + MP3
    opening = multipart(form(audio=tag[:1000]), closing=False).removesuffix(b"\r\n")
    with (
        ScriptedUpstream(keep_bodies=False) as upstream,
        GatewayProcess(tmp_path, upstream.base_url) as gateway,
        contextlib.ExitStack() as stack,
    ):
        assert post(gateway, form()).status == 200
        base = resident_kib(gateway)
        uploads = [stack.enter_context(connect(gateway)) for _ in range(UPLOADS)]
        for caller in uploads:
            caller.socket.settimeout(60)
            begin(gateway, caller)
            caller.send(chunked([opening], last=b""))
        send_megabytes(uploads, LONG // len(MEGABYTE) - 1)
        wait_for_scrape(
            gateway, lambda scrape: scrape.value("audio_gateway_spool_bytes") > UPLOADS * (LONG - (2 << 20))
        )
        assert resident_kib(gateway) - base < UPLOADS * 2048
        assert len(upstream.journal) == 1
        rest = audio[1000 + LONG - len(MEGABYTE) :]
        for caller in uploads:
            caller.send(chunked([rest + b"\r\n--test-boundary--\r\n"]))
            assert caller.read_response().status == 200
        assert spooled(gateway) == 0
    assert {exchange.size > len(audio) for exchange in upstream.journal[1:]} == {True}
