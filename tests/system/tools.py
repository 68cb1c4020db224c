"""The system programs that these tests run. A missing one fails the test and never skips it."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# The Debian packages whose name differs from the program's.
PACKAGES = {"go": "golang-go", "systemd-analyze": "systemd"}


def path_of(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        package = PACKAGES.get(tool, tool)
        pytest.fail(f"{tool} is missing; install it with: apt-get install {package}   (or run: make test-system)")
    return found


def run(tool: str, *arguments: str | Path, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, whatever its exit status."""
    command: Sequence[str] = [path_of(tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
