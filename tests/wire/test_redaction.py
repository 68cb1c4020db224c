import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.redaction import REDACTED, Redaction, redact_headers

KEY = b"sk-provider/01+23=45 67~89"
REDACT = Redaction(KEY)


def lower_case_quoted(key: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in key)


ENCODINGS = {
    "as it is": KEY,
    "quoted": quote(KEY, safe="").encode(),
    "quoted but for slashes": quote(KEY).encode(),
    "quoted wholly, in lower case": lower_case_quoted(KEY),
    "base64": base64.b64encode(KEY).rstrip(b"="),
    "base64url": base64.urlsafe_b64encode(KEY).rstrip(b"="),
}


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"Bearer "])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_secret_is_removed_in_every_encoding(encoding: str, before: bytes) -> None:
    clean = REDACT(before + ENCODINGS[encoding] + b" behind")
    assert REDACTED in clean
    assert clean.startswith(before)
    assert clean.endswith(b" behind")
    assert KEY[3:] not in clean


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(before=st.binary(max_size=20), behind=st.binary(max_size=20))
def test_base64_of_a_longer_text_holds_no_part_of_it(
    encode: Callable[[bytes], bytes], before: bytes, behind: bytes
) -> None:
    clean = REDACT(encode(before + KEY + behind))
    assert REDACTED in clean
    left = len(clean) - len(REDACTED)
    assert left <= len(encode(before)) + len(encode(behind)) + 4


def escaped(text: str, which: list[bool]) -> str:
    """JSON with escapes for some characters that need none."""
    return "".join(
        f"\\u{ord(each):04x}" if escape and ord(each) < 0x10000 else json.dumps(each)[1:-1]
        for each, escape in zip(text, which * len(text), strict=False)
    )


@given(
    before=st.text(max_size=10),
    behind=st.text(max_size=10),
    which=st.lists(st.booleans(), min_size=1, max_size=40),
)
def test_a_secret_that_json_escapes_is_removed_and_the_rest_means_the_same(
    before: str, behind: str, which: list[bool]
) -> None:
    text = f'{{"a": "{escaped(before, which)}{escaped(KEY.decode(), which)}{escaped(behind, which)}"}}'
    clean = REDACT(text.encode())
    assert json.loads(clean) == {"a": f"{before}[redacted]{behind}"}


@given(st.text(max_size=60), st.lists(st.booleans(), min_size=1, max_size=20))
def test_escapes_without_a_secret_stay_as_they_are(text: str, which: list[bool]) -> None:
    body = escaped(text, which).encode()
    assert REDACT(body) is body


def test_an_escaped_backslash_is_not_an_escape() -> None:
    key = Redaction(b"sk-0123456789")
    assert key(rb"\\u0073k-0123456789") == rb"\\u0073k-0123456789"
    assert key(rb"\\\u0073k-0123456789\/") == rb"\\[redacted]/"
    assert key(b"sk-0123456789 \\u0073k\\u002d0123456789\\") == b"[redacted] [redacted]\\"


@given(st.binary(max_size=200))
def test_other_text_stays(text: bytes) -> None:
    assert REDACT(text) == text


@pytest.mark.parametrize("key", [b"k", b"key", b"+"])
def test_a_short_secret_removes_only_itself(key: bytes) -> None:
    assert Redaction(key)(json.dumps({"a": "b"}).encode()) == b'{"a": "b"}'
    assert Redaction(key)(b"-" + quote(key).encode() + b"-") == b"-[redacted]-"


FIELD = st.tuples(
    st.just(b"x"), st.sampled_from([*ENCODINGS.values(), b"", b"%", KEY[:9], KEY[9:]]) | st.binary(max_size=20)
)


@given(st.lists(FIELD, max_size=5))
def test_each_header_field_is_redacted_separately(fields: list[tuple[bytes, bytes]]) -> None:
    assert list(redact_headers(fields, REDACT)) == [(name, REDACT(value)) for name, value in fields]
