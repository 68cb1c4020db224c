"""Forms: valid ones with their parts, and malformed ones with words of their error message."""

from typing import NamedTuple

from app.wire.multipart import (
    MAX_EPILOGUE_BYTES,
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
    MAX_PARTS,
    MAX_PREAMBLE_BYTES,
)

Part = tuple[str, str | None, bytes]

LONGEST_BOUNDARY = "0123456789abcdefghijklmnopqrstuvwxyz'()+_,-./:=?ABCDEFGHIJKLMNOPQRSTUV"


class Form(NamedTuple):
    body: bytes
    parts: list[Part]
    boundary: str = "b"


def part(disposition: str, data: bytes = b"", *headers: str, boundary: str = "b") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {disposition}", *headers))
    return f"--{boundary}\r\n{head}\r\n".encode() + data + b"\r\n"


# With a delimiter inside of its lines, and lines that begin almost like one.
BINARY = bytes(range(256)) + b"\r\n--\r\n--a\r\n--B\r\r\n-b-\r\n-- b--\r\r\n\r --b--\n.--b--\r\n.--b\r\n\r\n-"

CORPUS = {
    "no part": Form(b"--b--\r\n", []),
    "no part and nothing behind": Form(b"--b--", []),
    "one field": Form(part('name="model"', b"whisper-1") + b"--b--\r\n", [("model", None, b"whisper-1")]),
    "several fields, one of them repeated": Form(
        part('name="a"', b"1") + part('name="b"', b"2") + part('name="a"', b"3") + b"--b--\r\n",
        [("a", None, b"1"), ("b", None, b"2"), ("a", None, b"3")],
    ),
    "file with bytes like a boundary": Form(
        part('name="file"; filename="a.wav"', BINARY, "Content-Type: audio/wav") + b"--b--\r\n",
        [("file", "a.wav", BINARY)],
    ),
    "data that ends like a boundary begins": Form(
        part('name="a"', b"x\r\n--") + part('name="b"', b"\r\n\r\n-") + b"--b--\r\n",
        [("a", None, b"x\r\n--"), ("b", None, b"\r\n\r\n-")],
    ),
    "empty parts": Form(
        part('name="a"') + part('name="f"; filename=""') + part('name="c"') + b"--b--\r\n",
        [("a", None, b""), ("f", "", b""), ("c", None, b"")],
    ),
    "closing mark inside of a line": Form(
        part('name="a"', b".--b--\r\n.--b--") + b"--b--\r\n", [("a", None, b".--b--\r\n.--b--")]
    ),
    "hyphens as boundary": Form(
        b"-----\r\nContent-Disposition: form-data; name=a\r\n\r\n---\r\n-\r\n-------\r\n",
        [("a", None, b"---\r\n-")],
        "---",
    ),
    "longest boundary": Form(
        part('name="a"', b"1", boundary=LONGEST_BOUNDARY) + f"--{LONGEST_BOUNDARY}--".encode(),
        [("a", None, b"1")],
        LONGEST_BOUNDARY,
    ),
    "boundary with a blank inside": Form(
        part('name="a"', b"1\r\n--b", boundary="b c") + b"--b c--\r\n", [("a", None, b"1\r\n--b")], "b c"
    ),
    "quoted pairs in a name": Form(
        part(r'name="a\"b\\"; filename="C:\x\y.mp3"') + b"--b--\r\n", [('a"b\\', r"C:\x\y.mp3", b"")]
    ),
    "names beyond ASCII": Form(
        part('name="größe"; filename="\N{SPEAKER}\N{RIGHT-TO-LEFT OVERRIDE}.mp3"', b"1") + b"--b--\r\n",
        [("größe", "\N{SPEAKER}\N{RIGHT-TO-LEFT OVERRIDE}.mp3", b"1")],
    ),
    "unquoted values, blanks and odd case": Form(
        b"--b\r\ncontent-DISPOSITION:   Form-Data ; NAME=a ;  FileName=b.mp3 ; x=1;\r\n\r\n1\r\n--b--\r\n",
        [("a", "b.mp3", b"1")],
    ),
    "extended filename beside the plain one": Form(
        part('name="file"; filename*=UTF-8\'\'x.exe; filename="a.mp3"', b"1") + b"--b--\r\n",
        [("file", "a.mp3", b"1")],
    ),
    "extended filename alone": Form(
        part("name=\"file\"; filename*=UTF-8''na%C3%AFve.mp3", b"1") + b"--b--\r\n",
        [("file", "UTF-8''na%C3%AFve.mp3", b"1")],
    ),
    "control characters in a filename": Form(
        part('name="file"; filename="a\t\x01\x1b[0m\x7f.mp3"', b"1") + b"--b--\r\n",
        [("file", "a\t\x01\x1b[0m\x7f.mp3", b"1")],
    ),
    "control characters in a header that is not used": Form(
        part('name="a"', b"1", "X-A: \x01\t") + b"--b--\r\n", [("a", None, b"1")]
    ),
    "Latin-1 in a filename": Form(
        part('name="file"; filename="#.mp3"', b"1").replace(b"#", b"\xe9\xff") + b"--b--\r\n",
        [("file", "\udce9\udcff.mp3", b"1")],
    ),
    "preamble of a line's end": Form(b"\r\n" + part('name="a"', b"1") + b"--b--\r\n", [("a", None, b"1")]),
    "preamble of hyphens": Form(b"----\r\n" + part('name="a"', b"1") + b"--b--\r\n", [("a", None, b"1")]),
    "preamble as long as may be": Form(
        b"\n" * MAX_PREAMBLE_BYTES + b"\r\n" + part('name="a"', b"1") + b"--b--\r\n", [("a", None, b"1")]
    ),
    "encodings that change nothing": Form(
        part('name="a"', b"=41", "Content-Transfer-Encoding: Binary", "Content-Transfer-Encoding: 8bit") + b"--b--\r\n",
        [("a", None, b"=41")],
    ),
    "as many headers as may be, one of them as long as may be": Form(
        part(
            'name="a"',
            b"1",
            *(f"x-{number}: y" for number in range(MAX_PART_HEADERS - 2)),
            "x:" + "y" * (MAX_PART_HEADER_BYTES - 2),
        )
        + b"--b--\r\n",
        [("a", None, b"1")],
    ),
    "as many parts as may be": Form(
        part("name=a") * MAX_PARTS + b"--b--\r\n",
        [("a", None, b"")] * MAX_PARTS,
    ),
    "epilogue": Form(
        part('name="a"', b"1") + b"--b--\r\n" + b"x" * (MAX_EPILOGUE_BYTES - 2),
        [("a", None, b"1")],
    ),
    "second form behind the end": Form(
        part('name="a"', b"1") + b"--b--\r\n" + part('name="a"', b"2") + b"--b \r\n\r\n--b--\r\n", [("a", None, b"1")]
    ),
}


