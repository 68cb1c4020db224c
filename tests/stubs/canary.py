"""The provider's key as a canary: every gateway under test uses this key, and no output may contain it.

The search covers the key as it is, percent-encoded, and in base64 at any offset, in both alphabets. The key has
characters that make all of these differ.
"""

import base64
from pathlib import Path
from urllib.parse import quote

PROVIDER_KEY = "sk-provider/0123+45678=~abcdefghijklmnopqrstuvwxyz?>"


def _in_base64(secret: bytes) -> list[bytes]:
    """Returns the base64 characters that depend only on the secret, after 0, 1 and 2 other bytes."""
    encoded = [(before, base64.b64encode(bytes(before) + secret)) for before in range(3)]
    standard = [text[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6] for before, text in encoded]
    return [*standard, *(text.translate(bytes.maketrans(b"+/", b"-_")) for text in standard)]


_PLAIN = PROVIDER_KEY.encode()
ENCODINGS: dict[str, bytes] = {
    "as it is": _PLAIN,
    "percent-encoded": quote(PROVIDER_KEY, safe="").encode(),
    "percent-encoded but for slashes": quote(PROVIDER_KEY).encode(),
    **{f"base64 {number}": text for number, text in enumerate(_in_base64(_PLAIN))},
}


def check(what: str, data: bytes | str) -> None:
    """Raises AssertionError if the data contains the key in any encoding."""
    searched = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    found = [encoding for encoding, text in ENCODINGS.items() if text in searched]
    assert not found, f"the provider's key is in {what}: {', '.join(found)}"


def check_folder(folder: Path) -> None:
    """Checks every file below the folder: the log, the ledger with its WAL, remaining spools."""
    for path in folder.rglob("*"):
        if path.is_file():
            check(str(path), path.read_bytes())
