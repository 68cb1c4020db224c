"""Describes the machine of a result, measures its durable writes, and assigns its cores."""

import os
import platform
import statistics
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

from bench.install import CACHE, debian

_SYNCS = 200


def cores() -> tuple[int, int]:
    """Returns the core of the gateway under test, and the core of the load and the upstream."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("bench: needs two cores, one for the gateway and one for the load and the upstream")
    return allowed[0], allowed[-1]


def describe() -> dict[str, str]:
    """Returns what a reader needs to judge the figures. The load average shows whether other programs ran."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "durable write of 4 KiB": f"{durable_write_ms():.3f} ms",
        "load average at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "10,000,000 steps of a Python loop": f"{python_loop_seconds():.2f} s",
        "python": f"{platform.python_version()}, {_build_kind()}",
        "revision": _first_line(["git", "describe", "--always", "--dirty", "--abbrev=12"]),
        "wrk": debian("wrk").version.partition(" [")[0],
        "gcc": _first_line(["gcc", "-dumpfullversion"]),
    }


def durable_write_ms() -> float:
    """Returns the median of write + fdatasync of 4 KiB on the ledgers' disk, in milliseconds."""
    CACHE.mkdir(exist_ok=True)
    taken = []
    with tempfile.TemporaryFile(dir=CACHE) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def python_loop_seconds() -> float:
    """Returns the time of a fixed loop. If a shared core makes it slower than usual, all figures are slower."""
    began = time.perf_counter()
    for _ in range(10_000_000):
        pass
    return time.perf_counter() - began


def _build_kind() -> str:
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return "profile-guided build" if optimized else "built without profile-guided optimisation"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "unknown"
    return (done.stdout or done.stderr).strip().partition("\n")[0] or "unknown"