DISPOSITION = 'Content-Disposition: form-data; name="a"'


def headed(*headers: str | bytes) -> bytes:
    lines = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in headers)
    return b"--b\r\n" + lines + b"\r\n1\r\n--b--\r\n"


FAULTS = {
    "nothing": (b"", "ends before its closing boundary"),
    "cut in a head": (b"--b\r\nContent-Dispo", "ends before its closing boundary"),
    "cut in data": (part('name="a"', b"1"), "ends before its closing boundary"),
    "cut before the second hyphen": (part('name="a"', b"1") + b"--b-", "ends before its closing boundary"),
    "another boundary": (part('name="a"', boundary="c") + b"--c--\r\n", "does not begin with the boundary"),
    "closing mark of a longer boundary": (part('name="a"', b"1") + b"--bc--\r\n", "not a delimiter"),
    "boundary and more in a line": (part('name="a"', b"1\r\n--b-1") + b"--b--\r\n", "not a delimiter"),
    "boundary and a lone CR": (part('name="a"', b"1\r\n--b\r\r\n") + b"--b--\r\n", "not a delimiter"),
    "boundary that follows a lone LF": (part('name="a"', b"1\n--b\r\n") + b"--b--\r\n", "not a delimiter"),
    "boundary that follows a lone CR": (part('name="a"', b"1\r--b\r\n") + b"--b--\r\n", "not a delimiter"),
    "boundary that follows a head": (part('name="a"', b"--b\r\n\r\n1") + b"--b--\r\n", "not a delimiter"),
    "closing boundary that follows a head": (part('name="a"')[:-2] + b"--b--\r\n", "not a delimiter"),
    "long preamble": (
        b"x" * (MAX_PREAMBLE_BYTES + 1) + b"\r\n" + part('name="a"') + b"--b--\r\n",
        "does not begin with the boundary",
    ),
    "preamble without an end": (b"x" * 3_000, "does not begin with the boundary"),
    "preamble that ends in LF": (b"Hello\n" + part('name="a"') + b"--b--\r\n", "not a delimiter"),
    "preamble that ends in nothing": (b"Hello" + part('name="a"') + b"--b--\r\n", "not a delimiter"),
    "preamble of one byte": (b"\n" + part('name="a"') + b"--b--\r\n", "not a delimiter"),
    "preamble with the boundary in it": (b".--b\r\n" + part('name="a"') + b"--b--\r\n", "not a delimiter"),
    "blanks behind the first boundary": (b"--b \r\n" + part('name="a"')[5:] + b"--b--\r\n", "boundary"),
    "blanks behind a boundary": (
        part('name="a"') + b"--b \r\n" + part('name="b"')[5:] + b"--b--\r\n",
        "not a delimiter",
    ),
    "tabs behind a boundary": (part('name="a"') + b"--b\t\t\t", "not a delimiter"),
    "long epilogue": (
        part('name="a"') + b"--b--\r\n" + b"x" * (MAX_EPILOGUE_BYTES - 1),
        f"more than {MAX_EPILOGUE_BYTES} bytes follow",
    ),
    "one part too many": (part("name=a") * (MAX_PARTS + 1) + b"--b--", f"more than {MAX_PARTS} parts"),
    "lines that end in LF": (
        part('name="a"', b"1").replace(b"\r\n", b"\n") + b"--b--\n",
        "not a delimiter",
    ),
    "lines that end in CR": (part('name="a"', b"1").replace(b"\r\n", b"\r") + b"--b--\r", "not a delimiter"),
    "header that ends in LF": (b"--b\r\n" + DISPOSITION.encode() + b"\n\r\n1\r\n--b--\r\n", "line break or a NUL"),
    "header that ends in CR": (b"--b\r\n" + DISPOSITION.encode() + b"\r\r\n1\r\n--b--\r\n", "line break or a NUL"),
    "boundaries that follow LF": (b"--b\r\n" + DISPOSITION.encode() + b"\r\n\r\n1\n--b--\n", "not a delimiter"),
    "boundaries that follow CR": (b"--b\r\n" + DISPOSITION.encode() + b"\r\n\r\n1\r--b--\r", "not a delimiter"),
    "no header": (b"--b\r\n\r\n1\r\n--b--\r\n", "not have exactly one"),
    "no disposition": (headed("Content-Type: text/plain"), "not have exactly one"),
    "two dispositions": (headed(DISPOSITION, DISPOSITION), "not have exactly one"),
    "another disposition": (headed('Content-Disposition: attachment; name="a"'), "not form-data"),
    "a longer disposition": (headed('Content-Disposition: form-database; name="a"'), "parameters are invalid"),
    "no name": (headed("Content-Disposition: form-data"), "no name"),
    "extended name alone": (headed("Content-Disposition: form-data; name*=UTF-8''a"), "'name*'"),
    "extended name beside the plain one": (headed(f"{DISPOSITION}; name*=UTF-8''b"), "'name*'"),
    "extended filename twice": (headed(f"{DISPOSITION}; filename*=UTF-8''b; filename*=x"), "'filename*' twice"),
    "name twice": (headed(f'{DISPOSITION}; name="b"'), "'name' twice"),
    "name twice in another case": (headed(f'{DISPOSITION}; NAME="b"'), "'name' twice"),
    "filename twice": (headed(f"{DISPOSITION}; filename=x; filename=y"), "'filename' twice"),
    "name in pieces": (headed("Content-Disposition: form-data; name*0=a; name*1=b"), "'name*0'"),
    "encoded name in pieces": (headed("Content-Disposition: form-data; name*0*=a"), "'name*0*'"),
    "backslash in a name": (headed(r'Content-Disposition: form-data; name="mod\el"'), "has a backslash that"),
    "quotes without an end": (headed('Content-Disposition: form-data; name="a'), "parameters are invalid"),
    "words behind a value": (headed(f"{DISPOSITION} x"), "parameters are invalid"),
    "two semicolons": (headed('Content-Disposition: form-data;; name="a"'), "parameters are invalid"),
    "base64": (headed(DISPOSITION, "Content-Transfer-Encoding: base64"), "Content-Transfer-Encoding"),
    "quoted-printable": (
        headed(DISPOSITION, "Content-Transfer-Encoding: Quoted-Printable"),
        "Content-Transfer-Encoding",
    ),
    "base64 behind binary": (
        headed(DISPOSITION, "Content-Transfer-Encoding: binary", "Content-Transfer-Encoding: base64"),
        "Content-Transfer-Encoding",
    ),
    "NUL in a filename": (headed(f'{DISPOSITION}; filename="a\0.mp3"'), "line break or a NUL"),
    "LF in a filename": (headed(f'{DISPOSITION}; filename="a\n.mp3"'), "line break or a NUL"),
    "CR in a filename": (headed(f'{DISPOSITION}; filename="a\r.mp3"'), "line break or a NUL"),
    "DEL in a name": (headed('Content-Disposition: form-data; name="a\x7f"'), "control character"),
    "folded header": (headed("Content-Disposition: form-data;", ' name="a"'), "begin with a name"),
    "blank before the colon": (headed('Content-Disposition : form-data; name="a"'), "begin with a name"),
    "header of odd letters": (headed(DISPOSITION, "x!y: z"), "begin with a name"),
    "header without a name": (headed(DISPOSITION, ": x"), "begin with a name"),
    "header without a colon": (headed(DISPOSITION, "x"), "begin with a name"),
    "Latin-1 in a name": (headed(b'Content-Disposition: form-data; name="\xe9"'), "not UTF-8"),
    "overlong UTF-8 in a name": (headed(b'Content-Disposition: form-data; name="\xc0\xaf"'), "not UTF-8"),
    "a surrogate in a name": (headed(b'Content-Disposition: form-data; name="\xed\xa0\x80"'), "not UTF-8"),
    "one header too many": (
        headed(DISPOSITION, *(f"x-{number}: y" for number in range(MAX_PART_HEADERS))),
        f"more than {MAX_PART_HEADERS} headers",
    ),
    "long header": (headed(DISPOSITION, "x:" + "y" * (MAX_PART_HEADER_BYTES - 1)), "header is longer than"),
    "long name of a header": (headed(DISPOSITION, "x" * MAX_PART_HEADER_BYTES + ":"), "header is longer than"),
    "long filename": (headed(f'{DISPOSITION}; filename="{"x" * 10_000}"'), "header is longer than"),
}
