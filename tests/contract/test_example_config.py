"""`config.example.toml` names every setting there is, at its default, and no other.

text as it stands     good, and the same as no file at all
`# name = value`      a setting at its default: all of them uncommented are the defaults again
`#     name = value`  an example, indented: uncommented on top of the defaults it is good as well
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
_ELSEWHERE = re.compile(r"^#     (.*)$", re.MULTILINE)
_NAMED = re.compile(r"^(?:# ?|#     )?(\w+)(?: = |   )", re.MULTILINE)

# Without a default: an example shows them.
_NO_DEFAULT = {"api_key_file", "ca_file"}


def uncommented() -> dict[str, Any]:
    return tomllib.loads(_DEFAULT.sub("", TEXT))


def examples(text: str = TEXT) -> list[str]:
    """The indented lines that are TOML, each run of them as one text."""
    runs = re.findall(r"(?:^#     (?:\[\[\w+\]\]|\w+ = ).*\n)+", text, re.MULTILINE)
    return [_ELSEWHERE.sub(r"\1", run) for run in runs]


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(text, "utf-8")
    return file


def test_as_it_stands_it_changes_nothing() -> None:
    assert config.load(EXAMPLE, {}) == config.load(None, {})


def test_uncommented_it_is_the_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, _DEFAULT.sub("", TEXT))
    assert config.load(file, {}) == config.load(None, {})


def test_uncommented_it_has_every_section() -> None:
    assert set(uncommented()) | {"callers"} == set(Config.model_fields)


@pytest.mark.parametrize("name", ["limits", "admin", "alerts", "tls", "metrics", "traces"])
def test_every_setting_of_a_section_without_defaults_stands_there(name: str) -> None:
    section = TEXT[TEXT.index(f"\n[{name}]\n") :].split("\n\n\n")[0]
    told = set(re.findall(r"^#     (\w+) = ", section, re.MULTILINE)) | set(uncommented()[name])
    assert told == settings()[name]


@pytest.mark.parametrize("name", ["server", "cors", "timeouts", "ledger", "logs"])
def test_every_setting_of_a_section_stands_there_uncommented(name: str) -> None:
    assert set(uncommented()[name]) == settings()[name]


def test_every_setting_of_an_upstream_stands_there() -> None:
    (upstream,) = uncommented()["upstreams"]
    assert set(upstream) | _NO_DEFAULT == settings()["upstreams"]
    assert set().union(*map(tomllib.loads, examples())) >= _NO_DEFAULT


def test_every_setting_of_a_model_and_of_its_price_stands_there() -> None:
    models = uncommented()["models"]
    assert set().union(*models) == settings()["models"]
    prices = TEXT.partition("#     [models.price]\n")[2].partition("[[models]]")[0]
    assert set(re.findall(r"^#     (\w+) = ", prices, re.MULTILINE)) == settings()["price"]
    assert [model["id"] for model in models] == [model.id for model in config.DEFAULT_MODELS]


def test_every_setting_of_a_caller_stands_in_an_example() -> None:
    told = [tomllib.loads(example).get("callers", []) for example in examples()]
    callers = [caller for run in told for caller in run]
    assert set().union(*callers) == settings()["callers"]


def test_the_examples_of_callers_are_good(tmp_path: Path) -> None:
    text = "\n".join(example for example in examples() if "[[callers]]" in example)
    loaded = config.load(written(tmp_path, text), {})
    assert [caller.name for caller in loaded.callers] == ["search-team", "archive"]
    assert loaded.callers[0].sha256({"SEARCH_TEAM_KEY": "0123456789abcdef"}) != loaded.callers[1].key_sha256


def test_the_example_of_a_key_file_is_good(tmp_path: Path) -> None:
    upstream = "".join(example for example in examples() if "api_key_file" in example)
    text = f'[[upstreams]]\nname = "onerouter"\nbase_url = "https://audio.onerouter.pro/v1"\n{upstream}'
    assert config.load(written(tmp_path, text), {}).upstream.api_key_file == Path("/run/secrets/onerouter_api_key")


@pytest.mark.parametrize("name", ["limits", "admin", "tls", "traces"])
def test_the_examples_of_a_section_without_defaults_are_good(name: str, tmp_path: Path) -> None:
    section = TEXT[TEXT.index(f"\n[{name}]\n") :].split("\n\n\n")[0] + "\n"
    (example,) = (run for run in examples(section) if set(tomllib.loads(run)) == settings()[name])
    loaded = config.load(written(tmp_path, f"[{name}]\n{example}"), {})
    assert getattr(loaded, name) != getattr(Config(), name)


@pytest.mark.parametrize("secret", ["webhook_secret_env", "webhook_secret_file"])
def test_the_examples_of_a_webhook_are_good(secret: str, tmp_path: Path) -> None:
    told = dict(pair for run in examples() for pair in tomllib.loads(run).items())
    text = "".join(f"{name} = {json.dumps(told[name])}\n" for name in ("webhook_url", secret))
    alerts = config.load(written(tmp_path, f"[alerts]\n{text}"), {}).alerts
    assert alerts.webhook_url == told["webhook_url"]
    assert str(getattr(alerts, secret)) == told[secret]


def test_it_names_nothing_that_does_not_exist() -> None:
    assert set(_NAMED.findall(TEXT)) <= set().union(*settings().values())


def test_its_environment_variables_exist() -> None:
    assert [name for name in sorted(variables_in(TEXT)) if not is_variable(name)] == []
    assert not is_variable("AUDIO_GATEWAY_SERVER__NOT_THERE")


def test_it_tells_which_settings_need_a_restart() -> None:
    (told,) = re.findall(r"Need a restart: (.*?)\.$", TEXT, re.MULTILINE)
    names = {name for names in config.HELD_FROM_THE_START.values() for name in names or ()}
    assert set(re.findall(r"\[(\w+)\]", told)) == set(config.HELD_FROM_THE_START)
    assert set(re.findall(r"\w+", told)) & settings()["timeouts"] == names
    assert all(names is None or names <= settings()[table] for table, names in config.HELD_FROM_THE_START.items())


def test_every_setting_has_a_reason() -> None:
    """A comment stands right above each default, and of those that go together above the first."""
    lines = TEXT.splitlines()
    bare = [
        line for above, line in pairwise(lines) if _DEFAULT.match(line) and " = " in line and not above.startswith("# ")
    ]
    assert bare == []
