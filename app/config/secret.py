"""Keys and secrets out of files and the environment, masked from the moment that they are read."""

import re
from pathlib import Path

from pydantic import SecretStr

from app.config.section import InvalidConfig

MIN_ADMIN_KEY_CHARACTERS = 16


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


def admin_key(key: str, where: str) -> SecretStr:
    if len(key) < MIN_ADMIN_KEY_CHARACTERS:
        raise InvalidConfig(f"{where}: an admin key has {MIN_ADMIN_KEY_CHARACTERS} characters or more")
    return usable_key(key, where)


def usable_key(key: str, where: str) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InvalidConfig(f"{where}: the key holds characters that no HTTP header can carry")
    return SecretStr(key)
