"""What a process holds, as its kernel tells (proc(5))."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """Resident memory in bytes; how many files of which name are open, `socket` and the like among them; threads."""

    resident: int
    names: Counter[str]
    threads: int

    @property
    def files(self) -> int:
        return self.names.total()


def vitals(process: Path) -> Vitals:
    """Of the process with this folder under /proc."""
    status = (process / "status").read_text()
    kilobytes = re.search(r"VmRSS:\s+(\d+) kB", status)
    threads = re.search(r"Threads:\s+(\d+)", status)
    assert kilobytes is not None
    assert threads is not None
    names = Counter(Path(target).name.split(":")[0] for target in _open_files(process))
    return Vitals(int(kilobytes[1]) * 1024, names, int(threads[1]))


def unlinked_files(process: Path, folder: Path) -> list[str]:
    """The files of this folder that the process has open and that have no name any more."""
    found = _open_files(process)
    return [target for target in found if target.startswith(str(folder)) and target.endswith("(deleted)")]


def _open_files(process: Path) -> list[str]:
    """Their paths, or what they are, as in `socket:[4711]`."""
    targets = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            targets.append(str(file.readlink()))
    return targets


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether this comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
