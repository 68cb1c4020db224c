from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.multipart import (
    MAX_EPILOGUE_BYTES,
    MAX_PART_HEADER_BYTES,
    MAX_PART_HEADERS,
    MAX_PARTS,
    FormWriter,
    MalformedForm,
    MultipartReader,
    PartBegin,
    PartData,
    PartEnd,
    boundary_of,
)
from tests.wire.splits import splits

Part = tuple[str, str | None, bytes]

LONGEST_BOUNDARY = "0123456789abcdefghijklmnopqrstuvwxyz'()+_,-./:=?ABCDEFGHIJKLMNOPQRSTUV"


class Form(NamedTuple):
    body: bytes
    parts: list[Part]
    boundary: str = "b"


def part(disposition: str, data: bytes = b"", *headers: str, boundary: str = "b") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {disposition}", *headers))
    return f"--{boundary}\r\n{head}\r\n".encode() + data + b"\r\n"


BINARY = bytes(range(256)) + b"\r\n--\r\n--a\r\n--b\r\r\n--b-\r\n-- b--\r\r\n\r--b--\n--b--\n\r\n-"

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
        part('name="a"', b"--b--\r\n.--b--") + b"--b--\r\n", [("a", None, b"--b--\r\n.--b--")]
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


def read(boundary: str, pieces: Iterable[bytes]) -> list[Part]:
    """The parts of a form; the order of its events is held to the grammar on the way."""
    reader = MultipartReader(boundary)
    parts: list[Part] = []
    begun: PartBegin | None = None
    data = b""
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, PartBegin):
                assert begun is None
                begun, data = event, b""
                continue
            assert begun is not None
            if isinstance(event, PartData):
                assert event.data, "an event without a byte"
                data += event.data
            else:
                assert isinstance(event, PartEnd)
                parts.append((begun.name, begun.filename, data))
                begun = None
    reader.finish()
    assert begun is None
    return parts


@pytest.mark.parametrize("form", CORPUS.values(), ids=CORPUS.keys())
def test_the_same_parts_for_every_split(form: Form) -> None:
    for pieces in splits(form.body):
        assert read(form.boundary, pieces) == form.parts


@given(st.data())
def test_the_same_parts_for_any_number_of_cuts(data: st.DataObject) -> None:
    form = CORPUS["file with bytes like a boundary"]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(form.body)))))
    pieces = [form.body[start:end] for start, end in zip([0, *cuts], [*cuts, len(form.body)], strict=True)]
    assert read(form.boundary, pieces) == form.parts


def test_data_is_handed_on_as_it_arrives() -> None:
    reader = MultipartReader("b")
    assert reader.feed(part('name="file"; filename="a"', b"abc")[:-2]) == [PartBegin("file", "a"), PartData(b"abc")]
    assert reader.feed(b"def\r") == [PartData(b"def")]
    assert reader.feed(b"\n--") == []
    assert reader.feed(b"x") == [PartData(b"\r\n--"), PartData(b"x")]


def test_a_whole_piece_of_data_is_handed_on_without_a_copy() -> None:
    reader = MultipartReader("b")
    reader.feed(part('name="file"; filename="a"')[:-2])
    piece = bytes(70_000)
    (event,) = reader.feed(piece)
    assert isinstance(event, PartData)
    assert event.data is piece


DISPOSITION = 'Content-Disposition: form-data; name="a"'


def headed(*headers: str | bytes) -> bytes:
    lines = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in headers)
    return b"--b\r\n" + lines + b"\r\n1\r\n--b--\r\n"


