"""Writes the tables of docs/configure.md.

Names, types, bounds and defaults come from the classes in app/config. The meaning of a setting is its comment in
config.example.toml: at the end of its line, or above it.

    python -m scripts.configure
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from app.config import ENV_PREFIX, RESTART_ONLY, Config, PriceTable, Section
from app.config.catalogue import Dollars
from app.policy.pricing import Price

ROOT = Path(__file__).parents[1]
PAGE, EXAMPLE = ROOT / "docs" / "configure.md", ROOT / "config.example.toml"
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"

_HEADER = re.compile(r"^(?:#\s+)?\[{1,2}([\w.]+)\]{1,2}$")
_SETTING = re.compile(r"^(?:#\s+)?(\w+) = .*?(?:\s{2,}# (.+))?$")
_COMMENT = re.compile(r"^#(?: (.*))?$")

_TYPE_NAMES: Mapping[object, str] = {
    bool: "`true`, `false`",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    Price: 'table, or `"free"`',
    Dollars: "US dollars",
}
_BOUNDS = {Ge: ("from", "ge"), Gt: ("above", "gt"), Le: ("to", "le")}

Meanings = Mapping[tuple[str, str], str]


class MissingDescription(Exception):
    """A setting without a comment in the example, or a type without a name."""


def tables(example: str) -> str:
    """Returns a Markdown table for each section. Raises MissingDescription."""
    comments = meanings(example)
    return "\n\n".join(_section(name, section, comments) for name, section in sections().items())


def sections() -> dict[str, type[Section]]:
    """Returns the class of each section by its name in the file."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        found[name] = _class_of(field.annotation)
        if name == "models":
            found["models.price"] = PriceTable
    return found


def meanings(example: str) -> Meanings:
    """Returns the comment of each setting by section and name. The comment of a section has the name ""."""
    found: dict[tuple[str, str], str] = {}
    section, comment = "", ""
    for line in example.splitlines():
        if header := _HEADER.match(line):
            section = header[1]
            found.setdefault((section, ""), comment)
            comment = ""
        elif setting := _SETTING.match(line):
            found.setdefault((section, setting[1]), setting[2] or comment)
        else:
            match = _COMMENT.match(line)
            comment = f"{comment} {match[1] or ''}".strip() if match else ""
    return found


def page(current: str, example: str) -> str:
    """Returns the page with the tables of this example between its markers."""
    head, _, rest = current.partition(f"{BEGIN}\n")
    return f"{head}{BEGIN}\n{tables(example)}\n{END}{rest.partition(END)[2]}"


def _section(name: str, section: type[Section], comments: Meanings) -> str:
    single = name in Config.model_fields and _is_single(Config.model_fields[name])
    title = f"### `[{name}]`" if single or "." in name else f"### `[[{name}]]`"
    rows = [_row(name, key, field, comments, single) for key, field in section.model_fields.items()]
    variable = "" if single or "." in name else f" Environment variable: `{ENV_PREFIX}{name.upper()}`, a JSON array."
    restart = " Changes need a restart." if RESTART_ONLY.get(name, ()) is None else ""
    intro = (comments.get((name, ""), "") + variable + restart).strip()
    head = "| setting | type | default | meaning |\n| --- | --- | --- | --- |"
    return "\n\n".join(part for part in (title, intro, "\n".join((head, *rows))) if part)


def _row(section: str, key: str, field: FieldInfo, comments: Meanings, has_variable: bool) -> str:
    meaning = comments.get((section, key), "").rstrip(".:")
    if not meaning:
        raise MissingDescription(
            f"config.example.toml does not describe {key} of [{section}]: add a line with its default, "
            "or an indented example, and a comment above it or at its end"
        )
    label = f"`{key}`" + (f"<br>`{ENV_PREFIX}{section.upper()}__{key.upper()}`" if has_variable else "")
    restart = " Needs a restart." if key in (RESTART_ONLY.get(section) or ()) else ""
    cells = (label, *cells_of(field), f"{meaning[0].upper()}{meaning[1:]}.{restart}")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def cells_of(field: FieldInfo) -> tuple[str, str]:
    """Returns the type and the default of a setting as text."""
    return " ".join((_type_name(field.annotation), *_bounds(field.metadata))), _default(field)


def _type_name(annotation: Any) -> str:
    """Returns the name of a type. Raises MissingDescription for a type without one."""
    if annotation in _TYPE_NAMES:
        return _TYPE_NAMES[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join((_type_name(inner[0]), *_bounds(inner[1:])))
    if origin in (Union, UnionType):
        return _type_name(next(member for member in inner if member is not NoneType))
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in inner)
    if origin is tuple:
        return f"list: {_type_name(inner[0])}"
    if origin is dict:
        return f"table: {_type_name(inner[1])}"
    raise MissingDescription(f"scripts/configure.py has no name for the type {annotation}")


def _bounds(metadata: Any) -> Iterator[str]:
    for rule in metadata:
        if type(rule) in _BOUNDS:
            preposition, name = _BOUNDS[type(rule)]
            yield f"{preposition} {getattr(rule, name)}"
        elif isinstance(rule, FieldInfo):
            yield from _bounds(rule.metadata)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{json.dumps(field.default, default=str)}`"


def _is_single(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type)


def _class_of(annotation: Any) -> type[Section]:
    found: type[Section] = annotation if isinstance(annotation, type) else get_args(annotation)[0]
    return found


if __name__ == "__main__":
    try:
        PAGE.write_text(page(PAGE.read_text("utf-8"), EXAMPLE.read_text("utf-8")), "utf-8")
    except MissingDescription as error:
        sys.exit(str(error))
