"""The provider's key as a canary: every gateway that a test starts has this one, and nothing that leaves may hold it.

Looked for as it is, percent-encoded, and in base64 at any place within something longer, in both alphabets. Its own
characters are such that these all differ.
"""

import base64
from pathlib import Path
from urllib.parse import quote

PROVIDER_KEY = "sk-provider/0123+45678=~abcdefghijklmnopqrstuvwxyz?>"


def _in_base64(secret: bytes) -> list[bytes]:
    """The characters that the secret alone decides, behind 0, 1 and 2 bytes of something else."""
    encoded = [(before, base64.b64encode(bytes(before) + secret)) for before in range(3)]
    standard = [text[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6] for before, text in encoded]
    return [*standard, *(text.translate(bytes.maketrans(b"+/", b"-_")) for text in standard)]


_PLAIN = PROVIDER_KEY.encode()
DRESSES: dict[str, bytes] = {
    "as it is": _PLAIN,
    "percent-encoded": quote(PROVIDER_KEY, safe="").encode(),
    "percent-encoded but for slashes": quote(PROVIDER_KEY).encode(),
    **{f"base64 {number}": text for number, text in enumerate(_in_base64(_PLAIN))},
}


def check(what: str, data: bytes | str) -> None:
    """AssertionError if the key is in there, in any dress."""
    searched = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    found = [dress for dress, text in DRESSES.items() if text in searched]
    assert not found, f"the provider's key is in {what}: {', '.join(found)}"


def check_folder(folder: Path) -> None:
    """The same for every file below: the log, the ledger with its WAL, spools that were left."""
    for path in folder.rglob("*"):
        if path.is_file():
            check(str(path), path.read_bytes())