FAULTS = {
    "nothing": (b"", "ends before its closing boundary"),
    "cut in a head": (b"--b\r\nContent-Dispo", "ends before its closing boundary"),
    "cut in data": (part('name="a"', b"1"), "ends before its closing boundary"),
    "cut before the second hyphen": (part('name="a"', b"1") + b"--b-", "ends before its closing boundary"),
    "another boundary": (part('name="a"', boundary="c") + b"--c--\r\n", "boundary"),
    "closing mark of a longer boundary": (part('name="a"', b"1") + b"--bc--\r\n", "ends before its closing boundary"),
    "preamble": (b"Hello\r\n" + part('name="a"') + b"--b--\r\n", "does not begin with its boundary"),
    "preamble of a line's end": (b"\r\n" + part('name="a"') + b"--b--\r\n", "does not begin with its boundary"),
    "preamble of hyphens": (b"----\r\n" + part('name="a"') + b"--b--\r\n", "boundary"),
    "blanks behind the first boundary": (b"--b \r\n" + part('name="a"')[5:] + b"--b--\r\n", "boundary"),
    "blanks behind a boundary": (
        part('name="a"') + b"--b \r\n" + part('name="b"')[5:] + b"--b--\r\n",
        "blanks follow a boundary",
    ),
    "tabs behind a boundary": (part('name="a"') + b"--b\t\t\t", "blanks follow a boundary"),
    "long epilogue": (
        part('name="a"') + b"--b--\r\n" + b"x" * (MAX_EPILOGUE_BYTES - 1),
        f"more than {MAX_EPILOGUE_BYTES} bytes follow",
    ),
    "one part too many": (part("name=a") * (MAX_PARTS + 1) + b"--b--", f"more than {MAX_PARTS} parts"),
    "lines that end in LF": (
        part('name="a"', b"1").replace(b"\r\n", b"\n") + b"--b--\n",
        "did not find cr at end of boundary",
    ),
    "lines that end in CR": (part('name="a"', b"1").replace(b"\r\n", b"\r") + b"--b--\r", "did not find lf"),
    "header that ends in LF": (b"--b\r\n" + DISPOSITION.encode() + b"\n\r\n1\r\n--b--\r\n", "control character"),
    "header that ends in CR": (b"--b\r\n" + DISPOSITION.encode() + b"\r\r\n1\r\n--b--\r\n", "did not find lf"),
    "boundaries that follow LF": (b"--b\r\n" + DISPOSITION.encode() + b"\r\n\r\n1\n--b--\n", "ends before its closing"),
    "boundaries that follow CR": (b"--b\r\n" + DISPOSITION.encode() + b"\r\n\r\n1\r--b--\r", "ends before its closing"),
    "no header": (b"--b\r\n\r\n1\r\n--b--\r\n", "not exactly one Content-Disposition"),
    "no disposition": (headed("Content-Type: text/plain"), "not exactly one Content-Disposition"),
    "two dispositions": (headed(DISPOSITION, DISPOSITION), "not exactly one Content-Disposition"),
    "another disposition": (headed('Content-Disposition: attachment; name="a"'), "not form-data"),
    "a longer disposition": (headed('Content-Disposition: form-database; name="a"'), "cannot be read"),
    "no name": (headed("Content-Disposition: form-data"), "no name"),
    "extended name alone": (headed("Content-Disposition: form-data; name*=UTF-8''a"), "no name"),
    "name twice": (headed(f'{DISPOSITION}; name="b"'), "'name' twice"),
    "name twice in another case": (headed(f'{DISPOSITION}; NAME="b"'), "'name' twice"),
    "filename twice": (headed(f"{DISPOSITION}; filename=x; filename=y"), "'filename' twice"),
    "name in pieces": (headed("Content-Disposition: form-data; name*0=a; name*1=b"), "'name*0' twice or in pieces"),
    "encoded name in pieces": (headed("Content-Disposition: form-data; name*0*=a"), "in pieces"),
    "quotes without an end": (headed('Content-Disposition: form-data; name="a'), "cannot be read"),
    "words behind a value": (headed(f"{DISPOSITION} x"), "cannot be read"),
    "two semicolons": (headed('Content-Disposition: form-data;; name="a"'), "cannot be read"),
    "base64": (headed(DISPOSITION, "Content-Transfer-Encoding: base64"), "Content-Transfer-Encoding"),
    "quoted-printable": (
        headed(DISPOSITION, "Content-Transfer-Encoding: Quoted-Printable"),
        "Content-Transfer-Encoding",
    ),
    "base64 behind binary": (
        headed(DISPOSITION, "Content-Transfer-Encoding: binary", "Content-Transfer-Encoding: base64"),
        "Content-Transfer-Encoding",
    ),
    "NUL in a filename": (headed(f'{DISPOSITION}; filename="a\0.mp3"'), "control character"),
    "LF in a filename": (headed(f'{DISPOSITION}; filename="a\n.mp3"'), "control character"),
    "CR in a filename": (headed(f'{DISPOSITION}; filename="a\r.mp3"'), "did not find lf"),
    "DEL in a name": (headed('Content-Disposition: form-data; name="a\x7f"'), "control character"),
    "folded header": (headed("Content-Disposition: form-data;", ' name="a"'), "invalid character"),
    "blank before the colon": (headed('Content-Disposition : form-data; name="a"'), "invalid character"),
    "header without a name": (headed(DISPOSITION, ": x"), "0-length header"),
    "header without a colon": (headed(DISPOSITION, "x"), "invalid character"),
    "Latin-1 in a name": (headed(b'Content-Disposition: form-data; name="\xe9"'), "not UTF-8"),
    "overlong UTF-8 in a name": (headed(b'Content-Disposition: form-data; name="\xc0\xaf"'), "not UTF-8"),
    "a surrogate in a name": (headed(b'Content-Disposition: form-data; name="\xed\xa0\x80"'), "not UTF-8"),
    "one header too many": (
        headed(DISPOSITION, *(f"x-{number}: y" for number in range(MAX_PART_HEADERS))),
        "maximum header count exceeded",
    ),
    "long header": (headed(DISPOSITION, "x:" + "y" * (MAX_PART_HEADER_BYTES - 1)), "maximum header size exceeded"),
    "long name of a header": (headed(DISPOSITION, "x" * MAX_PART_HEADER_BYTES + ":"), "maximum header size exceeded"),
    "long filename": (headed(f'{DISPOSITION}; filename="{"x" * 10_000}"'), "maximum header size exceeded"),
}


