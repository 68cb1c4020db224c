"""Compares the reader with three others: it accepts a form only if all agree, with the same parts.

What two parsers read differently, an attacker can use. It is milder in one thing, on purpose: bytes that are not UTF-8
refuse no form where they are in a value that is never used, such as a file name. The others get such a form with these
bytes replaced, and must agree about that one.
"""

import base64
import json
import random
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import multipart_form_data_conformance as conformance
import pytest

from app.wire.multipart import MalformedForm, parse_boundary
from tests.wire.forms import CORPUS, FAULTS, Form
from tests.wire.mutants import mutants
from tests.wire.parsers import agree, by_multipart, by_werkzeug, data_by_python_multipart
from tests.wire.reading import read, read_or_none
from tests.wire.splits import splits

LONGEST_SEED = 2_000
_HEADER = re.compile(rb"^[0-9A-Za-z_-]+:.*$", re.MULTILINE)

CASES: dict[str, Path] = {path.parent.name: path.parent for path in conformance.get_tests_dir().glob("*/*/test.json")}

# Forms that the suite takes, most of them as lenient, and this reader does not; and why.
STRICTER = {
    "046-whitespace-around-boundary": "a boundary does not begin with a blank",
    "085-header-folding": "a header is one line",
    "061-lf-only-lenient": "lines end in CRLF",
    "062-mixed-endings": "lines end in CRLF",
    "208-duplicate-headers": "a part has one Content-Disposition",
    "210-control-chars-in-name": "a name has no control characters",
}


def case_data(case: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case / "test.json").read_text("utf-8"))["expected"]
    return found


def form(case: Path) -> Form:
    headers = json.loads((case / "headers.json").read_text("utf-8"))
    return Form((case / "input.raw").read_bytes(), [], parse_boundary(headers["content-type"]))


def digest_of(part: dict[str, Any]) -> str:
    """The SHA-256 of a part's bytes, which the suite gives as text, as base64 or as a digest."""
    if part.get("body_sha256") is not None:
        return str(part["body_sha256"])
    data = base64.b64decode(part["body_base64"]) if part.get("body_base64") else str(part["body_text"]).encode()
    return sha256(data).hexdigest()


def filename_of(part: dict[str, Any]) -> str | None:
    """The plain file name; for an extended one, which is not decoded, only that it is present."""
    plain: str | None = part.get("filename")
    return "extended" if plain is None and part.get("filename_star") is not None else plain


def shown(filename: str | None) -> str | None:
    return "extended" if filename is not None and filename.lower().startswith("utf-8''") else filename


def test_the_suite_has_its_cases() -> None:
    assert len(CASES) >= 58
    assert STRICTER.keys() <= CASES.keys()


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case_data(case)["valid"] and name not in STRICTER]
)
def test_a_conforming_form_is_read_as_the_suite_says_for_every_split(name: str) -> None:
    case = form(CASES[name])
    expected = [(part["name"], filename_of(part), digest_of(part)) for part in case_data(CASES[name])["parts"]]
    for pieces in splits(case.body):
        parts = read(case.boundary, pieces)
        assert [(name, shown(filename), sha256(data).hexdigest()) for name, filename, data in parts] == expected


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if not case_data(case)["valid"] or name in STRICTER]
)
def test_a_malformed_form_of_the_suite_is_rejected(name: str) -> None:
    with pytest.raises(MalformedForm):
        read((case := form(CASES[name])).boundary, [case.body])


def seeds() -> list[Form]:
    """Every short form of both corpora with a valid boundary, malformed ones included."""
    broken = [Form(body, []) for body, _ in FAULTS.values()]
    suite = [form(case) for name, case in CASES.items() if name not in STRICTER]
    return [each for each in (*CORPUS.values(), *broken, *suite) if len(each.body) <= LONGEST_SEED]


def check_agreement(count: int, seed: int) -> int:
    """How many of `count` mutants are accepted; asserts that all readers agree on those."""
    chance = random.Random(seed)
    accepted = 0
    for mutant in mutants(seeds(), count, seed):
        ours = read_or_none(mutant.boundary, [mutant.body])
        cut = chance.randint(0, len(mutant.body))
        assert read_or_none(mutant.boundary, [mutant.body[:cut], mutant.body[cut:]]) == ours, (mutant, cut)
        if ours is None:
            continue
        accepted += 1
        body = with_utf_8_headers(mutant.body)
        if body != mutant.body:
            names = [name for name, _, _ in ours]
            ours = read_or_none(mutant.boundary, [body])
            assert ours is not None, mutant
            assert [name for name, _, _ in ours] == names, mutant
        for parser in (by_multipart, by_werkzeug):
            theirs = parser(mutant.boundary, body)
            assert agree(ours, theirs, body), (parser.__name__, mutant, ours, theirs)
        assert [data for _, _, data in ours] == data_by_python_multipart(mutant.boundary, body), mutant
    return accepted


def with_utf_8_headers(body: bytes) -> bytes:
    """The body with a question mark for each byte that is not UTF-8 in a line that looks like a header."""
    return _HEADER.sub(
        lambda line: line[0].decode(errors="replace").replace("\N{REPLACEMENT CHARACTER}", "?").encode(), body
    )


def test_ten_thousand_mutants_are_accepted_only_if_all_readers_agree() -> None:
    assert check_agreement(10_000, seed=1) > 500


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_million_mutants_are_accepted_only_if_all_readers_agree(seed: int) -> None:
    assert check_agreement(100_000, seed) > 5_000
