"""B: forms that are cut off, ambiguous, endless, or lack what a transcription needs."""

import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.wire import apikey
from tests.audio import make
from tests.behaviour.caller import (
    CLIP,
    CLOSING,
    TRANSLATIONS,
    begin,
    connect,
    error_of,
    fence,
    form,
    held_row,
    post,
    post_bytes,
    request_id,
)
from tests.faults.outcomes import counts_refusals, refused, refused_and_closed, wait_for
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Headers, Part, RawConnection, RawResponse, chunked, multipart
from tests.stubs.upstream import ScriptedUpstream

SHORT_CLIP = CLIP[:144]
LONG_CLIP = make("wav", "pcm_s16le", 20)
UNKNOWN_KEY = apikey.mint(bytes(range(24)))


def part(disposition: str | bytes, data: bytes = b"1", *headers: str | bytes) -> bytes:
    """One part with `Content-Disposition: form-data;` and this."""
    lines = [line.encode() if isinstance(line, str) else line for line in (disposition, *headers)]
    return b"--test-boundary\r\nContent-Disposition: form-data; " + b"\r\n".join(lines) + b"\r\n\r\n" + data + b"\r\n"


MODEL = part('name="model"', b"whisper-1")
FILE = part('name="file"; filename="clip.wav"', CLIP)
WHOLE = MODEL + FILE + CLOSING


def field(name: str | bytes, value: bytes = b"1") -> bytes:
    return part(b'name="%b"' % (name.encode() if isinstance(name, str) else name), value)


def file(parameters: str | bytes, *headers: str | bytes) -> bytes:
    """A form whose file has this behind `form-data;`."""
    return MODEL + part(parameters, CLIP, *headers) + CLOSING


def headed(*lines: bytes) -> bytes:
    """A form whose first part has just these headers."""
    return b"--test-boundary\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n1\r\n" + WHOLE


def submit(gateway: GatewayProcess, body: bytes, headers: Headers = ()) -> RawResponse:
    """A body with its length, sent whole, and its answer."""
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, body, headers=[*headers, ("Content-Length", str(len(body)))]))
        return caller.read_response()


# -- refused before anything goes up ----------------------------------------------------------------------------------

DISPOSITION = b'Content-Disposition: form-data; name="prompt"'
NAMED_FILE = 'name="file"; filename="a.wav"'

