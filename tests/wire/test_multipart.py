import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.multipart import (
    MAX_EPILOGUE_BYTES,
    MAX_PART_HEADER_BYTES,
    MAX_PARTS,
    FormWriter,
    MalformedForm,
    MultipartReader,
    PartBegin,
    parse_boundary,
)
from tests.wire.forms import CORPUS, FAULTS, LONGEST_BOUNDARY, Form, Part, part
from tests.wire.reading import read, read_or_none
from tests.wire.splits import splits


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


def test_data_is_returned_as_it_arrives() -> None:
    reader = MultipartReader("b")
    assert reader.feed(part('name="file"; filename="a"', b"abc")[:-2]) == [PartBegin("file", "a"), b"abc"]
    assert reader.feed(b"def\r") == [b"def"]
    assert reader.feed(b"\n--") == []
    assert reader.feed(b"x") == [b"\r\n--x"]


def test_a_chunk_of_data_is_returned_without_a_copy() -> None:
    reader = MultipartReader("b")
    reader.feed(part('name="file"; filename="a"')[:-2])
    piece = bytes(70_000)
    (event,) = reader.feed(piece)
    assert event is piece


@pytest.mark.parametrize(("body", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_malformed_form_gives_the_same_error_for_every_split(body: bytes, reason: str) -> None:
    words = set()
    for pieces in splits(body):
        with pytest.raises(MalformedForm) as caught:
            read("b", pieces)
        words.add(str(caught.value))
    assert len(words) == 1
    assert reason in words.pop()


def test_ten_thousand_parts_are_rejected_at_the_limit() -> None:
    body = part("name=a") * 10_000 + b"--b--\r\n"
    needed = part("name=a") * (MAX_PARTS + 1)
    with pytest.raises(MalformedForm, match="parts"):
        MultipartReader("b").feed(body)
    with pytest.raises(MalformedForm, match="parts"):
        MultipartReader("b").feed(needed)


def test_an_endless_header_is_rejected_at_the_limit() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b\r\nx:" + b"y" * (MAX_PART_HEADER_BYTES - 2))
    with pytest.raises(MalformedForm, match="header is longer"):
        reader.feed(b"y")


@pytest.mark.parametrize("epilogue", [b"x" * 5_000_000, b"\r\n--b\r\n" * 700_000], ids=["bytes", "boundaries"])
def test_an_endless_epilogue_is_rejected(epilogue: bytes) -> None:
    with pytest.raises(MalformedForm, match="follow its closing boundary"):
        MultipartReader("b").feed(part('name="a"') + b"--b--" + epilogue)


def test_the_epilogue_counts_from_its_first_byte() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b--" + b"x" * MAX_EPILOGUE_BYTES)
    reader.finish()
    with pytest.raises(MalformedForm):
        reader.feed(b"x")


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_read_or_rejected_however_they_are_split(pieces: list[bytes]) -> None:
    body = b"".join([b"--b\r\n", *pieces])
    try:
        parts = read("b", [b"--b\r\n", *pieces])
    except MalformedForm:
        with pytest.raises(MalformedForm):
            read("b", [body])
    else:
        assert read("b", [body]) == parts


WORDS = st.text(st.sampled_from('ab "\\;=%*\r\n\t\x7f\N{SPEAKER}'), max_size=6)


@given(WORDS, WORDS, WORDS)
def test_the_fast_path_for_heads_reads_the_same_as_the_slow_one(name: str, filename: str, media_type: str) -> None:
    """A head in lower case is read line by line."""
    body = part(f'name="{name}"; filename="{filename}"', b"1", f"Content-Type: {media_type}") + b"--b--"
    assert read_or_none("b", [body]) == read_or_none("b", [body.replace(b"Content-D", b"content-d")])


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"'), max_size=20)


@given(
    fields=st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=4),
    audio=st.binary(max_size=300),
    cut=st.integers(0, 300),
)
def test_the_reader_reads_what_the_writer_writes(fields: list[tuple[str, bytes]], audio: bytes, cut: int) -> None:
    writer = FormWriter("0123456789abcdef")
    body = b"".join(writer.field(name, value) for name, value in fields)
    body += writer.file_head("audio.wav", "audio/wav") + audio + writer.file_end()
    expected: list[Part] = [(name, None, value) for name, value in fields]
    pieces = [body[:cut], body[cut:], writer.close()]
    assert read(parse_boundary(writer.content_type), pieces) == [*expected, ("file", "audio.wav", audio)]


def test_the_writer_leaves_no_quote_in_a_name() -> None:
    assert b'name="a%22; filename=%22b"\r\n' in FormWriter("b").field('a"; filename="b', b"")


@given(NAMES)
def test_a_backslash_at_the_end_of_a_name_does_not_escape_the_quote(name: str) -> None:
    body = FormWriter("b").field(name + "\\", b"1") + b"--b--"
    assert read("b", [body]) == [(name + "\\", None, b"1")]


def test_a_form_without_the_closing_boundary_is_incomplete() -> None:
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
        (f"multipart/form-data; boundary={LONGEST_BOUNDARY}", LONGEST_BOUNDARY),
        ("multipart/form-data; boundary=----=_Part_1_2.3", "----=_Part_1_2.3"),
        ("multipart/form-data; boundary=a/b; charset=utf-8", "a/b"),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str, boundary: str) -> None:
    assert parse_boundary(content_type) == boundary


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
        "multipart/form-data; boundary*=UTF-8''x; boundary=abc",
        f'multipart/form-data; boundary="{LONGEST_BOUNDARY}x"',
        f"multipart/form-data; boundary={'a' * 71}",
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="a@b"',
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="a\r\nb"',
        'multipart/form-data; boundary="ä"',
        "multipart/form-data; boundary=a b",
        "multipart/form-data, boundary=a",
    ],
)
def test_a_content_type_without_one_valid_boundary_is_rejected(content_type: str) -> None:
    with pytest.raises(MalformedForm):
        parse_boundary(content_type)
