"""Invalid forms by the rows of the catalogue that they cover, and the functions that build them."""

from tests.behaviour.caller import CLIP, CLOSING, connect, post_bytes
from tests.stubs.gateway import GatewayProcess
from tests.stubs.raw import Headers, RawResponse

SHORT_CLIP = CLIP[:144]


def part(disposition: str | bytes, data: bytes = b"1", *headers: str | bytes) -> bytes:
    """A part with `Content-Disposition: form-data;` and this."""
    lines = [line.encode() if isinstance(line, str) else line for line in (disposition, *headers)]
    return b"--test-boundary\r\nContent-Disposition: form-data; " + b"\r\n".join(lines) + b"\r\n\r\n" + data + b"\r\n"


MODEL = part('name="model"', b"whisper-1")
FILE = part('name="file"; filename="clip.wav"', CLIP)
WHOLE = MODEL + FILE + CLOSING


def field(name: str | bytes, value: bytes = b"1") -> bytes:
    return part(b'name="%b"' % (name.encode() if isinstance(name, str) else name), value)


def file(parameters: str | bytes, *headers: str | bytes) -> bytes:
    """A form whose file has these parameters after `form-data;`."""
    return MODEL + part(parameters, CLIP, *headers) + CLOSING


def headed(*lines: bytes) -> bytes:
    """A form whose first part has exactly these headers."""
    return b"--test-boundary\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n1\r\n" + WHOLE


def submit(gateway: GatewayProcess, body: bytes, headers: Headers = ()) -> RawResponse:
    """Sends a body with its length; returns the response."""
    with connect(gateway) as caller:
        caller.send(post_bytes(gateway, body, headers=[*headers, ("Content-Length", str(len(body)))]))
        return caller.read_response()


DISPOSITION = b'Content-Disposition: form-data; name="prompt"'
NAMED_FILE = 'name="file"; filename="a.wav"'

MALFORMED: dict[str, bytes] = {
    "B22-no-bytes": b"",
    "B22-cut-in-a-head": WHOLE[:40],
    "B22-cut-in-a-field": MODEL[:-5],
    "B32-nul": file(b'name="file"; filename="a\0.wav"'),
    "B32-cr": file(b'name="file"; filename="a\r.wav"'),
    "B32-lf": file(b'name="file"; filename="a\n.wav"'),
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
    "B38-1001-parts": field("x") * 999 + WHOLE,
    "B38-10000-parts": field("x") * 10_000 + WHOLE,
    "B38-9-headers": headed(DISPOSITION, *(b"X-%d: 1" % number for number in range(8))),
    "B38-1-mb-header": headed(DISPOSITION, b"X: " + b"x" * 1_000_000),
    "B38-1-mb-header-name": headed(DISPOSITION, b"x" * 1_000_000 + b": 1"),
    "B40-long-preamble": b"x" * 1025 + b"\r\n" + WHOLE,
    "B40-preamble-lf": b"\n" + WHOLE,
    "B40-preamble-blank": b" " + WHOLE,
    "B40-preamble-with-the-boundary": b".--test-boundary\r\n" + WHOLE,
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
    "B29-file-with-brackets": (file('name="file[]"; filename="a.wav"'), 400, "invalid_field", "file[]"),
    "B29-file-in-capitals": (file('name="FILE"; filename="a.wav"'), 400, "invalid_field", "FILE"),
    "B29-another-file-beside": (
        MODEL + part('name="image"; filename="x.png"') + FILE + CLOSING,
        400,
        "invalid_field",
        "image",
    ),
    "B29-another-file-by-an-extended-name": (
        MODEL + part("name=\"image\"; filename*=UTF-8''x.png") + FILE + CLOSING,
        400,
        "invalid_field",
        "image",
    ),
    "B29-a-path-in-place-of-a-file": (
        MODEL + part('name="file"', b"/srv/audio/clip.wav") + CLOSING,
        400,
        "invalid_file_format",
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

# What stands behind a file that has begun.
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
    "B38-999-parts-more": (field("x") * 999 + CLOSING, "invalid_multipart", None),
    "B38-4-mib-field": (field("x", b"x" * (4 * 1024 * 1024 + 1)) + CLOSING, "invalid_field", "x"),
    "B40-2-kb-epilogue": (CLOSING + b"x" * 2000, "invalid_multipart", None),
    "B40-5-mb-epilogue": (CLOSING + b"x" * 5_000_000, "invalid_multipart", None),
    "B40-a-large-second-form": (CLOSING + WHOLE, "invalid_multipart", None),
    "B42-not-utf-8": (field("prompt", b"\xff") + CLOSING, "invalid_field", "prompt"),
    "B42-nul": (field("prompt", b"\0") + CLOSING, "invalid_field", "prompt"),
}