MALFORMED: dict[str, bytes] = {
    "B22-no-bytes": b"",
    "B22-cut-in-a-head": WHOLE[:40],
    "B22-cut-in-a-field": MODEL[:-5],
    "B32-nul": file(b'name="file"; filename="a\0.wav"'),
    "B32-cr": file(b'name="file"; filename="a\r.wav"'),
    "B32-lf": file(b'name="file"; filename="a\n.wav"'),
    "B32-tab": file(b'name="file"; filename="a\t.wav"'),
    "B32-escape": file(b'name="file"; filename="a\x1b[0m.wav"'),
    "B32-delete": file(b'name="file"; filename="a\x7f.wav"'),
    "B32-latin-1": file(b'name="file"; filename="\xe9.wav"'),
    "B32-quote": file('name="file"; filename="a"b.wav"'),
    "B32-no-last-quote": file('name="file"; filename="a.wav'),
    "B32-10-kb": file(f'name="file"; filename="{"x" * 10_000}.wav"'),
    "B34-two-dispositions": headed(DISPOSITION, DISPOSITION),
    "B34-two-other-dispositions": headed(DISPOSITION, b'content-disposition: form-data; name="x"'),
    "B34-none": headed(b"Content-Type: text/plain"),
    "B34-no-header": headed(),
    "B34-attachment": headed(b'Content-Disposition: attachment; name="prompt"'),
    "B34-no-name": headed(b"Content-Disposition: form-data"),
    "B34-empty-name": headed(b'Content-Disposition: form-data; name=""'),
    "B34-name-twice": headed(DISPOSITION + b'; name="x"'),
    "B34-name-twice-in-capitals": headed(DISPOSITION + b'; NAME="prompt"'),
    "B34-name-in-pieces": headed(b'Content-Disposition: form-data; name*0="pro"; name*1="mpt"'),
    "B34-extended-name": headed(b"Content-Disposition: form-data; name*=UTF-8''prompt"),
    "B34-filename-twice": file('name="file"; filename="a.wav"; filename="b.wav"'),
    "B34-filename-in-pieces": file('name="file"; filename*0="a"; filename*1=".wav"'),
    "B34-nul-in-name": field(b"model\0") + WHOLE,
    "B34-high-byte-in-name": field(b"\xff") + WHOLE,
    "B34-long-name": field("x" * 257) + WHOLE,
    "B34-no-colon": headed(DISPOSITION, b"X"),
    "B34-no-header-name": headed(DISPOSITION, b": x"),
    "B34-space-before-colon": headed(b'Content-Disposition : form-data; name="prompt"'),
    "B34-bracket-in-header-name": headed(DISPOSITION, b"X(: 1"),
    "B34-fold": headed(b"Content-Disposition: form-data;", b' name="prompt"'),
    "B34-fold-tab": headed(b"Content-Disposition: form-data;", b'\tname="prompt"'),
    "B34-nul-in-header": headed(DISPOSITION, b"X: \0"),
    "B37-base64": file(NAMED_FILE, "Content-Transfer-Encoding: base64"),
    "B37-base64-behind-binary": file(
        NAMED_FILE, "Content-Transfer-Encoding: binary", "Content-Transfer-Encoding: base64"
    ),
    "B37-quoted-printable": headed(DISPOSITION, b"Content-Transfer-Encoding: Quoted-Printable"),
    "B37-unknown": headed(DISPOSITION, b"content-transfer-encoding: x-uuencode"),
    "B38-257-parts": field("x") * 255 + WHOLE,
    "B38-10000-parts": field("x") * 10_000 + WHOLE,
    "B38-9-headers": headed(DISPOSITION, *(b"X-%d: 1" % number for number in range(8))),
    "B38-1-mb-header": headed(DISPOSITION, b"X: " + b"x" * 1_000_000),
    "B38-1-mb-header-name": headed(DISPOSITION, b"x" * 1_000_000 + b": 1"),
    "B40-preamble": b"preamble\r\n" + WHOLE,
    "B40-preamble-crlf": b"\r\n" + WHOLE,
    "B40-preamble-blank": b" " + WHOLE,
    "B41-lf": (MODEL + part(NAMED_FILE, SHORT_CLIP) + CLOSING).replace(b"\r\n", b"\n"),
    "B41-cr": (MODEL + part(NAMED_FILE, SHORT_CLIP) + CLOSING).replace(b"\r\n", b"\r"),
    "B41-lf-in-a-head": MODEL.replace(b'"model"\r\n', b'"model"\n') + FILE + CLOSING,
    "B41-lf-behind-the-boundary": MODEL.replace(b"boundary\r\n", b"boundary\n") + FILE + CLOSING,
    "B20-another-boundary": WHOLE.replace(b"test-boundary", b"best-boundary"),
    "B20-blank-behind-a-boundary": MODEL.replace(b"boundary\r\n", b"boundary \r\n") + FILE + CLOSING,
}

