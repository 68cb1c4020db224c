"""The programs of the system that these tests drive. One that is missing is a failure, never a skip."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def path_of(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.fail(f"{tool} is missing; install it with: apt-get install {tool}   (or run: make test-system)")
    return found


def run(tool: str, *arguments: str | Path, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, whatever its exit status."""
    command: Sequence[str] = [path_of(tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
