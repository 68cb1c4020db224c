"""The memory, open files and threads of a process (proc(5))."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """Resident memory in bytes; open files by name, including `socket` and other kinds; threads."""

    resident: int
    names: Counter[str]
    threads: int

    @property
    def files(self) -> int:
        return self.names.total()


def vitals(process: Path) -> Vitals:
    """Returns the vitals of the process with this folder under /proc."""
    status = (process / "status").read_text()
    kilobytes = re.search(r"VmRSS:\s+(\d+) kB", status)
    threads = re.search(r"Threads:\s+(\d+)", status)
    assert kilobytes is not None
    assert threads is not None
    names = Counter(Path(target).name.split(":")[0] for target in _open_files(process))
    return Vitals(int(kilobytes[1]) * 1024, names, int(threads[1]))


def unlinked_files(process: Path, folder: Path) -> list[str]:
    """Returns the files of this folder that the process has open and that are unlinked."""
    return [
        target for target in _open_files(process) if target.startswith(str(folder)) and target.endswith("(deleted)")
    ]


def _open_files(process: Path) -> list[str]:
    """Returns their paths, or their kinds, as in `socket:[4711]`."""
    targets = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            targets.append(str(file.readlink()))
    return targets


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Returns whether the condition holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
