"""Installed and locked packages are new enough to be without known faults, and the audit reports vulnerable ones."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.contract.tree import ROOT

# The first versions without the faults that this gateway would be open to.
LEAST = {
    "python-multipart": (0, 0, 31),
    "starlette": (1, 3, 1),
    "h11": (0, 16),
    "httptools": (0, 6, 3),
}
LEAST_SQLITE = (3, 51, 3)  # before it a WAL database can be corrupted when two connections write or checkpoint at once


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def locked(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("package", LEAST)
def test_installed_packages_are_new_enough(package: str) -> None:
    assert numbers(version(package)) >= LEAST[package]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locked_packages_are_new_enough(lock: str) -> None:
    pinned = locked(lock)
    assert {package: pinned[package] for package in LEAST if numbers(pinned[package]) < LEAST[package]} == {}


def test_required_packages_are_new_enough() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    least = dict(re.findall(r"^([a-z-]+)>=([\d.]+)", "\n".join(asked), re.MULTILINE))
    assert {name: least[name] for name in LEAST if name in least and numbers(least[name]) < LEAST[name]} == {}
    assert set(LEAST) - set(least) == {"h11"}  # uvicorn's, and never used to read a caller's bytes
    assert numbers(least["apsw"]) >= LEAST_SQLITE


def test_sqlite_is_new_enough() -> None:
    assert numbers(apsw.sqlite_lib_version()) >= LEAST_SQLITE


GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "odd", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "status", "output"),
    [
        ([GOOD, SKIPPED], 0, "1 packages checked, 0 vulnerable"),
        ([GOOD, BAD], 1, "bad 1: CVE-1"),
        ([SKIPPED], 0, "not audited"),
        (None, 0, "not audited"),
    ],
    ids=["clean", "vulnerable", "nothing known", "unreachable"],
)
def test_the_audit_fails_only_on_a_vulnerable_package(
    tmp_path: Path, found: list[dict[str, Any]] | None, status: int, output: str
) -> None:
    """Runs with a pip-audit that prints this report. None is what it prints without a network."""
    report = "" if found is None else json.dumps({"dependencies": found, "fixes": []})
    (tmp_path / "pip_audit.py").write_text(f"print({report!r})\nraise SystemExit({int(found != [GOOD, SKIPPED])})\n")
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), "some.lock"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert output in done.stdout
