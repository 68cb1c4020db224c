"""What a process holds, as its kernel tells (proc(5))."""

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """Resident memory in bytes; open files, sockets among them; threads."""

    resident: int
    files: int
    threads: int


def vitals(process: Path) -> Vitals:
    """Of the process with this folder under /proc."""
    status = (process / "status").read_text()
    kilobytes = re.search(r"VmRSS:\s+(\d+) kB", status)
    threads = re.search(r"Threads:\s+(\d+)", status)
    assert kilobytes is not None
    assert threads is not None
    return Vitals(int(kilobytes[1]) * 1024, len(list((process / "fd").iterdir())), int(threads[1]))


def unlinked_files(process: Path, folder: Path) -> list[str]:
    """The files of this folder that the process has open and that have no name any more."""
    links = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            links.append(str(file.readlink()))
    return [link for link in links if link.startswith(str(folder)) and link.endswith("(deleted)")]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether this comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
