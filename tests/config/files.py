"""Settings files for tests, and the error of invalid ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.config import (
    Config,
    InvalidConfig,
    Section,
    load,
)

PREFIX = "AUDIO_GATEWAY_"
SECRET = "sk-provider-0123456789"

UPSTREAM = """
[[upstreams]]
name = "local"
base_url = "http://127.0.0.1:9000/v1/"
api_key_env = "LOCAL_KEY"
"""
MODEL = """
[[models]]
id = "whisper-1"
tasks = ["transcribe"]
price = { per_minute = "0.006" }
"""
CALLER = """
[[callers]]
name = "alice"
key_env = "ALICE_KEY"
"""
SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
ARRAYS: dict[str, list[dict[str, Any]]] = {
    "upstreams": [{"name": "x", "base_url": "https://example.org", "api_key_env": "X"}],
    "models": [{"id": "x", "tasks": ["transcribe"], "price": {"per_minute": 1}}],
    "callers": [{"name": "x", "key_sha256": "a" * 64, "models": ["whisper-1"]}],
}


def write_settings(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text, "utf-8")
    return file


def error_of(file: Path | None, environ: Mapping[str, str]) -> str:
    """The message of InvalidConfig for these settings."""
    with pytest.raises(InvalidConfig) as caught:
        load(file, environ)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


def model(price: str, head: str = 'id = "m"\ntasks = ["transcribe"]') -> str:
    return f"[[models]]\n{head}\nprice = {price}\n"


def upstream(line: str, base_url: str = "https://example.org/v1") -> str:
    return f'[[upstreams]]\nname = "u"\nbase_url = "{base_url}"\n{line}\n'