UNFIT: dict[str, tuple[bytes, int, str, str]] = {
    "B26-two-models": (MODEL + WHOLE, 400, "duplicate_parameter", "model"),
    "B26-allowed-then-forbidden": (
        MODEL + field("model", b"gpt-transcribe") + FILE + CLOSING,
        400,
        "duplicate_parameter",
        "model",
    ),
    "B26-both-behind-the-file": (FILE + MODEL + MODEL + CLOSING, 400, "duplicate_parameter", "model"),
    "B28-missing": (FILE + CLOSING, 400, "missing_required_parameter", "model"),
    "B28-in-capitals": (field("MODEL", b"whisper-1") + FILE + CLOSING, 400, "missing_required_parameter", "model"),
    "B28-nul": (field("model", b"whisper-1\0") + FILE + CLOSING, 400, "invalid_field", "model"),
    "B28-not-utf-8": (field("model", b"\xff") + FILE + CLOSING, 400, "invalid_field", "model"),
    "B28-1-mb": (field("model", b"m" * 1_000_000) + FILE + CLOSING, 400, "invalid_field", "model"),
    "B28-a-file": (part('name="model"; filename="m"', b"whisper-1") + FILE + CLOSING, 400, "invalid_field", "model"),
    "B29-no-file": (MODEL + CLOSING, 400, "missing_required_parameter", "file"),
    "B29-no-part": (CLOSING, 400, "missing_required_parameter", "file"),
    "B29-no-filename": (file('name="file"'), 400, "missing_required_parameter", "file"),
    "B29-empty-filename": (file('name="file"; filename=""'), 400, "missing_required_parameter", "file"),
    "B29-file-with-brackets": (file('name="file[]"; filename="a.wav"'), 400, "invalid_field", "file[]"),
    "B29-file-in-capitals": (file('name="FILE"; filename="a.wav"'), 400, "invalid_field", "FILE"),
    "B29-another-file-beside": (
        MODEL + part('name="image"; filename="x.png"') + FILE + CLOSING,
        400,
        "invalid_field",
        "image",
    ),
    "B29-nested": (
        file('name="file"', "Content-Type: multipart/mixed; boundary=inner"),
        400,
        "missing_required_parameter",
        "file",
    ),
    "B30-empty": (MODEL + part(NAMED_FILE, b"") + CLOSING, 400, "empty_file", "file"),
    "B30-empty-first": (part(NAMED_FILE, b"") + MODEL + CLOSING, 400, "empty_file", "file"),
    "B42-not-utf-8": (field("prompt", b"\xc3\x28") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-cut-in-a-character": (field("prompt", b"\xc3") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-overlong": (field("prompt", b"\xc0\xaf") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-surrogate": (field("prompt", b"\xed\xa0\x80") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-beyond-unicode": (field("prompt", b"\xf4\x90\x80\x80") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-utf-16": (field("language", "de".encode("utf-16")) + WHOLE, 400, "invalid_field", "language"),
    "B42-nul": (field("prompt", b"a\0b") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-escape": (field("prompt", b"\x1b[31m") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-delete": (field("prompt", b"\x7f") + WHOLE, 400, "invalid_field", "prompt"),
    "B42-unknown-field": (field("colour", b"\xff") + WHOLE, 400, "invalid_field", "colour"),
    "B42-latin-1-said": (
        part('name="prompt"', b"\xe9", "Content-Type: text/plain; charset=latin-1") + WHOLE,
        400,
        "invalid_field",
        "prompt",
    ),
    "B38-4-mib-field": (field("prompt", b"x" * (4 * 1024 * 1024 + 1)) + WHOLE, 400, "invalid_field", "prompt"),
    "B38-8-mib-of-fields": (field("prompt", b"x" * 4_000_000) * 3 + WHOLE, 400, "invalid_field", "prompt"),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_form_that_is_not_well_formed(gateway: GatewayProcess, upstream: ScriptedUpstream, body: bytes) -> None:
    before = upstream.connections_opened
    with counts_refusals(gateway, "invalid_multipart"):
        refused(submit(gateway, body), 400, "invalid_multipart")
    assert (upstream.journal, upstream.connections_opened) == ([], before)


@pytest.mark.parametrize(("body", "status", "code", "param"), UNFIT.values(), ids=UNFIT.keys())
def test_a_form_that_is_not_what_is_needed(
    gateway: GatewayProcess, upstream: ScriptedUpstream, body: bytes, status: int, code: str, param: str
) -> None:
    before = upstream.connections_opened
    with counts_refusals(gateway, code):
        refused(submit(gateway, body), status, code, param)
    assert (upstream.journal, upstream.connections_opened) == ([], before)


@pytest.mark.parametrize(
    "boundary",
    [
        "",
        "; boundary=",
        '; boundary=""',
        "; boundary=a; boundary=b",
        "; boundary=test-boundary; boundary=test-boundary",
        "; boundary=test-boundary; BOUNDARY=test-boundary",
        "; boundary*=UTF-8''test-boundary",
        "; boundary*0=test-; boundary*1=boundary",
        "; boundary =test-boundary",
        "; boundary= test-boundary",
        "; boundary=test-boundary x",
        ", boundary=test-boundary",
        "; charset=utf-8",
    ],
)
def test_B20_a_form_names_one_boundary(gateway: GatewayProcess, upstream: ScriptedUpstream, boundary: str) -> None:
    content_type = f"multipart/form-data{boundary}"
    code, status = ("invalid_content_type", 415) if boundary.startswith(",") else ("invalid_multipart", 400)
    with counts_refusals(gateway, code):
        refused(submit(gateway, WHOLE, [("Content-Type", content_type)]), status, code)
    assert upstream.journal == []


@pytest.mark.parametrize(
    "boundary",
    ["a" * 71, "a" * 256, '"a "', '" "', "a@b", '"a@b"', '"a\\"b"', "a/b", "a,b", '"a%b"', '"\xe9"', "a\tb", '"a'],
)
def test_B21_a_boundary_that_is_none(gateway: GatewayProcess, upstream: ScriptedUpstream, boundary: str) -> None:
    body = WHOLE.replace(b"test-boundary", boundary.strip('"').encode("latin-1"))
    with counts_refusals(gateway, "invalid_multipart"):
        answer = submit(gateway, body, [("Content-Type", f"multipart/form-data; boundary={boundary}")])
        refused(answer, 400, "invalid_multipart")
    assert upstream.journal == []


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=" + "a" * 70, "a" * 70),
        ('multipart/form-data; boundary="test-boundary"', "test-boundary"),
        ("Multipart/Form-Data;BOUNDARY=test-boundary; charset=utf-8", "test-boundary"),
        ('multipart/form-data; boundary="a b"', "a b"),
        ("multipart/form-data; boundary=-", "-"),
        ("multipart/form-data; boundary=test-boundary ", "test-boundary"),
    ],
)
def test_B21_a_boundary_in_every_dress(
    gateway: GatewayProcess, upstream: ScriptedUpstream, content_type: str, boundary: str
) -> None:
    body = WHOLE.replace(b"test-boundary", boundary.encode())
    assert submit(gateway, body, [("Content-Type", content_type)]).status == 200
    assert upstream.journal[0].file.data == CLIP


# -- the model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper_only(gateway: GatewayProcess) -> str:
    return gateway.create_caller("whisper-team", models=["whisper-1"])


@pytest.mark.parametrize("file_first", [False, True], ids=["model first", "file first"])
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        (None, 400, "missing_required_parameter"),
        ("", 400, "missing_required_parameter"),
        (" \t", 400, "missing_required_parameter"),
        ("whisper-2", 404, "model_not_found"),
        ("WHISPER-1", 404, "model_not_found"),
        ("whisper-1 ", 404, "model_not_found"),
        ("whisper-1\n", 404, "model_not_found"),
        ('"whisper-1"', 404, "model_not_found"),
        ("'whisper-1'", 404, "model_not_found"),
        ("whisper\N{NON-BREAKING HYPHEN}1", 404, "model_not_found"),
        ("m" * 257, 400, "invalid_field"),
    ],
)
def test_B28_a_model_that_cannot_be_used(
    gateway: GatewayProcess, upstream: ScriptedUpstream, model: str | None, status: int, code: str, file_first: bool
) -> None:
    parts = form(model)
    with counts_refusals(gateway, code):
        answer = post(gateway, parts[::-1] if file_first else parts)
        refused(answer, status, code, "model")
    if code == "model_not_found":
        for name in ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe-diarize", "gpt-4o-mini-transcribe-2025-12-15"):
            assert name in error_of(answer)["message"]
    assert upstream.journal == []


def test_B28_a_model_that_is_not_for_this_task(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = post(gateway, form("gpt-4o-transcribe"), TRANSLATIONS)
    refused(answer, 400, "unsupported_model", "model")
    assert error_of(answer)["message"].endswith("does not translate audio. Models that do: whisper-1.")
    assert upstream.journal == []


def test_B28_a_model_that_this_caller_may_not_use(
    gateway: GatewayProcess, upstream: ScriptedUpstream, whisper_only: str
) -> None:
    key = [("Authorization", whisper_only)]
    answer = post(gateway, form("gpt-transcribe"), headers=key)
    refused(answer, 403, "model_not_allowed", "model")
    assert error_of(answer)["message"].endswith("it may use: whisper-1.")
    unknown = post(gateway, form("whisper-2"), headers=key)
    refused(unknown, 404, "model_not_found", "model")
    assert error_of(unknown)["message"].endswith("Models: whisper-1.")
    assert upstream.journal == []
    assert post(gateway, form("whisper-1"), headers=key).status == 200


def unlinked_files(gateway: GatewayProcess) -> list[str]:
    """The files without a name that the gateway has open beside its ledger."""
    assert gateway.process is not None
    links = []
    for number in Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(number.readlink()))
    return [link for link in links if link.startswith(str(gateway.folder)) and link.endswith("(deleted)")]


@pytest.mark.parametrize("model", ["whisper-1", "no-such-model"])
def test_B27_a_file_before_its_model_is_kept_back_without_a_name(
    gateway: GatewayProcess, upstream: ScriptedUpstream, model: str
) -> None:
    """Larger than what a spool keeps in memory; not a byte goes up before the verdict, and nothing stays."""
    whole = multipart([Part("file", LONG_CLIP, "clip.wav"), Part("model", model.encode()), Part("prompt", b"x")])
    at, before = whole.index(model.encode()), sorted(gateway.folder.iterdir())
    opened = upstream.connections_opened
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([whole[:at]], last=b""))
        wait_for(lambda: unlinked_files(gateway))
        assert sorted(gateway.folder.iterdir()) == before
        assert (upstream.journal, upstream.connections_opened) == ([], opened)
        caller.send(chunked([whole[at:]]))
        answer = caller.read_response()
    if model == "whisper-1":
        assert answer.status == 200
        assert gateway.row(request_id(answer))["state"] == "settled"
        assert [(part.name, part.data) for part in upstream.journal[0].form()][1:] == [
            ("model", b"whisper-1"),
            ("prompt", b"x"),
        ]
        assert upstream.journal[0].file.data == LONG_CLIP
    else:
        refused(answer, 404, "model_not_found", "model")
        assert (upstream.journal, upstream.connections_opened) == ([], opened)
    wait_for(lambda: not unlinked_files(gateway))


# -- names ------------------------------------------------------------------------------------------------------------


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
    ],
)
def test_B31_B32_no_name_of_the_callers_travels(
    gateway: GatewayProcess, upstream: ScriptedUpstream, parameters: str
) -> None:
    """Nor does its type. The log does not know the name either."""
    answer = submit(gateway, file(f'name="file"; {parameters}', "Content-Type: text/marked"))
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
def test_B34_a_strange_name_travels(
    gateway: GatewayProcess, upstream: ScriptedUpstream, name: str, written: str
) -> None:
    assert submit(gateway, field(name) + WHOLE).status == 200
    assert [part.name for part in upstream.journal[0].form()] == [written, "model", "file"]


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7BIT"])
def test_B37_an_encoding_that_changes_nothing(
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
def test_B42_a_strange_value_travels(gateway: GatewayProcess, upstream: ScriptedUpstream, value: bytes) -> None:
    assert submit(gateway, field("prompt", value) + WHOLE).status == 200
    assert upstream.journal[0].form()[0].data == value


# -- caps -------------------------------------------------------------------------------------------------------------


def cpu_seconds(gateway: GatewayProcess) -> float:
    """The processor's time that the gateway has taken so far."""
    assert gateway.process is not None
    fields = Path(f"/proc/{gateway.process.pid}/stat").read_text().rpartition(")")[2].split()
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
def test_B38_a_cap_costs_little(gateway: GatewayProcess, upstream: ScriptedUpstream, body: bytes) -> None:
    """Ten such forms; well below what reading them to their end would take."""
    before = cpu_seconds(gateway)
    for _ in range(10):
        refused(submit(gateway, body), 400, "invalid_multipart")
    assert cpu_seconds(gateway) - before < 2


def test_B38_as_many_parts_and_headers_as_may_be(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    headers = [f"X-{number}: {'x' * 4000}" for number in range(7)]
    assert submit(gateway, field("x") * 253 + part('name="y"', b"1", *headers) + WHOLE).status == 200
    assert len(upstream.journal[0].form()) == 256


# -- refused when the file has begun ----------------------------------------------------------------------------------

STREAMING = multipart(form(), closing=False)
LATE: dict[str, tuple[bytes, str, str | None]] = {
    "B22-no-closing-boundary": (b"", "invalid_multipart", None),
    "B22-an-open-boundary": (b"--test-boundary\r\n", "invalid_multipart", None),
    "B22-half-a-closing-boundary": (b"--test-boundary-", "invalid_multipart", None),
    "B22-another-boundary": (b"--best-boundary--\r\n", "invalid_multipart", None),
    "B22-a-shorter-boundary": (b"--test-bound--\r\n", "invalid_multipart", None),
    "B25-a-second-file": (
        part('name="file"; filename="b.wav"', b"second" * 500) + CLOSING,
        "duplicate_parameter",
        "file",
    ),
    "B25-a-second-file-as-text": (field("file", b"second") + CLOSING, "duplicate_parameter", "file"),
    "B25-a-second-file-in-brackets": (
        part('name="file[]"; filename="b"', b"second") + CLOSING,
        "invalid_field",
        "file[]",
    ),
    "B26-a-second-model": (MODEL + CLOSING, "duplicate_parameter", "model"),
    "B26-a-forbidden-model": (field("model", b"gpt-transcribe") + CLOSING, "duplicate_parameter", "model"),
    "B34-no-name": (part("x=1") + CLOSING, "invalid_multipart", None),
    "B37-base64": (part('name="x"', b"1", "Content-Transfer-Encoding: base64") + CLOSING, "invalid_multipart", None),
    "B38-255-parts-more": (field("x") * 255 + CLOSING, "invalid_multipart", None),
    "B38-4-mib-field": (field("x", b"x" * (4 * 1024 * 1024 + 1)) + CLOSING, "invalid_field", "x"),
    "B40-2-kb-epilogue": (CLOSING + b"x" * 2000, "invalid_multipart", None),
    "B40-5-mb-epilogue": (CLOSING + b"x" * 5_000_000, "invalid_multipart", None),
    "B40-a-large-second-form": (CLOSING + WHOLE, "invalid_multipart", None),
    "B42-not-utf-8": (field("prompt", b"\xff") + CLOSING, "invalid_field", "prompt"),
    "B42-nul": (field("prompt", b"\0") + CLOSING, "invalid_field", "prompt"),
}


@pytest.mark.parametrize(("rest", "code", "param"), LATE.values(), ids=LATE.keys())
def test_a_fault_behind_the_file_ends_the_upload_and_frees_its_hold(
    gateway: GatewayProcess, upstream: ScriptedUpstream, rest: bytes, code: str, param: str | None
) -> None:
    """The upstream has the file by then, and never its end."""
    with connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([STREAMING], last=b""))
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: CLIP[:-40] in exchange.body)
        caller.send(chunked([rest] if rest else []))
        answer = caller.read_response()
    refused(answer, 400, code, param)
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0)
    assert b"second" not in exchange.body
    row = gateway.row(request_id(answer))
    assert (row["state"], row["error"], row["cost_nano_usd"], row["audio_ms"]) == ("released", code, 0, 0)


