"""Reads keys and secrets from files and the environment, as pydantic's SecretStr, which masks them in logs."""

import re
from pathlib import Path

from pydantic import SecretStr

from app.config.section import InvalidConfig

MIN_CHARACTERS = 16
MIN_DISTINCT = 8


def key_in_file(upstream: str, file: Path) -> SecretStr:
    """The upstream's key in this file; InvalidConfig if there is none, or if no header can carry it."""
    key = text_in(file, f"upstreams.{upstream}")
    if not key:
        raise InvalidConfig(f"upstreams.{upstream}: {file} holds no key")
    return usable_key(key, str(file))


def text_in(file: Path, setting: str) -> str:
    """The text of the file, without surrounding whitespace; InvalidConfig names the setting and the file."""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{setting}: {file} cannot be read: {error}") from None


def chosen_key(key: str, where: str) -> SecretStr:
    """A key that an operator chose; InvalidConfig if it is easy to guess, or if no header can carry it."""
    return usable_key(chosen_secret(key, where).get_secret_value(), where)


def chosen_secret(secret: str, where: str) -> SecretStr:
    """A secret that an operator chose; InvalidConfig if it is easy to guess."""
    if len(secret) < MIN_CHARACTERS or len(set(secret)) < MIN_DISTINCT:
        raise InvalidConfig(
            f"{where}: is too easy to guess: {MIN_CHARACTERS} characters or more, {MIN_DISTINCT} of them different; "
            "`openssl rand -hex 32` generates a good one"
        )
    return SecretStr(secret)


def usable_key(key: str, where: str) -> SecretStr:
    """The key; InvalidConfig if no HTTP header can carry it. `where` names its source in the error."""
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InvalidConfig(f"{where}: the key holds characters that no HTTP header can carry")
    return SecretStr(key)
