"""Where the tools and the peers come from: what the machine has is used, the rest is put into `bench/.cache`.

Nothing is installed outside of that folder. What cannot be had is `Missing`, with a reason for the report.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE / ".cache"

# What each Debian package needs besides what every Debian has.
_DEBIAN = {
    "wrk": ("wrk", "libluajit-5.1-2", "libluajit-5.1-common"),
    "nginx": ("nginx",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
}
_INSTALL_SECONDS = 900


class Missing(Exception):
    """A tool or a peer cannot be had here. The message says why."""


@dataclass(frozen=True)
class Tool:
    """A program and the environment that it needs."""

    path: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Its own words, cut to one line."""
        for option in ("-v", "--version"):
            done = subprocess.run(
                [self.path, option],
                env={**os.environ, **self.environment},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            told = (done.stdout + done.stderr).strip()
            if told:
                return told.partition("\n")[0][:80]
        return "unknown"


def debian(name: str) -> Tool:
    """A program of Debian's: the machine's own, else unpacked from its package."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found:
        return Tool(found)
    root = CACHE / "debian"
    unpacked = _unpacked(root, name)
    if not unpacked:
        _unpack(root, name)
        unpacked = _unpacked(root, name)
    if not unpacked:
        raise Missing(f"{name} is not in its Debian package")
    libraries = ":".join(str(folder) for folder in (root / "usr" / "lib").glob("*-linux-gnu"))
    return Tool(str(unpacked[0]), {"LD_LIBRARY_PATH": libraries})


def _unpacked(root: Path, name: str) -> list[Path]:
    return [path for folder in ("bin", "sbin") if (path := root / "usr" / folder / name).is_file()]


def _unpack(root: Path, name: str) -> None:
    packages = CACHE / "packages" / name
    packages.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", *_DEBIAN[name]], f"{name}: apt-get download", packages)
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)], f"{name}: dpkg-deb", packages)


def python_program(name: str, requirement: str, program: str) -> Tool:
    """A program from PyPI, in a virtual environment of its own."""
    home = CACHE / name
    path = home / "bin" / program
    if not path.exists():
        _run([sys.executable, "-m", "venv", str(home)], f"{name}: venv", CACHE)
        _run([str(home / "bin" / "pip"), "install", "--quiet", requirement], f"{name}: pip install {requirement}", home)
    return Tool(str(path))


def python_version(tool: Tool, package: str) -> str:
    """The version of a package beside this program."""
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    python = str(Path(tool.path).with_name("python"))
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()


def node_package(name: str, package: str) -> Path:
    """The folder of a package from npm."""
    home = CACHE / name
    folder = home / "node_modules" / package
    if not (folder / "package.json").exists():
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Missing(f"{name}: there is no {program}")
        home.mkdir(parents=True, exist_ok=True)
        _run(["npm", "install", "--prefix", str(home), package], f"{name}: npm install {package}", home)
    return folder


def _run(command: list[str], what: str, folder: Path) -> None:
    """Run a step of an installation, its output in `install.log`; Missing if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (CACHE / "install.log").open("a") as log:
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, timeout=_INSTALL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{what} failed ({type(error).__name__}); see bench/.cache/install.log") from error
