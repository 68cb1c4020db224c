"""Everything that the documents name exists: commands, options, settings, error codes, links, names in the code."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main
from fastapi.routing import APIRoute
from pydantic import SecretStr
from typer.core import TyperGroup

from app.adapters.sqlite.schema import TABLES
from app.api.admin import admin_router
from app.cli import app as command_line
from app.gateway.auth_failures import AuthFailureLimiter
from app.policy.caller_policy import CallerPolicy
from app.services.usage import Grouping
from tests.contract.tree import ROOT, documents, is_variable, settings, text_files, variables_in
from tests.system import tools

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CALLERS = ROOT / "docs" / "callers.md"
CLIENTS = ROOT / "docs" / "clients.md"
EXAMPLES = ROOT / "docs" / "examples"

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FILE = re.compile(r"(?:app|tests|docs|\.ci)/[\w./-]+")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# snake_case or CamelCase.
_CODE_NAME = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b|\b(?:[A-Z][a-z]+){2,}\b")

each_document = pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text("utf-8"))


def code(document: Path) -> list[str]:
    """Returns every line of each shell block, without its comment, and everything between backticks."""
    blocks = [block for language, block in _FENCE.findall(document.read_text("utf-8")) if language == "sh"]
    lines = [line.split("  #")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*lines, *_INLINE.findall(prose(document))]


def commands(document: Path, name: str) -> Iterator[list[str]]:
    """Yields the arguments of each use of the command `name`, without pipes and redirections."""
    for line in code(document):
        if found := re.search(rf"(?:^|\s){name} +([^|;&>]+)", line):
            yield found[1].split()


# -- commands --------------------------------------------------------------------------------------------------------


@each_document
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {words[0] for words in commands(document, "make")} <= targets


@each_document
def test_every_command_and_option_exists(document: Path) -> None:
    unknown = [words for words in commands(document, "audio-gateway") if not is_valid_command(words)]
    assert unknown == []


def test_no_hint_installs_an_extra_from_an_index() -> None:
    """The package is in no index, so a hint such as `pip install name[extra]` could install something else."""
    naming = {
        path.relative_to(ROOT) for path in text_files() if re.search(r"audio-gateway\[\w", path.read_text("utf-8"))
    }
    assert naming == {Path("pyproject.toml")}


def test_make_installs_the_packages_that_failing_tests_name() -> None:
    (line,) = re.findall(r"^SYSTEM_TOOLS := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert dict(word.split(":") for word in line.split() if ":" in word) == tools.PACKAGES


def is_valid_command(words: list[str]) -> bool:
    """Returns whether the command line accepts these subcommands, options and arguments."""
    command: Any = typer.main.get_command(command_line)
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if isinstance(command, TyperGroup) and not rest:
        return True
    try:
        context = command.make_context("audio-gateway", list(rest))
    except Exception as error:
        # Typer's usage errors are private classes. Their exit status identifies them.
        if getattr(error, "exit_code", None) != 2:
            raise
        return type(error).__name__ == "MissingParameter" and not rest
    # Arguments that a group did not take as options would name a subcommand.
    return not (context.args or getattr(context, "_protected_args", []))


@pytest.mark.parametrize(
    "line",
    [
        "usage --by colour",
        "usage --sinse 2026-11-01",
        "usage --by model exports",
        "keys make x",
        "keys create a --rpm many",
        "keys create a b",
    ],
)
def test_an_invalid_command_is_detected(line: str) -> None:
    assert not is_valid_command(line.split())


@pytest.mark.parametrize(
    "line", ["usage --by model --since 2026-11-01", "usage export --verify", "keys", "keys create"]
)
def test_a_valid_command_is_accepted(line: str) -> None:
    assert is_valid_command(line.split())


def every_command() -> list[str]:
    """Returns the names of all commands. A group that runs without a subcommand, such as `usage`, is one of them."""
    root = typer.main.get_command(command_line)
    assert isinstance(root, TyperGroup)
    names = []
    for name, command in root.commands.items():
        below = list(command.commands) if isinstance(command, TyperGroup) else []
        alone = not isinstance(command, TyperGroup) or command.invoke_without_command
        names += [name] * alone + [f"{name} {each}" for each in below]
    return names


@pytest.mark.parametrize("name", every_command())
def test_the_readme_shows_every_command(name: str) -> None:
    examples = [" ".join(words) for words in commands(README, "audio-gateway")]
    if name == "demo":
        examples = [" ".join(words) for words in commands(README, "make")]
    assert any(line == name or line.startswith(f"{name} ") for line in examples)


def test_every_command_is_found() -> None:
    keys = {f"keys {name}" for name in ("create", "list", "show", "update", "rotate", "revoke")}
    ledger = {f"ledger {name}" for name in ("backup", "check", "prune", "unknown", "resolve")}
    others = {"serve", "reload", "check", "doctor", "demo", "usage", "usage export", "audit"}
    assert set(every_command()) == keys | ledger | others


# -- links and names -------------------------------------------------------------------------------------------------


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


def test_every_document_is_reachable_from_the_readme() -> None:
    found, new = set[Path](), {README}
    while new:
        found |= new
        new = {target for document in new for target in targets(document)} - found
    assert set(documents()) - found == set()


def test_the_readme_lists_every_document() -> None:
    part = README.read_text("utf-8").partition("\n## Documents\n")[2].partition("\n## ")[0]
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - set(_LINK.findall(part)) == set()


def targets(document: Path) -> set[Path]:
    """Returns the documents that this one links to; for a linked folder, all documents in it."""
    links = {(document.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(document))}
    folders = {each for link in links if link.is_dir() for each in link.rglob("*.md")}
    return {each for each in links | folders if each.suffix == ".md" and each.is_file()}


def test_a_broken_link_is_detected() -> None:
    assert not resolves(README, "docs/nothing.md")
    assert not resolves(README, "docs/architecture.md#nothing")
    assert resolves(README, "docs/architecture.md#errors")


@each_document
def test_every_environment_variable_exists(document: Path) -> None:
    assert [name for name in sorted(variables_in(document.read_text("utf-8"))) if not is_variable(name)] == []


@each_document
def test_every_code_name_exists(document: Path) -> None:
    """Settings, error codes, fields, columns, classes: a search of the code finds each one."""
    texts = [text for text in _INLINE.findall(prose(document)) if not _FILE.fullmatch(text)]
    named = {name for text in texts for name in _CODE_NAME.findall(text)}
    metrics = {name for name in named if name.startswith("audio_gateway_")}  # test_operate.py checks these
    assert named - metrics - words_of_the_code() == set()


def words_of_the_code() -> set[str]:
    """Returns every word of the package's source and of pyproject.toml."""
    files = [*(ROOT / "app").rglob("*.py"), ROOT / "pyproject.toml"]
    return {word for file in files for word in re.findall(r"\w+", file.read_text("utf-8"))}


