"""What the documents say exists: commands, options, targets, settings, error codes, links, names of the code."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from app.adapters.ledger.schema import TABLES
from app.cli import app as command_line
from tests.contract.tree import ROOT, documents, is_variable, settings, text_files, variables_in

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

each_document = pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text("utf-8"))


def code(document: Path) -> list[str]:
    """Every line of a block of commands, its comment cut off, and everything between backticks."""
    blocks = [block for language, block in _FENCE.findall(document.read_text("utf-8")) if language == "sh"]
    lines = [line.split("  #")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*lines, *_INLINE.findall(prose(document))]


def commands(document: Path, name: str) -> Iterator[list[str]]:
    """The words behind each `name` that stands as a command, without those of a shell around it."""
    for line in code(document):
        if found := re.search(rf"(?:^|\s){name} +([^|;&]+)", line):
            yield found[1].split()


# -- what is run ------------------------------------------------------------------------------------------------------


@each_document
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {words[0] for words in commands(document, "make")} <= targets


@each_document
def test_every_command_and_option_exists(document: Path) -> None:
    unknown = [words for words in commands(document, "audio-gateway") if not understood(words)]
    assert unknown == []


def understood(words: list[str]) -> bool:
    """Whether the command line has these subcommands and options, with the right number of arguments."""
    command: Any = typer.main.get_command(command_line)
    rest = list(words)
    while isinstance(command, TyperGroup):
        if not rest:
            return True
        if rest[0] not in command.commands:
            return False
        command = command.commands[rest.pop(0)]
    try:
        command.make_context("audio-gateway", list(rest))
    except Exception as error:
        # Typer keeps the errors of its command line to itself; they are told by their exit status.
        if getattr(error, "exit_code", None) != 2:
            raise
        return type(error).__name__ == "MissingParameter" and not rest
    return True


@pytest.mark.parametrize(
    "line",
    ["usage --by colour", "usage --sinse 2026-11-01", "keys make x", "usages", "keys create a b", "serve --port 1"],
)
def test_the_check_of_commands_finds_what_is_wrong(line: str) -> None:
    assert not understood(line.split())


@pytest.mark.parametrize("name", ["serve", "check", "demo", "usage", "keys create", "keys list", "keys revoke"])
def test_the_readme_shows_every_command(name: str) -> None:
    shown = [" ".join(words) for words in commands(README, "audio-gateway")]
    if name == "demo":
        shown = [" ".join(words) for words in commands(README, "make")]
    assert any(line == name or line.startswith(f"{name} ") for line in shown)


def test_the_names_above_are_all_commands() -> None:
    root = typer.main.get_command(command_line)
    assert isinstance(root, TyperGroup)
    keys = root.commands["keys"]
    assert isinstance(keys, TyperGroup)
    assert set(root.commands) == {"serve", "check", "demo", "usage", "keys"}
    assert set(keys.commands) == {"create", "list", "revoke"}


# -- what is named ----------------------------------------------------------------------------------------------------


@each_document
def test_every_relative_link_resolves(document: Path) -> None:
    links = [link for link in _LINK.findall(prose(document)) if not re.match(r"https?://", link)]
    assert [link for link in links if not resolves(document, link)] == []


def resolves(document: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    if not (target.exists() and target.is_relative_to(ROOT)):
        return False
    return not anchor or anchor in {slug(heading) for heading in _HEADING.findall(target.read_text("utf-8"))}


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_a_link_that_leads_nowhere_is_found() -> None:
    assert not resolves(README, "docs/nothing.md")
    assert not resolves(README, "docs/architecture.md#nothing")
    assert resolves(README, "docs/architecture.md#errors")


@each_document
def test_every_environment_variable_exists(document: Path) -> None:
    assert [name for name in sorted(variables_in(document.read_text("utf-8"))) if not is_variable(name)] == []


@each_document
def test_every_name_with_an_underscore_is_one_of_the_code(document: Path) -> None:
    """Settings, error codes, fields, columns: what a reader would look for must be found."""
    named = {
        name for text in _INLINE.findall(prose(document)) for name in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", text)
    }
    assert named - words_of_the_code() == set()


def words_of_the_code() -> set[str]:
    files = [*(ROOT / "app").rglob("*.py"), ROOT / "pyproject.toml"]
    return {word for file in files for word in re.findall(r"\w+", file.read_text("utf-8"))}


@each_document
def test_every_module_exists(document: Path) -> None:
    modules = {name for text in _INLINE.findall(prose(document)) for name in re.findall(r"\bapp(?:\.[a-z_]+)+", text)}
    paths = {name: ROOT / name.replace(".", "/") for name in modules}
    assert [name for name, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").is_file())] == []


@each_document
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = {
        text for text in _INLINE.findall(prose(document)) if re.fullmatch(r"(?:app|tests|docs|\.ci)/[\w./-]+", text)
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@each_document
def test_every_section_of_the_settings_exists(document: Path) -> None:
    named = set(re.findall(r"`\[+(\w+)\]+`", prose(document)))
    assert named <= set(settings())


# -- errors and states ------------------------------------------------------------------------------------------------


def error_codes() -> set[str]:
    """The codes of every Refusal that the gateway makes."""
    made = set()
    for file in (ROOT / "app" / "errors.py", *(ROOT / "app" / "api").glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Refusal":
                made |= {each.value for each in call.args[1:2] if isinstance(each, ast.Constant)}
    return {str(code) for code in made} | {"bad_request"}


def test_the_table_of_errors_is_complete() -> None:
    table = set(re.findall(r"^\| \d{3} \| `(\w+)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE))
    assert table == error_codes()


@each_document
def test_every_error_code_exists(document: Path) -> None:
    named = set(re.findall(r"\b[45]\d\d `(\w+)`", document.read_text("utf-8")))
    assert named <= error_codes()


def test_the_comments_of_the_settings_name_errors_that_exist() -> None:
    text = (ROOT / "config.example.toml").read_text("utf-8")
    assert set(re.findall(r"\b[45]\d\d (\w+_\w+|overloaded)\b", text)) <= error_codes()


@pytest.mark.parametrize("document", [README, ARCHITECTURE], ids=["README.md", "architecture.md"])
def test_the_states_of_a_row_are_those_of_the_ledger(document: Path) -> None:
    states = set(re.findall(r"'(\w+)'", TABLES.partition("CHECK (state IN")[2].partition(")")[0]))
    table = re.findall(r"^\| `(\w+)` \|", document.read_text("utf-8"), re.MULTILINE)
    assert set(table) | {"held"} == states


@pytest.mark.parametrize(("container", "told"), [("app", 0), ("app.gateway", 1)])
def test_the_layers_of_the_document_are_those_that_are_checked(container: str, told: int) -> None:
    blocks = [block for language, block in _FENCE.findall(ARCHITECTURE.read_text("utf-8")) if language == "text"]
    shown = [line.split("   ")[0] for part in blocks[told].splitlines() for line in part.split(" > ")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("containers") == [container])
    assert shown == contract["layers"]
    assert contract["exhaustive"] is True


# -- the whole tree ---------------------------------------------------------------------------------------------------

# Written in pieces, so that this file is not one that names them.
_REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org")
_OF_ONE_MACHINE = re.compile(r"(?<![\w.~$-])/(?:" + "work|root|home" + r")/\w")


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """An index is a matter of where a thing is installed; locks name files by their hashes."""
    assert [path for path in text_files() if any(host in path.read_text("utf-8") for host in _REGISTRIES)] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert [path for path in text_files() if _OF_ONE_MACHINE.search(path.read_text("utf-8"))] == []


def test_the_checks_of_the_tree_see_the_tree() -> None:
    seen = {str(path.relative_to(ROOT)) for path in text_files()}
    assert {"README.md", "app/main.py", ".ci/run", "requirements.lock", "tests/contract/test_docs.py"} <= seen
    assert _OF_ONE_MACHINE.search("cd /" + "work/main")