@pytest.mark.parametrize("behind", [b"", b"x" * 1000, MODEL + part(NAMED_FILE, b"second") + CLOSING])
def test_B40_a_short_epilogue_is_dropped(gateway: GatewayProcess, upstream: ScriptedUpstream, behind: bytes) -> None:
    answer = submit(gateway, WHOLE + behind)
    assert answer.status == 200
    assert gateway.row(request_id(answer))["state"] == "settled"
    assert [(part.name, part.data) for part in upstream.journal[0].form()] == [("model", b"whisper-1"), ("file", CLIP)]


@pytest.mark.parametrize("declared", [False, True], ids=["chunked", "Content-Length"])
@pytest.mark.parametrize("closing", [False, True], ids=["in the file", "before the end of the body"])
@pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset], ids=["close", "reset"])
def test_B24_a_caller_who_goes_away_mid_upload_never_made_a_complete_request(
    gateway: GatewayProcess,
    upstream: ScriptedUpstream,
    declared: bool,
    closing: bool,
    leave: Callable[[RawConnection], None],
) -> None:
    """Also one who sent the closing boundary, but not what ends the body."""
    body = multipart(form(), closing=closing)
    with connect(gateway) as caller:
        if declared:
            caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(len(body) + 1))]) + body)
        else:
            begin(gateway, caller)
            caller.send(chunked([body], last=b""))
        exchange = upstream.wait_for(1)
        upstream.wait_until(lambda: CLIP[:-20] in exchange.body)
        held = held_row(gateway)
        leave(caller)
    upstream.wait_until(lambda: exchange.aborted and upstream.connections_open == 0)
    assert not exchange.complete
    row = gateway.wait_for_row(held["id"], "released")
    assert (row["error"], row["cost_nano_usd"]) == ("client_closed_request", 0)
    assert gateway.wait_for_log(held["id"])["state"] == "released"


