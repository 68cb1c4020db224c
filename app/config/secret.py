"""Keys and secrets out of files and the environment, masked from the moment that they are read."""

import re
from pathlib import Path

from pydantic import SecretStr

from app.config.section import InvalidConfig

MIN_CHARACTERS = 16
MIN_DIFFERENT = 8


def key_in_file(upstream: str, file: Path) -> SecretStr:
    key = text_in(file, f"upstreams.{upstream}")
    if not key:
        raise InvalidConfig(f"upstreams.{upstream}: {file} holds no key")
    return usable_key(key, str(file))


def text_in(file: Path, setting: str) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{setting}: {file} cannot be read: {error}") from None


def chosen_key(key: str, where: str) -> SecretStr:
    """A key that people choose themselves; InvalidConfig if it could be guessed, or if no header can carry it."""
    return usable_key(chosen_secret(key, where).get_secret_value(), where)


def chosen_secret(secret: str, where: str) -> SecretStr:
    """A secret that people choose themselves; InvalidConfig if it could be guessed."""
    if len(secret) < MIN_CHARACTERS or len(set(secret)) < MIN_DIFFERENT:
        raise InvalidConfig(
            f"{where}: is too easy to guess: {MIN_CHARACTERS} characters or more, {MIN_DIFFERENT} of them different; "
            "`openssl rand -hex 32` makes a good one"
        )
    return SecretStr(secret)


def usable_key(key: str, where: str) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InvalidConfig(f"{where}: the key holds characters that no HTTP header can carry")
    return SecretStr(key)
