import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.redaction import REDACTED, Redaction, redacted

KEY = b"sk-provider/01+23=45 67~89"
REDACT = Redaction(KEY)


def lower_case_quoted(key: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in key)


DRESSES = {
    "as it is": KEY,
    "quoted": quote(KEY, safe="").encode(),
    "quoted but for slashes": quote(KEY).encode(),
    "quoted wholly, in lower case": lower_case_quoted(KEY),
    "base64": base64.b64encode(KEY).rstrip(b"="),
    "base64url": base64.urlsafe_b64encode(KEY).rstrip(b"="),
}


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"Bearer "])
@pytest.mark.parametrize("dress", DRESSES)
def test_the_secret_is_taken_out_in_every_dress(dress: str, before: bytes) -> None:
    clean = REDACT(before + DRESSES[dress] + b" behind")
    assert REDACTED in clean
    assert clean.startswith(before)
    assert clean.endswith(b" behind")
    assert KEY[3:] not in clean


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(before=st.binary(max_size=20), behind=st.binary(max_size=20))
def test_base64_of_something_longer_holds_no_piece_of_it(
    encode: Callable[[bytes], bytes], before: bytes, behind: bytes
) -> None:
    clean = REDACT(encode(before + KEY + behind))
    assert REDACTED in clean
    left = len(clean) - len(REDACTED)
    assert left <= len(encode(before)) + len(encode(behind)) + 4


@given(st.binary(max_size=200))
def test_what_is_no_secret_stays(text: bytes) -> None:
    assert REDACT(text) == text


@pytest.mark.parametrize("key", [b"k", b"key", b"+"])
def test_a_short_secret_takes_out_no_more_than_itself(key: bytes) -> None:
    assert Redaction(key)(json.dumps({"a": "b"}).encode()) == b'{"a": "b"}'
    assert Redaction(key)(b"-" + quote(key).encode() + b"-") == b"-[redacted]-"


FIELD = st.tuples(
    st.just(b"x"), st.sampled_from([*DRESSES.values(), b"", b"%", KEY[:9], KEY[9:]]) | st.binary(max_size=20)
)


@given(st.lists(FIELD, max_size=5))
def test_of_header_fields_each_is_redacted_by_itself(fields: list[tuple[bytes, bytes]]) -> None:
    assert list(redacted(fields, REDACT)) == [(name, REDACT(value)) for name, value in fields]