def test_B24_a_caller_who_goes_away_before_its_file_is_counted(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    with counts_refusals(gateway, "client_closed_request"), connect(gateway) as caller:
        begin(gateway, caller)
        caller.send(chunked([MODEL], last=b""))
        fence(gateway)
    assert upstream.journal == []


def test_B43_a_body_shorter_than_it_said(hasty: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """All of the form has come, and yet the body is not complete."""
    with connect(hasty) as caller:
        caller.send(post_bytes(hasty, b"", headers=[("Content-Length", str(len(WHOLE) + 100))]) + WHOLE)
        exchange = upstream.wait_for(1)
        answer = refused_and_closed(caller, 408, "request_timeout")
    upstream.wait_until(lambda: exchange.aborted)
    assert not exchange.complete
    assert hasty.wait_for_row(request_id(answer), "released")["cost_nano_usd"] == 0


@pytest.mark.parametrize("missing", [1, 100, 10_000])
def test_B43_a_body_longer_than_it_said(gateway: GatewayProcess, upstream: ScriptedUpstream, missing: int) -> None:
    """What is beyond is the next request, and is none."""
    body = WHOLE.removesuffix(b"\r\n")
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, b"", headers=[("Content-Length", str(len(body) - missing))]) + body)
        refused_and_closed(caller, 400, "invalid_multipart")
    assert [exchange for exchange in upstream.journal if exchange.complete] == []


