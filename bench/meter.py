"""Reads from /proc what a gateway's processes use: CPU time, idle memory, and peak memory over idle."""

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"
# clock_getcpuclockid(3): the complement of the process id, and the kind of clock in the low three bits.
_CLOCK_OF_PROCESS = 2


class ProcessMeter:
    """A process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._base = 0

    def cpu_seconds(self) -> float:
        """Returns user and system time, with that of ended children."""
        return sum(_own_seconds(pid) + _ended_seconds(pid) for pid in self._tree())

    def proportional_mb(self) -> float:
        """Returns resident memory in MB, with shared pages divided among their processes (PSS)."""
        return sum(_kib(pid, "smaps_rollup", "Pss:") for pid in self._tree()) * 1024 / 1e6

    def begin_peak(self) -> None:
        """Resets the kernel's record of the highest resident size."""
        for pid in self._tree():
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
        self._base = self._sum("VmRSS:")

    def peak_over_base_mb(self) -> float:
        """Returns how far resident memory has risen since `begin_peak`, in MB."""
        return max(0, self._sum("VmHWM:") - self._base) * 1024 / 1e6

    def _sum(self, line: str) -> int:
        return sum(_kib(pid, "status", line) for pid in self._tree())

    def _tree(self) -> list[int]:
        parents = {
            int(entry.name): _parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()
        }
        tree = [self._pid]
        for pid in tree:
            tree += [child for child, parent in parents.items() if parent == pid]
        return tree


def _stat(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat after the name, beginning with the state. Empty for an ended process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _own_seconds(pid: int) -> float:
    """Returns the time of all threads of a process from its CPU clock. /proc would count in ticks of 10 ms."""
    try:
        return time.clock_gettime(~pid << 3 | _CLOCK_OF_PROCESS)
    except OSError:
        return 0


def _ended_seconds(pid: int) -> float:
    return sum(map(int, _stat(pid)[13:15])) / _TICKS


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _kib(pid: int, file: str, line: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(each.split()[1]) for each in lines if each.startswith(line)), 0)
