"""`config.example.toml` lists every setting at its default, and no others.

the file unchanged    valid, and equal to no file
`# name = value`      a setting at its default; uncommented, all of them equal the defaults
`#     name = value`  an indented example; uncommented, it is valid too
"""

import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app import config
from app.config import Config
from tests.contract.tree import ROOT, is_variable, settings, variables_in

EXAMPLE = ROOT / "config.example.toml"
TEXT = EXAMPLE.read_text("utf-8")

_DEFAULT = re.compile(r"^# (?=\[\[?\w+\]\]?$|\w+ = )", re.MULTILINE)
_INDENTED = re.compile(r"^#     (.*)$", re.MULTILINE)
_NAMED = re.compile(r"^(?:# ?|#     )?(\w+)(?: = |   )", re.MULTILINE)

# Settings without a default, shown by an example.
_NO_DEFAULT = {"api_key_file", "ca_file"}


def uncommented() -> dict[str, Any]:
    return tomllib.loads(_DEFAULT.sub("", TEXT))


def examples(text: str = TEXT) -> list[str]:
    """Returns the indented lines that are TOML, one text for each block."""
    blocks = re.findall(r"(?:^#     (?:\[\[\w+\]\]|\w+ = ).*\n)+", text, re.MULTILINE)
    return [_INDENTED.sub(r"\1", block) for block in blocks]


def write_config(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(text, "utf-8")
    return file


def test_the_unchanged_file_equals_the_defaults() -> None:
    assert config.load(EXAMPLE, {}) == config.load(None, {})


def test_the_uncommented_file_equals_the_defaults(tmp_path: Path) -> None:
    file = write_config(tmp_path, _DEFAULT.sub("", TEXT))
    assert config.load(file, {}) == config.load(None, {})


def test_the_uncommented_file_has_every_section() -> None:
    assert set(uncommented()) | {"callers"} == set(Config.model_fields)


@pytest.mark.parametrize("name", ["limits", "admin", "alerts", "tls", "metrics", "traces"])
def test_a_section_with_examples_lists_every_setting(name: str) -> None:
    section = TEXT[TEXT.index(f"\n[{name}]\n") :].split("\n\n\n")[0]
    listed = set(re.findall(r"^#     (\w+) = ", section, re.MULTILINE)) | set(uncommented()[name])
    assert listed == settings()[name]


@pytest.mark.parametrize("name", ["server", "cors", "timeouts", "ledger", "logs"])
def test_a_section_with_defaults_lists_every_setting(name: str) -> None:
    assert set(uncommented()[name]) == settings()[name]


def test_an_upstream_lists_every_setting() -> None:
    (upstream,) = uncommented()["upstreams"]
    assert set(upstream) | _NO_DEFAULT == settings()["upstreams"]
    assert set().union(*map(tomllib.loads, examples())) >= _NO_DEFAULT


def test_a_model_and_its_price_list_every_setting() -> None:
    models = uncommented()["models"]
    assert set().union(*models) == settings()["models"]
    prices = TEXT.partition("#     [models.price]\n")[2].partition("[[models]]")[0]
    assert set(re.findall(r"^#     (\w+) = ", prices, re.MULTILINE)) == settings()["price"]
    assert [model["id"] for model in models] == [model.id for model in config.DEFAULT_MODELS]


def test_the_examples_of_callers_use_every_setting() -> None:
    callers = [caller for example in examples() for caller in tomllib.loads(example).get("callers", [])]
    assert set().union(*callers) == settings()["callers"]


def test_the_examples_of_callers_are_valid(tmp_path: Path) -> None:
    text = "\n".join(example for example in examples() if "[[callers]]" in example)
    loaded = config.load(write_config(tmp_path, text), {})
    assert [caller.name for caller in loaded.callers] == ["search-team", "archive"]
    assert loaded.callers[0].sha256({"SEARCH_TEAM_KEY": "0123456789abcdef"}) != loaded.callers[1].key_sha256


def test_the_example_of_a_key_file_is_valid(tmp_path: Path) -> None:
    upstream = "".join(example for example in examples() if "api_key_file" in example)
    text = f'[[upstreams]]\nname = "onerouter"\nbase_url = "https://audio.onerouter.pro/v1"\n{upstream}'
    assert config.load(write_config(tmp_path, text), {}).upstream.api_key_file == Path("/run/secrets/onerouter_api_key")


@pytest.mark.parametrize("name", ["limits", "admin", "tls", "traces"])
def test_the_examples_of_a_section_are_valid(name: str, tmp_path: Path) -> None:
    section = TEXT[TEXT.index(f"\n[{name}]\n") :].split("\n\n\n")[0] + "\n"
    (example,) = (block for block in examples(section) if set(tomllib.loads(block)) == settings()[name])
    loaded = config.load(write_config(tmp_path, f"[{name}]\n{example}"), {})
    assert getattr(loaded, name) != getattr(Config(), name)


@pytest.mark.parametrize("secret", ["webhook_secret_env", "webhook_secret_file"])
def test_the_examples_of_a_webhook_are_valid(secret: str, tmp_path: Path) -> None:
    values = dict(pair for block in examples() for pair in tomllib.loads(block).items())
    text = "".join(f"{name} = {json.dumps(values[name])}\n" for name in ("webhook_url", secret))
    alerts = config.load(write_config(tmp_path, f"[alerts]\n{text}"), {}).alerts
    assert alerts.webhook_url == values["webhook_url"]
    assert str(getattr(alerts, secret)) == values[secret]


def test_every_name_in_it_is_a_setting() -> None:
    assert set(_NAMED.findall(TEXT)) <= set().union(*settings().values())


def test_its_environment_variables_exist() -> None:
    assert [name for name in sorted(variables_in(TEXT)) if not is_variable(name)] == []
    assert not is_variable("AUDIO_GATEWAY_SERVER__NOT_THERE")


def test_it_lists_the_settings_that_need_a_restart() -> None:
    (listed,) = re.findall(r"Need a restart: (.*?)\.$", TEXT, re.MULTILINE)
    names = {name for names in config.RESTART_ONLY.values() for name in names or ()}
    assert set(re.findall(r"\[(\w+)\]", listed)) == set(config.RESTART_ONLY)
    assert set(re.findall(r"\w+", listed)) & settings()["timeouts"] == names
    assert all(names is None or names <= settings()[table] for table, names in config.RESTART_ONLY.items())


def test_every_setting_has_a_comment() -> None:
    """A comment is directly above each default. Defaults in a row share the comment above the first."""
    lines = TEXT.splitlines()
    bare = [
        line for above, line in pairwise(lines) if _DEFAULT.match(line) and " = " in line and not above.startswith("# ")
    ]
    assert bare == []