@each_document
def test_every_module_exists(document: Path) -> None:
    modules = {
        name for text in _INLINE.findall(prose(document)) for name in re.findall(r"\bapp(?:\.[a-z0-9_]+)+", text)
    }
    paths = {name: ROOT / name.replace(".", "/") for name in modules}
    assert [name for name, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").is_file())] == []


@each_document
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = {text for text in _INLINE.findall(prose(document)) if _FILE.fullmatch(text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@each_document
def test_every_section_of_the_settings_exists(document: Path) -> None:
    named = set(re.findall(r"`\[+(\w+)\]+`", prose(document)))
    assert named <= set(settings())


# -- clients ----------------------------------------------------------------------------------------------------------


def test_the_client_page_shows_the_tested_programs() -> None:
    programs = [block for _, block in _FENCE.findall(CLIENTS.read_text("utf-8"))][1:]
    files = [EXAMPLES / f"transcribe.{suffix}" for suffix in ("py", "mjs", "sh", "go")]
    assert programs == [file.read_text("utf-8") for file in files]
    assert set(files) == set(EXAMPLES.iterdir())


# -- callers ----------------------------------------------------------------------------------------------------------


def test_the_table_of_a_callers_policy_is_complete() -> None:
    table = re.findall(r"^\| `(\w+)` \|", CALLERS.read_text("utf-8"), re.MULTILINE)
    assert table == [field.name for field in fields(CallerPolicy)]


def test_the_documented_policy_options_exist() -> None:
    options = set(re.findall(r"^\| `\w+` \| `(--[a-z]+)`", CALLERS.read_text("utf-8"), re.MULTILINE))
    assert options == {f"--{field.name}".removesuffix("s") for field in fields(CallerPolicy)}
    assert all(is_valid_command(["keys", "create", "x", option, "1"]) for option in options)
    assert all(is_valid_command(["keys", "update", "x", option, "1"]) for option in options)


def test_the_table_of_admin_routes_is_complete() -> None:
    async def unused(*_: Any) -> Any: ...

    routes = admin_router(SecretStr("unused"), AuthFailureLimiter(1), unused, unused, unused, unused).routes
    existing = {
        f"{method} {route.path}" for route in routes if isinstance(route, APIRoute) for method in route.methods or ()
    }
    text = CALLERS.read_text("utf-8")
    documented = re.findall(r"^\| `([A-Z]+ /admin/[^`?]+)`", text, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == existing


def test_the_readme_lists_the_groupings_of_usage() -> None:
    (line,) = re.findall(r"^Groups: (.+?)\.", README.read_text("utf-8"), re.MULTILINE)
    assert line.split(", ") == [grouping.value for grouping in Grouping]


def test_the_webhook_example_verifies_signatures() -> None:
    """Uses the values of GitHub's documentation, which signs webhooks in the same way."""
    blocks = [block for language, block in _FENCE.findall(CALLERS.read_text("utf-8")) if language == "python"]
    (example,) = (block for block in blocks if "sha256" in block)
    names: dict[str, Any] = {}
    exec(example, names)
    genuine: Callable[[bytes, str, str], bool] = names["genuine"]
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert genuine(body, signature, secret)
    assert not genuine(body + b" ", signature, secret)
    assert not genuine(body, signature, secret + " ")
    assert not genuine(body, signature.removeprefix("sha256="), secret)


# -- errors and states ------------------------------------------------------------------------------------------------


def error_codes() -> set[str]:
    """Returns the code of every APIError in the source: named in its call, or in a table of the same module."""
    codes: set[str] = set()
    for file in (ROOT / "app" / "errors.py", *(ROOT / "app" / "api").glob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "APIError":
                codes |= {code for argument in call.args[1:2] for code in codes_in(argument, tree)}
    return codes | {"bad_request"}


def codes_in(argument: ast.expr, module: ast.Module) -> set[str]:
    """Returns the texts that an argument can be: a constant, or the values of a table of constants."""
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    if not (isinstance(argument, ast.Subscript) and isinstance(argument.value, ast.Name)):
        return set()
    tables = [each for each in module.body if isinstance(each, ast.Assign) and isinstance(each.value, ast.Dict)]
    (table,) = (each.value for each in tables if ast.unparse(each.targets[0]) == argument.value.id)
    assert isinstance(table, ast.Dict)
    return {str(each.value) for each in table.values if isinstance(each, ast.Constant)}


def test_the_table_of_errors_is_complete() -> None:
    table = set(re.findall(r"^\| \d{3} \| `(\w+)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE))
    assert table == error_codes()


@each_document
def test_every_error_code_exists(document: Path) -> None:
    named = set(re.findall(r"\b[45]\d\d `(\w+)`", document.read_text("utf-8")))
    assert named <= error_codes()


def test_every_error_code_in_the_example_settings_exists() -> None:
    text = (ROOT / "config.example.toml").read_text("utf-8")
    assert set(re.findall(r"\b[45]\d\d (\w+_\w+|overloaded)\b", text)) <= error_codes()


def test_the_table_of_states_is_complete() -> None:
    states = set(re.findall(r"'(\w+)'", TABLES.partition("CHECK (state IN")[2].partition(")")[0]))
    table = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    assert set(table) | {"held"} == states


@pytest.mark.parametrize(("container", "position"), [("app", 0), ("app.gateway", 1)])
def test_the_documented_layers_are_those_of_the_import_contracts(container: str, position: int) -> None:
    blocks = [block for language, block in _FENCE.findall(ARCHITECTURE.read_text("utf-8")) if language == "text"]
    layers = [line.split("   ")[0] for part in blocks[position].splitlines() for line in part.split(" > ")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("containers") == [container])
    assert layers == contract["layers"]
    assert contract["exhaustive"] is True


# -- the whole tree ---------------------------------------------------------------------------------------------------

# Split, so that this file does not contain the names.
_REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org")
_OF_ONE_MACHINE = re.compile(r"(?<![\w.~$-])/(?:" + "work|root|home" + r")/\w")


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Each installation chooses its index. The locks identify files by hash."""
    assert [path for path in text_files() if any(host in path.read_text("utf-8") for host in _REGISTRIES)] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert [path for path in text_files() if _OF_ONE_MACHINE.search(path.read_text("utf-8"))] == []


def test_the_checks_see_the_whole_tree() -> None:
    checked = {str(path.relative_to(ROOT)) for path in text_files()}
    assert {"README.md", "app/main.py", ".ci/run", "requirements.lock", "tests/contract/test_docs.py"} <= checked
    assert _OF_ONE_MACHINE.search("cd /" + "work/main")
