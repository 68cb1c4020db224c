"""Forms with a few small changes, reproducible by seed."""

import random
from collections.abc import Iterator, Sequence

from tests.wire.forms import Form

# What the grammar is made of, and what readers have taken for it.
_WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"--",
        b"-",
        b"\r\n--",
        b"\n--",
        b"\r--",
        b" ",
        b"\t",
        b"\0",
        b"\x0b",
        b"\xff",
    ),
    *(b";", b";;", b"; ", b'"', b'\\"', b"\\", b"\\\\", b"=", b" = ", b":", b": ", b"*", b"%22", b"%0A", b"'", b","),
    *(b"; name=b", b'; name="b"', b"; filename=x", b"; filename*=UTF-8''x.exe", b"; name*=UTF-8''b", b"; name*0=b"),
    *(
        b"form-data",
        b"Content-Disposition: form-data; name=c\r\n",
        b"X-A: b\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
    ),
)
_MOST_CHANGES = 3


def mutants(forms: Sequence[Form], count: int, seed: int) -> Iterator[Form]:
    """`count` forms, each one of `forms` with one to three changes; `parts` are those before the changes."""
    chance = random.Random(seed)
    for _ in range(count):
        form = chance.choice(forms)
        words = (*_WORDS, b"--%b" % form.boundary.encode(), b"\r\n--%b\r\n" % form.boundary.encode())
        body = form.body
        for _ in range(chance.randint(1, _MOST_CHANGES)):
            body = _changed(body, words, chance)
        yield form._replace(body=body)


def _changed(body: bytes, words: Sequence[bytes], chance: random.Random) -> bytes:
    start = chance.randint(0, len(body))
    end = min(len(body), start + chance.choice((1, 1, 2, 4, 16)))
    other = chance.randint(0, len(body))
    change = chance.choice(("insert", "insert", "replace", "delete", "byte", "repeat", "move", "cut"))
    match change:
        case "insert":
            return body[:start] + chance.choice(words) + body[start:]
        case "replace":
            return body[:start] + chance.choice(words) + body[end:]
        case "delete":
            return body[:start] + body[end:]
        case "byte":
            return body[:start] + chance.randbytes(1) + body[end:]
        case "repeat":
            return body[:end] + body[start:]
        case "move":
            return body[:other] + body[start:end] + body[other:]
        case _:
            return body[: max(start, len(body) - 8)]
