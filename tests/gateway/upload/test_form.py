from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import APIError
from app.gateway.upload.form import MAX_FIELD_BYTES, MAX_FIELDS_BYTES, MAX_NAME_CHARACTERS, Field, FileBegin, FormReader
from app.policy.quota import Quota, QuotaShare
from app.wire.multipart import MAX_PARTS, FormWriter
from tests.stubs.form import Part, multipart
from tests.wire.splits import splits

BOUNDARY = "b"
MAX_FILE_BYTES = 100
FILE = Part("file", b"RIFF", "a.wav", "audio/wav")
MODEL = Part("model", b"whisper-1")


def form(*parts: Part) -> bytes:
    return multipart(parts, BOUNDARY)


def reader_of(boundary: str) -> FormReader:
    return FormReader(boundary, MAX_FILE_BYTES, QuotaShare(Quota(1 << 30, ""), "team"))


def read(pieces: Iterable[bytes]) -> list[Field | FileBegin | bytes]:
    """The items of a form, the file's bytes in one."""
    reader = reader_of(BOUNDARY)
    items: list[Field | FileBegin | bytes] = []
    for piece in pieces:
        for item in reader.feed(piece):
            before = items[-1] if items else None
            if isinstance(item, bytes) and isinstance(before, bytes):
                items[-1] = before + item
            else:
                items.append(item)
    reader.finish()
    return items


def refused(pieces: Iterable[bytes]) -> APIError:
    with pytest.raises(APIError) as caught:
        read(pieces)
    return caught.value


FORMS = {
    "model, then file": ((MODEL, FILE), [Field("model", b"whisper-1"), FileBegin(), b"RIFF"]),
    "file, then model": ((FILE, MODEL), [FileBegin(), b"RIFF", Field("model", b"whisper-1")]),
    "fields repeated and unknown": (
        (Part("include[]", b"a"), FILE, Part("x-new", b"\xc3\xa4"), Part("include[]", b"b"), Part("x-new", b"")),
        [
            Field("include[]", b"a"),
            FileBegin(),
            b"RIFF",
            Field("x-new", b"\xc3\xa4"),
            Field("include[]", b"b"),
            Field("x-new", b""),
        ],
    ),
    "empty file": ((Part("file", b"", "a.wav"),), [FileBegin()]),
    "file of the largest size": ((Part("file", b"x" * MAX_FILE_BYTES, "a.wav"),), [FileBegin(), b"x" * MAX_FILE_BYTES]),
    "prompt of several lines": (
        (Part("prompt", b"a\r\n\tb\n"), FILE),
        [Field("prompt", b"a\r\n\tb\n"), FileBegin(), b"RIFF"],
    ),
    "strange filenames": ((Part("file", b"1", r"..\\..\"/\N{SPEAKER}"),), [FileBegin(), b"1"]),
    "a filename of another kind beside it": (
        (
            Part(
                "file",
                b"1",
                headers=(("Content-Disposition", "form-data; name=file; filename=a.mp3; filename*=UTF-8''x.exe"),),
            ),
        ),
        [FileBegin(), b"1"],
    ),
    "file with an extended filename alone": (
        (Part("file", b"1", headers=(("Content-Disposition", "form-data; name=file; filename*=UTF-8''x"),)),),
        [FileBegin(), b"1"],
    ),
    "file without a filename": ((MODEL, Part("file", b"RIFF")), [Field("model", b"whisper-1"), FileBegin(), b"RIFF"]),
    "file with an empty filename": ((Part("file", b"RIFF", ""),), [FileBegin(), b"RIFF"]),
    "as many parts as may be": (
        (*[Part("a", b"")] * (MAX_PARTS - 1), FILE),
        [*[Field("a", b"")] * (MAX_PARTS - 1), FileBegin(), b"RIFF"],
    ),
    "longest name": ((Part("n" * MAX_NAME_CHARACTERS, b"1"), FILE), [Field("n" * 256, b"1"), FileBegin(), b"RIFF"]),
    "names that are known ones in another case": (
        (Part("File", b"1"), Part("MODEL", b"2"), FILE),
        [Field("File", b"1"), Field("MODEL", b"2"), FileBegin(), b"RIFF"],
    ),
}


@pytest.mark.parametrize(("parts", "items"), FORMS.values(), ids=FORMS.keys())
def test_the_same_items_for_every_split(parts: tuple[Part, ...], items: list[Field | FileBegin | bytes]) -> None:
    for pieces in splits(form(*parts)):
        assert read(pieces) == items


