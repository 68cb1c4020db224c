"""docs/configure.md has every setting of the classes and of config.example.toml, and its examples are valid."""

import re
import tomllib
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from app import config
from app.config import Section
from scripts import configure
from tests.contract.tree import ROOT, settings

PAGE = ROOT / "docs" / "configure.md"
EXAMPLE = (ROOT / "config.example.toml").read_text("utf-8")


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text("utf-8")
    assert text == configure.page(text, EXAMPLE), "run: python -m scripts.configure"


def test_the_page_lists_every_setting() -> None:
    parts = re.split(r"^### `\[+(?:models\.)?(\w+)\]+`$", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    listed = {
        name: re.findall(r"^\| `(\w+)`", rows, re.MULTILINE) for name, rows in zip(parts[::2], parts[1::2], strict=True)
    }
    assert {name: set(keys) for name, keys in listed.items()} == settings()
    assert all(len(keys) == len(set(keys)) for keys in listed.values())


@pytest.mark.parametrize(("section", "line"), [("server", "# port = 8080"), ("admin", '#     key_file = "/run')])
def test_a_setting_without_a_line_in_the_example_is_reported(section: str, line: str) -> None:
    without = "\n".join(text for text in EXAMPLE.splitlines() if not text.startswith(line))
    name = line.split()[1]
    with pytest.raises(configure.MissingDescription, match=rf"{name} of \[{section}\]"):
        configure.tables(without)


def test_a_comment_above_a_line_or_at_its_end_is_its_meaning() -> None:
    meanings = configure.meanings(
        "# About a.\n[a]\n\n# One,\n# two.\n# x = 1\n# y = 2\n\n# z = 3\n\n#     w = 4    # four\n# v = '#'\n"
    )
    assert meanings == {
        ("a", ""): "About a.",
        ("a", "x"): "One, two.",
        ("a", "y"): "One, two.",
        ("a", "z"): "",
        ("a", "w"): "four",
        ("a", "v"): "",
    }


def test_types_bounds_and_defaults_are_text() -> None:
    class Example(Section):
        share: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (80, 95)
        pause: float = Field(2.5, gt=0)
        file: Path | None = None
        name: str

    cells = [configure.cells_of(field) for field in Example.model_fields.values()]
    assert cells == [
        ("list: integer from 1 to 100", "`[80, 95]`"),
        ("number above 0", "`2.5`"),
        ("path", "none"),
        ("text", "required"),
    ]


def test_a_type_without_a_name_is_reported() -> None:
    class Odd(Section):
        odd: complex = 0j

    with pytest.raises(configure.MissingDescription, match="complex"):
        configure.cells_of(Odd.model_fields["odd"])


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
def test_its_examples_are_valid_and_change_something(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, "utf-8")
    assert config.load(file, {}).model_dump(include=set(tomllib.loads(text))) != config.load(None, {}).model_dump(
        include=set(tomllib.loads(text))
    )


def test_the_example_with_environment_variables_equals_the_example_file(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    environ = dict(re.findall(r"^export (\w+)='?(.+?)'?$", page, re.MULTILINE))
    callers = config.load(None, environ).callers
    (text,) = (
        block for block in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "callers" in block
    )
    file = tmp_path / "config.toml"
    file.write_text(text, "utf-8")
    assert callers == config.load(file, {}).callers != ()
    assert config.load(None, environ).limits.rpm == config.load(file, {}).limits.rpm
