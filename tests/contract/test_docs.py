"""What the documents say exists: commands, options, targets, settings, error codes, links, names of the code."""

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

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FILE = re.compile(r"(?:app|tests|docs|\.ci)/[\w./-]+")
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
        if found := re.search(rf"(?:^|\s){name} +([^|;&>]+)", line):
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


def test_an_extra_is_installed_from_the_tree() -> None:
    """The package is in no index: a hint that names it there would install whatever has that name."""
    told = {path.relative_to(ROOT) for path in text_files() if re.search(r"audio-gateway\[\w", path.read_text("utf-8"))}
    assert told == {Path("pyproject.toml")}


def test_the_packages_that_make_installs_are_those_that_a_failed_test_names() -> None:
    (line,) = re.findall(r"^SYSTEM_TOOLS := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    told = dict(word.split(":") for word in line.split() if ":" in word)
    assert told == tools.PACKAGES


def understood(words: list[str]) -> bool:
    """Whether the command line has these subcommands and options, with the right number of arguments."""
    command: Any = typer.main.get_command(command_line)
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if isinstance(command, TyperGroup) and not rest:
        return True
    try:
        context = command.make_context("audio-gateway", list(rest))
    except Exception as error:
        # Typer keeps the errors of its command line to itself; they are told by their exit status.
        if getattr(error, "exit_code", None) != 2:
            raise
        return type(error).__name__ == "MissingParameter" and not rest
    # What a group has not taken for its own options would be the name of a command.
    return not (context.args or getattr(context, "_protected_args", []))


@pytest.mark.parametrize(
    "line",
    [
        "usage --by colour",
        "usage --sinse 2026-11-01",
        "usage exports",
        "usage --by model exports",
        "usage export --by model",
        "keys make x",
        "keys --format json",
        "keys create a --rpm many",
        "ledger resolve x --seconds some",
        "usages",
        "keys create a b",
        "serve --port 1",
    ],
)
def test_the_check_of_commands_finds_what_is_wrong(line: str) -> None:
    assert not understood(line.split())


@pytest.mark.parametrize(
    "line", ["usage", "usage --by model --since 2026-11-01", "usage export --verify", "keys", "keys create", "audit"]
)
def test_the_check_of_commands_knows_what_is_right(line: str) -> None:
    assert understood(line.split())


def every_command() -> list[str]:
    """The names of all commands, `usage` among them, which does something without one of its own."""
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
    shown = [" ".join(words) for words in commands(README, "audio-gateway")]
    if name == "demo":
        shown = [" ".join(words) for words in commands(README, "make")]
    assert any(line == name or line.startswith(f"{name} ") for line in shown)


def test_the_names_above_are_all_commands() -> None:
    keys = {f"keys {name}" for name in ("create", "list", "show", "update", "rotate", "revoke")}
    ledger = {f"ledger {name}" for name in ("backup", "check", "prune", "unknown", "resolve")}
    others = {"serve", "reload", "check", "doctor", "demo", "usage", "usage export", "audit"}
    assert set(every_command()) == keys | ledger | others


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


def test_every_document_is_found_from_the_readme() -> None:
    found, new = set[Path](), {README}
    while new:
        found |= new
        new = {target for document in new for target in targets(document)} - found
    assert set(documents()) - found == set()


def test_the_list_of_documents_is_complete() -> None:
    part = README.read_text("utf-8").partition("\n## Documents\n")[2].partition("\n## ")[0]
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - set(_LINK.findall(part)) == set()


def targets(document: Path) -> set[Path]:
    """The documents that this one links to, those of a folder together."""
    links = {(document.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(document))}
    folders = {each for link in links if link.is_dir() for each in link.rglob("*.md")}
    return {each for each in links | folders if each.suffix == ".md" and each.is_file()}


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
    texts = [text for text in _INLINE.findall(prose(document)) if not _FILE.fullmatch(text)]
    named = {name for text in texts for name in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", text)}
    metrics = {name for name in named if name.startswith("audio_gateway_")}  # test_deploy.py looks at these
    assert named - metrics - words_of_the_code() == set()


def words_of_the_code() -> set[str]:
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


def test_the_programs_of_the_page_of_clients_are_the_files_that_the_tests_run() -> None:
    shown = [block for _, block in _FENCE.findall(CLIENTS.read_text("utf-8"))][1:]
    files = [EXAMPLES / f"transcribe.{suffix}" for suffix in ("py", "mjs", "sh", "go")]
    assert shown == [file.read_text("utf-8") for file in files]
    assert set(files) == set(EXAMPLES.iterdir())


# -- callers ----------------------------------------------------------------------------------------------------------


def test_the_table_of_terms_is_complete() -> None:
    table = re.findall(r"^\| `(\w+)` \|", CALLERS.read_text("utf-8"), re.MULTILINE)
    assert table == [field.name for field in fields(CallerPolicy)]


def test_the_options_of_the_terms_are_those_of_the_commands() -> None:
    told = set(re.findall(r"^\| `\w+` \| `(--[a-z]+)`", CALLERS.read_text("utf-8"), re.MULTILINE))
    assert told == {f"--{field.name}".removesuffix("s") for field in fields(CallerPolicy)}
    assert all(understood(["keys", command, "x", option, "1"]) for command in ("create", "update") for option in told)


def test_the_table_of_admin_routes_is_complete() -> None:
    async def unused(*_: Any) -> Any: ...

    routes = admin_router(SecretStr("unused"), AuthFailureLimiter(1), unused, unused, unused, unused).routes
    made = {
        f"{method} {route.path}" for route in routes if isinstance(route, APIRoute) for method in route.methods or ()
    }
    text = CALLERS.read_text("utf-8")
    told = re.findall(r"^\| `([A-Z]+ /admin/[^`?]+)`", text, re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == made


def test_the_groupings_of_usage_are_named() -> None:
    (line,) = re.findall(r"^Groups: (.+?)\.", README.read_text("utf-8"), re.MULTILINE)
    assert line.split(", ") == [grouping.value for grouping in Grouping]


def test_the_example_that_checks_a_webhook_does_so() -> None:
    """The values are those of GitHub's documentation, whose signatures are the same: a check from outside."""
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
    """The codes of every APIError that the gateway makes, where the call names it or a table of the module does."""
    made: set[str] = set()
    for file in (ROOT / "app" / "errors.py", *(ROOT / "app" / "api").glob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "APIError":
                made |= {code for argument in call.args[1:2] for code in told_by(argument, tree)}
    return made | {"bad_request"}


def told_by(argument: ast.expr, module: ast.Module) -> set[str]:
    """The texts that an argument can be: a constant, or a place in a table of constants."""
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    if not (isinstance(argument, ast.Subscript) and isinstance(argument.value, ast.Name)):
        return set()
    tables = [each for each in module.body if isinstance(each, ast.Assign) and isinstance(each.value, ast.Dict)]
    (table,) = (each.value for each in tables if ast.unparse(each.targets[0]) == argument.value.id)
    assert isinstance(table, ast.Dict)
    return {str(each.value) for each in table.values if isinstance(each, ast.Constant)}


def test_the_codes_of_the_admin_api_are_among_them() -> None:
    assert {"not_found", "conflict", "invalid_value", "rate_limit_exceeded"} <= error_codes()


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


def test_the_states_of_a_row_are_those_of_the_ledger() -> None:
    states = set(re.findall(r"'(\w+)'", TABLES.partition("CHECK (state IN")[2].partition(")")[0]))
    table = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
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
