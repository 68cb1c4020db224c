"""The files of the tree and the names of the settings, for the tests that check files."""

import re
from pathlib import Path

from app import config
from scripts.configure import sections

ROOT = Path(__file__).parents[2]

_MADE = {"node_modules", "__pycache__", "data", "dist", "secrets"}


def text_files() -> list[Path]:
    """Returns every text file of the tree, without git's own files and those that tools and runs create."""
    found = []
    for path in sorted(ROOT.rglob("*")):
        steps = path.relative_to(ROOT).parts
        hidden = any(step.startswith(".") and step not in (".ci", ".dockerignore", ".gitignore") for step in steps)
        made = _MADE.intersection(steps) or any(step.endswith(".egg-info") for step in steps)
        if path.is_file() and not hidden and not made and b"\0" not in path.read_bytes()[:4096]:
            found.append(path)
    return found


def documents() -> list[Path]:
    """Returns the documents."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def is_variable(name: str) -> bool:
    """Returns whether this environment variable is a setting of the gateway."""
    try:
        config.load(None, {name: ""})
    except config.InvalidConfig as error:
        return "no such setting" not in str(error)
    return True


def settings() -> dict[str, set[str]]:
    """Returns the settings of each section, with array tables and the price of a model."""
    return {name.removeprefix("models."): set(section.model_fields) for name, section in sections().items()}


def variables_in(text: str) -> set[str]:
    return set(re.findall(r"\bAUDIO_GATEWAY_[A-Z0-9_]*[A-Z0-9]\b", text))