@pytest.mark.parametrize(("body", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_refused_with_the_same_words_for_every_split(body: bytes, reason: str) -> None:
    words = set()
    for pieces in splits(body):
        with pytest.raises(MalformedForm) as caught:
            read("b", pieces)
        words.add(str(caught.value))
    assert len(words) == 1
    assert reason in words.pop()


def test_ten_thousand_parts_are_refused_at_the_cap() -> None:
    body = part("name=a") * 10_000 + b"--b--\r\n"
    needed = part("name=a") * (MAX_PARTS + 1)
    with pytest.raises(MalformedForm, match="parts"):
        MultipartReader("b").feed(body)
    with pytest.raises(MalformedForm, match="parts"):
        MultipartReader("b").feed(needed)


def test_an_endless_header_is_refused_at_the_cap() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b\r\nx:" + b"y" * (MAX_PART_HEADER_BYTES - 2))
    with pytest.raises(MalformedForm, match="header size"):
        reader.feed(b"y")


@pytest.mark.parametrize("epilogue", [b"x" * 5_000_000, b"\r\n--b\r\n" * 700_000], ids=["bytes", "boundaries"])
def test_an_endless_epilogue_is_refused(epilogue: bytes) -> None:
    with pytest.raises(MalformedForm, match="follow its closing boundary"):
        MultipartReader("b").feed(part('name="a"') + b"--b--" + epilogue)


def test_what_follows_the_end_counts_from_its_first_byte() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b--" + b"x" * MAX_EPILOGUE_BYTES)
    reader.finish()
    with pytest.raises(MalformedForm):
        reader.feed(b"x")


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_read_or_refused_however_they_are_cut(pieces: list[bytes]) -> None:
    body = b"".join([b"--b\r\n", *pieces])
    try:
        parts = read("b", [b"--b\r\n", *pieces])
    except MalformedForm:
        with pytest.raises(MalformedForm):
            read("b", [body])
    else:
        assert read("b", [body]) == parts


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"'), max_size=20)


@given(
    fields=st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=4),
    audio=st.binary(max_size=300),
    cut=st.integers(0, 300),
)
def test_what_the_writer_writes_the_reader_reads(fields: list[tuple[str, bytes]], audio: bytes, cut: int) -> None:
    writer = FormWriter("0123456789abcdef")
    body = b"".join(writer.field(name, value) for name, value in fields)
    body += writer.file_head("audio.wav", "audio/wav") + audio + writer.file_end()
    expected: list[Part] = [(name, None, value) for name, value in fields]
    pieces = [body[:cut], body[cut:], writer.close()]
    assert read(boundary_of(writer.content_type), pieces) == [*expected, ("file", "audio.wav", audio)]


def test_the_writer_leaves_no_quote_in_a_name() -> None:
    assert b'name="a%22; filename=%22b"\r\n' in FormWriter("b").field('a"; filename="b', b"")


@given(NAMES)
def test_a_name_that_ends_in_a_backslash_does_not_swallow_its_quote(name: str) -> None:
    body = FormWriter("b").field(name + "\\", b"1") + b"--b--"
    assert read("b", [body]) == [(name + "\\", None, b"1")]


def test_without_the_writers_close_a_form_is_not_complete() -> None:
    writer = FormWriter("b")
    with pytest.raises(MalformedForm):
        read("b", [writer.field("a", b"1") + writer.file_head("a.wav", "audio/wav") + writer.file_end()])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; boundary="abc"', "abc"),
        ('Multipart/Form-Data ; charset=utf-8 ; BOUNDARY="a b:c=?"', "a b:c=?"),
        (
            "multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW;",
            "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
        (f'multipart/form-data; boundary="{LONGEST_BOUNDARY}"', LONGEST_BOUNDARY),
        ("multipart/form-data; boundary*=UTF-8''x; boundary=abc", "abc"),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; charset=utf-8",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; BOUNDARY=a",
        "multipart/form-data; boundary*0=a; boundary*1=b",
        "multipart/form-data; boundary*=UTF-8''a",
        f'multipart/form-data; boundary="{LONGEST_BOUNDARY}x"',
        f"multipart/form-data; boundary={'a' * 71}",
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="a@b"',
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="a\r\nb"',
        'multipart/form-data; boundary="ä"',
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a/b",
        "multipart/form-data, boundary=a",
    ],
)
def test_a_content_type_without_one_good_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedForm):
        boundary_of(content_type)
