"""Installs the locked packages with the pip of a virtual environment: `install.py PYTHON LOCK`.

A first installation takes a minute or more, so one line on the terminal shows the progress. Without a terminal there is
no progress. After a failure, it prints all of pip's output.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_OPTIONS = ("--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:")
_REQUIREMENT = re.compile(r"^[A-Za-z0-9][^\s=]*==", re.MULTILINE)
# Pip fetches a requirement, finds it installed, or ignores it because its marker does not match this machine.
_HANDLED = ("Collecting ", "Processing ", "Requirement already satisfied: ", "Ignoring ")
_LAST_STEP = "Installing collected packages"
_CLEAR_LINE = "\r\x1b[K"


def count(lock: str) -> int:
    """Returns the number of packages that a lock pins."""
    return len(_REQUIREMENT.findall(lock))


def progress(output: Iterable[str], total: int) -> Iterator[str]:
    """Yields the progress from those lines of pip's output that show it."""
    handled = 0
    for line in output:
        if line.startswith(_HANDLED):
            handled += 1
            yield f"Getting packages: {min(handled, total)} of {total}"
        elif line.startswith(_LAST_STEP):
            yield f"Unpacking {total} packages"


def install(python: str, lock: Path) -> int:
    """Runs pip and returns its exit status."""
    total, lines = count(lock.read_text("utf-8")), list[str]()
    on_terminal = sys.stdout.isatty()
    print(
        f"Installing {total} packages into {Path(python).parents[1]}; this takes a minute the first time.", flush=True
    )
    command = [python, "-m", "pip", "install", *_OPTIONS, "-r", str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for state in progress(_copy_lines(pip.stdout, lines), total):
            if on_terminal:
                print(f"{_CLEAR_LINE}{state}", end="", flush=True)
    if on_terminal:
        print(_CLEAR_LINE, end="", flush=True)
    if pip.returncode:
        print("".join(lines), end="", file=sys.stderr)
    return pip.returncode


def _copy_lines(output: Iterable[str], lines: list[str]) -> Iterator[str]:
    for line in output:
        lines.append(line)
        yield line


if __name__ == "__main__":
    raise SystemExit(install(sys.argv[1], Path(sys.argv[2])))
