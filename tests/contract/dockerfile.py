"""Parses a Dockerfile into stages of instructions, as far as the Dockerfile of this tree needs it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    word: str
    value: str

    @property
    def array(self) -> list[str]:
        """Returns the command in exec form. Raises ValueError for the shell form."""
        parsed = json.loads(self.value)
        if not (isinstance(parsed, list) and all(isinstance(each, str) for each in parsed)):
            raise ValueError(self.value)
        return parsed


@dataclass(frozen=True)
class Stage:
    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    def one(self, word: str) -> Instruction:
        (found,) = self.all(word)
        return found

    @property
    def environment(self) -> dict[str, str]:
        pairs = [pair for each in self.all("ENV") for pair in re.findall(r'(\w+)=("[^"]*"|\S+)', each.value)]
        return {name: value.strip('"') for name, value in pairs}

    @property
    def labels(self) -> dict[str, str]:
        pairs = [pair for each in self.all("LABEL") for pair in re.findall(r'([\w.]+)=("[^"]*"|\S+)', each.value)]
        return {name: value.strip('"') for name, value in pairs}

    @property
    def healthcheck(self) -> list[str]:
        """Returns the command of HEALTHCHECK. Raises ValueError unless it is in exec form."""
        _, _, command = self.one("HEALTHCHECK").value.partition("CMD")
        return Instruction("CMD", command.strip()).array


def parse(file: Path) -> list[Stage]:
    """Returns the stages in their order."""
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    stages: list[Stage] = []
    for line in filter(str.strip, joined.splitlines()):
        word, _, value = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = value.partition(" AS ")
            stages.append(Stage(base.strip(), name.strip()))
        else:
            stages[-1].instructions.append(Instruction(word, re.sub(r"\s+", " ", value).strip()))
    return stages