# -- splits and order -------------------------------------------------------------------------------------------------

SHORT = multipart([*form(audio=SHORT_CLIP + b"\r\n--test-bound\r\n-- \r\r\n"), Part("prompt", b"x\r\n-")])


def test_B45_a_form_is_the_same_for_every_split(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Cut in two at each place, the second half sent when the first may have been read."""
    chunk = [("Transfer-Encoding", "chunked")]
    with connect(gateway) as caller:
        for at in range(1, len(SHORT)):
            caller.send(post_bytes(gateway, chunked([SHORT[:at]], last=b""), headers=chunk))
            caller.send(chunked([SHORT[at:]]))
            assert caller.read_response().status == 200, at
    assert len(upstream.journal) == len(SHORT) - 1
    forms = {tuple((part.name, part.data) for part in exchange.form()) for exchange in upstream.journal}
    expected = (("model", b"whisper-1"), ("file", SHORT_CLIP + b"\r\n--test-bound\r\n-- \r\r\n"), ("prompt", b"x\r\n-"))
    assert forms == {expected}


def test_B45_one_byte_at_a_time_is_the_same_form(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with connect(gateway) as caller:
        begin(gateway, caller)
        for at in range(len(SHORT)):
            caller.send(chunked([SHORT[at : at + 1]], last=b""))
        caller.send(chunked([]))
        assert caller.read_response().status == 200
    assert [part.name for part in upstream.journal[0].form()] == ["model", "file", "prompt"]


@pytest.mark.parametrize(
    "parts",
    list(itertools.permutations([*form(), Part("prompt", b"x")])),
    ids=lambda parts: "-".join(each[0] for each in parts),
)
def test_B45_fields_in_any_order(gateway: GatewayProcess, upstream: ScriptedUpstream, parts: Sequence[Part]) -> None:
    """Those before a file that streams, the file, and those behind it travel as they came."""
    assert post(gateway, parts).status == 200
    sent = [(part.name, part.data) for part in upstream.journal[0].form()]
    assert sent == [(part.name, part.data) for part in parts]