def headed(*lines: str) -> Part:
    """A part with these headers."""
    return Part("", b"1", headers=tuple((name, value) for name, _, value in (line.partition(": ") for line in lines)))


DISPOSITION = 'Content-Disposition: form-data; name="prompt"'

FAULTS: dict[str, tuple[bytes, int, str, str | None]] = {
    "no closing boundary": (multipart((MODEL, FILE), BOUNDARY, closing=False), 400, "invalid_multipart", None),
    "another boundary": (multipart((MODEL, FILE), "c"), 400, "invalid_multipart", None),
    "empty body": (b"", 400, "invalid_multipart", None),
    "file twice": (form(MODEL, FILE, FILE), 400, "duplicate_parameter", "file"),
    "file twice, the first without a filename": (
        form(Part("file", b"1"), FILE),
        400,
        "duplicate_parameter",
        "file",
    ),
    "model twice": (form(MODEL, MODEL, FILE), 400, "duplicate_parameter", "model"),
    "model twice, around the file": (form(MODEL, FILE, MODEL), 400, "duplicate_parameter", "model"),
    "no file": (form(MODEL), 400, "missing_required_parameter", "file"),
    "no part": (form(), 400, "missing_required_parameter", "file"),
    "another field with an extended filename alone": (
        form(headed("Content-Disposition: form-data; name=a; filename*=UTF-8''x"), FILE),
        400,
        "invalid_field",
        "a",
    ),
    "model as a file": (form(Part("model", b"whisper-1", "m.txt"), FILE), 400, "invalid_field", "model"),
    "another field as a file": (form(FILE, Part("file2", b"RIFF", "a.wav")), 400, "invalid_field", "file2"),
    "filename with NUL": (form(Part("file", b"1", "a\0.mp3")), 400, "invalid_multipart", None),
    "filename with LF": (form(Part("file", b"1", "a\n.mp3")), 400, "invalid_multipart", None),
    "filename with CR": (form(Part("file", b"1", "a\r.mp3")), 400, "invalid_multipart", None),
    "filename of 10 KB": (form(Part("file", b"1", "a" * 10_000)), 400, "invalid_multipart", None),
    "two dispositions": (form(headed(DISPOSITION, DISPOSITION), FILE), 400, "invalid_multipart", None),
    "no disposition": (form(headed("Content-Type: text/plain"), FILE), 400, "invalid_multipart", None),
    "name in pieces": (form(headed("Content-Disposition: form-data; name*0=a"), FILE), 400, "invalid_multipart", None),
    "name twice": (form(headed(f'{DISPOSITION}; name="a"'), FILE), 400, "invalid_multipart", None),
    "empty name": (form(Part("", b"1"), FILE), 400, "invalid_multipart", None),
    "long name": (form(Part("n" * (MAX_NAME_CHARACTERS + 1), b"1"), FILE), 400, "invalid_multipart", None),
    "base64": (form(headed(DISPOSITION, "Content-Transfer-Encoding: base64"), FILE), 400, "invalid_multipart", None),
    "quoted-printable": (
        form(headed(DISPOSITION, "Content-Transfer-Encoding: quoted-printable"), FILE),
        400,
        "invalid_multipart",
        None,
    ),
    "too many parts": (form(FILE, *[Part("a", b"")] * MAX_PARTS), 400, "invalid_multipart", None),
    "too many headers": (form(headed(DISPOSITION, *["X-A: 1"] * 8), FILE), 400, "invalid_multipart", None),
    "long header": (form(headed(DISPOSITION, "X-A: " + "1" * 4096), FILE), 400, "invalid_multipart", None),
    "long preamble": (b"x" * 1_025 + b"\r\n" + form(MODEL, FILE), 400, "invalid_multipart", None),
    "long epilogue": (form(MODEL, FILE) + b"x" * 1_025, 400, "invalid_multipart", None),
    "second form of some length": (form(MODEL, FILE) + form(MODEL, FILE) * 10, 400, "invalid_multipart", None),
    "lines that end in LF": (form(MODEL, FILE).replace(b"\r\n", b"\n"), 400, "invalid_multipart", None),
    "lines that end in CR": (form(MODEL, FILE).replace(b"\r\n", b"\r"), 400, "invalid_multipart", None),
    "Latin-1": (form(Part("prompt", b"\xe9"), FILE), 400, "invalid_field", "prompt"),
    "overlong UTF-8": (form(Part("prompt", b"\xc0\xaf"), FILE), 400, "invalid_field", "prompt"),
    "cut UTF-8": (form(Part("prompt", b"\xe2\x82"), FILE), 400, "invalid_field", "prompt"),
    "surrogate": (form(Part("prompt", b"\xed\xa0\x80"), FILE), 400, "invalid_field", "prompt"),
    "beyond Unicode": (form(Part("prompt", b"\xf4\x90\x80\x80"), FILE), 400, "invalid_field", "prompt"),
    "NUL": (form(Part("prompt", b"a\0b"), FILE), 400, "invalid_field", "prompt"),
    "escape": (form(FILE, Part("language", b"\x1b[31m")), 400, "invalid_field", "language"),
    "DEL in model": (form(Part("model", b"whisper-1\x7f"), FILE), 400, "invalid_field", "model"),
    "Latin-1 in a name": (form(Part("a", b"")).replace(b'"a"', b'"\xe9"'), 400, "invalid_multipart", None),
    "file too large": (
        form(MODEL, Part("file", b"x" * (MAX_FILE_BYTES + 1), "a.wav")),
        413,
        "request_too_large",
        "file",
    ),
}


