"""Writes the tables of docs/configure.md.

Names, types, bounds and defaults are those of the classes in app/config. What a setting means is told in
config.example.toml and nowhere else: by the comment behind its line, or by the one above it.

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

from app.config import ENV_PREFIX, HELD_FROM_THE_START, Config, PriceTable, Section
from app.config.catalogue import Dollars
from app.policy.pricing import Price

ROOT = Path(__file__).parents[1]
PAGE, EXAMPLE = ROOT / "docs" / "configure.md", ROOT / "config.example.toml"
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"

_HEADER = re.compile(r"^(?:#\s+)?\[{1,2}([\w.]+)\]{1,2}$")
_SETTING = re.compile(r"^(?:#\s+)?(\w+) = .*?(?:\s{2,}# (.+))?$")
_COMMENT = re.compile(r"^#(?: (.*))?$")

_WORDS: Mapping[object, str] = {
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


class Untold(Exception):
    """Something that a reader would look for in vain."""


def tables(example: str) -> str:
    """All settings, a table of Markdown for each section; Untold where the example is silent."""
    told = meanings(example)
    return "\n\n".join(_section(name, section, told) for name, section in sections().items())


def sections() -> dict[str, type[Section]]:
    """The class of every section, by its name in the file."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        found[name] = _class_of(field.annotation)
        if name == "models":
            found["models.price"] = PriceTable
    return found


def meanings(example: str) -> Meanings:
    """What the example says of each setting, by section and name; of a section itself under the name ""."""
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
            said = _COMMENT.match(line)
            comment = f"{comment} {said[1] or ''}".strip() if said else ""
    return found


def page(before: str, example: str) -> str:
    """The page with the tables of this example between its markers."""
    head, _, rest = before.partition(f"{BEGIN}\n")
    return f"{head}{BEGIN}\n{tables(example)}\n{END}{rest.partition(END)[2]}"


def _section(name: str, section: type[Section], told: Meanings) -> str:
    alone = name in Config.model_fields and _is_one(Config.model_fields[name])
    title = f"### `[{name}]`" if alone or "." in name else f"### `[[{name}]]`"
    rows = [_row(name, key, field, told, alone) for key, field in section.model_fields.items()]
    variable = "" if alone or "." in name else f" As a JSON array in `{ENV_PREFIX}{name.upper()}`."
    restart = " Changes need a restart." if HELD_FROM_THE_START.get(name, ()) is None else ""
    about = (told.get((name, ""), "") + variable + restart).strip()
    head = "| setting | type | default | meaning |\n| --- | --- | --- | --- |"
    return "\n\n".join(part for part in (title, about, "\n".join((head, *rows))) if part)


def _row(section: str, key: str, field: FieldInfo, told: Meanings, variable: bool) -> str:
    meaning = told.get((section, key), "").rstrip(".:")
    if not meaning:
        raise Untold(
            f"config.example.toml says nothing of {key} in [{section}]: give it a line there, "
            "at its default or indented as an example, with a comment above or behind it"
        )
    named = f"`{key}`" + (f"<br>`{ENV_PREFIX}{section.upper()}__{key.upper()}`" if variable else "")
    restart = " Needs a restart." if key in (HELD_FROM_THE_START.get(section) or ()) else ""
    cells = (named, *cells_of(field), f"{meaning[0].upper()}{meaning[1:]}.{restart}")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def cells_of(field: FieldInfo) -> tuple[str, str]:
    """The type and the default of a setting in words."""
    return " ".join((_word(field.annotation), *_bounds(field.metadata))), _default(field)


def _word(annotation: Any) -> str:
    """The type in words; Untold for one that has none yet."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join((_word(inner[0]), *_bounds(inner[1:])))
    if origin in (Union, UnionType):
        return _word(next(each for each in inner if each is not NoneType))
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in inner)
    if origin is tuple:
        return f"list: {_word(inner[0])}"
    if origin is dict:
        return f"table: {_word(inner[1])}"
    raise Untold(f"scripts/configure.py has no word for the type {annotation}")


def _bounds(metadata: Any) -> Iterator[str]:
    for rule in metadata:
        if type(rule) in _BOUNDS:
            word, name = _BOUNDS[type(rule)]
            yield f"{word} {getattr(rule, name)}"
        elif isinstance(rule, FieldInfo):
            yield from _bounds(rule.metadata)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{json.dumps(field.default, default=str)}`"


def _is_one(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type)


def _class_of(annotation: Any) -> type[Section]:
    found: type[Section] = annotation if isinstance(annotation, type) else get_args(annotation)[0]
    return found


if __name__ == "__main__":
    try:
        PAGE.write_text(page(PAGE.read_text("utf-8"), EXAMPLE.read_text("utf-8")), "utf-8")
    except Untold as error:
        sys.exit(str(error))
