"""`make` installs the packages with one line of progress on a terminal, and prints pip's output after a failure."""

import os
import pty
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from scripts.install import count, progress
from tests.contract.tree import ROOT

HASH = "--hash=sha256:" + "0" * 64
SCRIPT = str(ROOT / "scripts" / "install.py")
# pip finds installed packages only, and contacts no index.
OFFLINE = {**os.environ, "PIP_NO_INDEX": "1"}


def test_each_package_of_a_lock_counts_once() -> None:
    assert count("one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n# via two\ntwo==2 ; x < '3' \\\n") == 2
    assert count((ROOT / "requirements-dev.lock").read_text("utf-8")) > 50


def test_progress_follows_the_output_of_pip() -> None:
    output = [
        "Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment\n",
        "Collecting annotated-types==0.7.0 (from -r lock (line 1))\n",
        "  Downloading annotated_types-0.7.0-py3-none-any.whl (13 kB)\n",
        "Requirement already satisfied: rich==14 in ./lib\n",
        "Processing ./apsw.whl (from -r lock (line 5))\n",
        "Installing collected packages: apsw, annotated-types\n",
    ]
    assert list(progress(output, 4)) == [
        *(f"Getting packages: {number} of 4" for number in (1, 2, 3, 4)),
        "Unpacking 4 packages",
    ]


def test_a_terminal_shows_the_progress_in_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(f"pip=={version('pip')} {HASH}\n")
    terminal, side = pty.openpty()
    done = subprocess.run([sys.executable, SCRIPT, sys.executable, str(lock)], env=OFFLINE, stdout=side, check=False)
    os.close(side)
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert done.returncode == 0
    first, rest = shown.split("\n", 1)
    assert first.startswith("Installing 1 packages")
    assert "Getting packages: 1 of 1" in rest
    assert "\n" not in rest


def test_a_failure_shows_the_output_of_pip(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(f"no-such-package-of-ours==1.0 {HASH}\n")
    done = subprocess.run(
        [sys.executable, SCRIPT, sys.executable, str(lock)], env=OFFLINE, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "No matching distribution found for no-such-package-of-ours==1.0" in done.stderr
    assert "Getting packages" not in done.stdout


def test_make_uses_the_script() -> None:
    dry = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "scripts/install.py .venv/bin/python requirements-dev.lock" in dry.stdout