@pytest.mark.parametrize(("body", "status", "code", "param"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_gives_the_same_error_for_every_split(body: bytes, status: int, code: str, param: str | None) -> None:
    for pieces in splits(body):
        error = refused(pieces)
        assert (error.status, error.code, error.param) == (status, code, param)


def test_no_byte_of_a_second_file_is_returned() -> None:
    reader = reader_of(BOUNDARY)
    whole = form(FILE, FILE)
    second = whole.index(b"RIFF", whole.index(b"RIFF") + 1)
    reader.feed(form(FILE)[: -len("--b--\r\n")])
    with pytest.raises(APIError, match="once only"):
        reader.feed(whole[len(form(FILE)) - len("--b--\r\n") : second])


def test_file_bytes_are_returned_as_they_arrive_and_counted() -> None:
    reader = reader_of(BOUNDARY)
    head = form(Part("file", b"", "a.wav")).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert reader.feed(head) == [FileBegin()]
    assert reader.feed(b"x" * 60) == [b"x" * 60]
    assert reader.feed(b"y" * 40) == [b"y" * 40]
    assert reader.file_bytes == MAX_FILE_BYTES
    with pytest.raises(APIError, match="larger than the limit of 100 bytes"):
        reader.feed(b"z")


def test_a_field_of_the_maximum_size_passes_and_one_byte_more_does_not() -> None:
    value = b"x" * MAX_FIELD_BYTES
    assert read([form(Part("known_speaker_references[]", value), FILE)])[0] == Field(
        "known_speaker_references[]", value
    )
    error = refused([form(Part("known_speaker_references[]", value + b"x"), FILE)])
    assert (error.status, error.code, error.param) == (400, "invalid_field", "known_speaker_references[]")


def test_all_fields_together_have_a_maximum() -> None:
    half = b"x" * (MAX_FIELDS_BYTES // 2)
    assert len(read([form(Part("a", half), Part("a", half), FILE)])) == 4
    error = refused([form(Part("a", half), Part("a", half), Part("last", b"x"), FILE)])
    assert (error.status, error.code, error.param) == (400, "invalid_field", "last")


def test_an_endless_field_is_refused_at_the_maximum() -> None:
    reader = reader_of(BOUNDARY)
    reader.feed(multipart([Part("prompt", b"x" * MAX_FIELD_BYTES)], BOUNDARY, closing=False)[:-2])
    with pytest.raises(APIError, match="'prompt' is longer than"):
        reader.feed(b"x")


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"'), min_size=1, max_size=30).filter(
    lambda name: name not in ("file", "model")
)
VALUES = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32, exclude_characters="\x7f"), max_size=60)


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=5), cut=st.integers(0, 400))
def test_fields_travel_in_their_order_with_their_bytes(fields: list[tuple[str, str]], cut: int) -> None:
    writer = FormWriter("boundary")
    body = b"".join(writer.field(name, value.encode()) for name, value in fields)
    body += writer.file_head("audio.wav", "audio/wav") + b"RIFF" + writer.file_end() + writer.close()
    reader = reader_of("boundary")
    items = [*reader.feed(body[:cut]), *reader.feed(body[cut:])]
    reader.finish()
    assert [item for item in items if isinstance(item, Field)] == [Field(name, text.encode()) for name, text in fields]
