"""B: unusual but valid parts: what of their names, types and values is sent upstream, and what they cost."""

import os

import pytest

from tests.behaviour.caller import (
    CLIP,
    CLOSING,
    request_id,
)
from tests.faults.forms import DISPOSITION, FILE, MODEL, NAMED_FILE, WHOLE, field, file, headed, part, submit
from tests.faults.outcomes import refused
from tests.stubs.gateway import GatewayProcess
from tests.stubs.upstream import ScriptedUpstream


@pytest.mark.parametrize(
    "parameters",
    [
        "filename=\"clip.wav\"; filename*=UTF-8''marked.exe",
        "filename*=UTF-8''marked.exe; filename=\"clip.wav\"",
        'filename="marked\\".wav"',
        'filename="marked\\\\.wav"',
        'filename="marked%22.wav"',
        'filename="marked%0d%0a.wav"',
        'filename="../../marked.wav"',
        'filename="C:\\marked\\x.wav"',
        'filename="/etc/marked"',
        'filename="marked;x.wav"',
        "filename=\"'marked'.wav\"",
        'filename="marked\N{SPEAKER}.wav"',
        'filename="marked\N{RIGHT-TO-LEFT OVERRIDE}vaw.exe"',
        'filename="marked\N{LINE SEPARATOR}.wav"',
        'filename="marked' + "x" * 3000 + '"',
        "filename=marked.wav",
        'filename="marked."',
        'filename="marked "',
        "filename*=UTF-8''marked.wav",
        "filename*=\"UTF-8''marked.wav\"",
        "filename*=marked",
        'filename=""',
        "x=marked",
        'filename="marked\t\x01\x1b[0m\x7f.wav"',
        b'filename="marked\xe9\xff\xc0\xaf\xed\xa0\x80.wav"',
        b"filename*=\"iso-8859-1'de'marked\xe9\"",
    ],
)
def test_B29_B31_B32_P266_no_file_name_is_relayed_or_causes_a_rejection(
    gateway: GatewayProcess, upstream: ScriptedUpstream, parameters: str | bytes
) -> None:
    """Its content type is not relayed either, and the log does not contain the name."""
    named = parameters.encode() if isinstance(parameters, str) else parameters
    answer = submit(gateway, file(b'name="file"; ' + named, b"Content-Type: text/marked\xff\x01"))
    assert answer.status == 200
    assert gateway.row(request_id(answer))["state"] == "settled"
    (exchange,) = upstream.journal
    assert exchange.file.headers == (
        ("Content-Disposition", 'form-data; name="file"; filename="audio.wav"'),
        ("Content-Type", "audio/wav"),
    )
    assert exchange.file.data == CLIP
    assert b"marked" not in exchange.body
    gateway.wait_for_log(request_id(answer))
    assert "marked" not in gateway.log.read_text()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a%22b", "a%22b"),
        ("a'b", "a'b"),
        ("a;b", "a;b"),
        ("a b", "a b"),
        ("model[]", "model[]"),
        ("chunking_strategy[type]", "chunking_strategy[type]"),
        ('a\\"b', "a%22b"),
        (
            "gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{SNOWMAN}",
            "gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{SNOWMAN}",
        ),
    ],
)
def test_B34_an_unusual_name_is_relayed(
    gateway: GatewayProcess, upstream: ScriptedUpstream, name: str, written: str
) -> None:
    assert submit(gateway, field(name) + WHOLE).status == 200
    assert [part.name for part in upstream.journal[0].form()] == [written, "model", "file"]


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7BIT"])
def test_B37_an_identity_encoding_is_accepted(
    gateway: GatewayProcess, upstream: ScriptedUpstream, encoding: str
) -> None:
    assert submit(gateway, file(NAMED_FILE, f"Content-Transfer-Encoding: {encoding}")).status == 200
    assert upstream.journal[0].file.data == CLIP


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"a\nb",
        b"a\r\nb\tc",
        "\N{BYTE ORDER MARK}x".encode(),
        "\N{GRINNING FACE}\N{RIGHT-TO-LEFT OVERRIDE}".encode(),
    ],
)
def test_B42_an_unusual_value_is_relayed(gateway: GatewayProcess, upstream: ScriptedUpstream, value: bytes) -> None:
    assert submit(gateway, field("prompt", value) + WHOLE).status == 200
    assert upstream.journal[0].form()[0].data == value


# -- caps -------------------------------------------------------------------------------------------------------------


def cpu_seconds(gateway: GatewayProcess) -> float:
    """The CPU time that the gateway has used so far."""
    fields = (gateway.proc / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "body",
    [
        field("x") * 10_000 + WHOLE,
        headed(DISPOSITION, b"X: " + b"x" * 1_000_000),
        headed(DISPOSITION, *[b"X: 1"] * 100_000),
        headed(DISPOSITION + b"; x=1" * 200_000),
        WHOLE + b"\r\n--test-boundary\r\n" * 200_000,
    ],
    ids=["parts", "header", "headers", "parameters", "boundaries"],
)
def test_B38_a_form_above_the_limits_costs_little(
    gateway: GatewayProcess, upstream: ScriptedUpstream, body: bytes
) -> None:
    """Ten such forms cost much less than reading them to their end."""
    before = cpu_seconds(gateway)
    for _ in range(10):
        refused(submit(gateway, body), 400, "invalid_multipart")
    assert cpu_seconds(gateway) - before < 2


def test_B38_the_most_parts_and_headers_are_accepted(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    headers = [f"X-{number}: {'x' * 4000}" for number in range(7)]
    assert submit(gateway, field("x") * 997 + part('name="y"', b"1", *headers) + WHOLE).status == 200
    assert len(upstream.journal[0].form()) == 1000


@pytest.mark.parametrize("file_first", [False, True], ids=["file last", "file first"])
def test_P267_many_values_are_many_parts(gateway: GatewayProcess, upstream: ScriptedUpstream, file_first: bool) -> None:
    """Some providers accept hundreds of keywords, each in its own part."""
    words = [(f"keywords[{number}]" if number % 2 else "keywords[]", b"word %d" % number) for number in range(900)]
    fields = b"".join(field(name, value) for name, value in words)
    body = FILE + MODEL + fields + CLOSING if file_first else fields + WHOLE
    assert submit(gateway, body).status == 200
    assert [(each.name, each.data) for each in upstream.journal[0].form() if each.name[0] == "k"] == words
