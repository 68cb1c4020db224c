"""Small uploads on several connections, sent by wrk: requests/s, latency, CPU time of a request."""

import json
import os
import subprocess

from bench import install
from bench.form import SMALL_BYTES, content_type, form
from bench.target import Target, WrongAnswer

_SPARE_SECONDS = 30
_MOST_BROKEN = 0.01


def small(target: Target, connections: int, seconds: float) -> dict[str, float]:
    cpu = target.cpu_seconds()
    counts = _wrk(target, connections, seconds)
    done = counts["requests"] - counts["refused"]
    if done <= 0 or counts["refused"] + counts["broken"] > _MOST_BROKEN * counts["requests"]:
        raise WrongAnswer(
            f"{counts['refused']:.0f} refused and {counts['broken']:.0f} broken of {counts['requests']:.0f}"
        )
    figures = {"requests_s": done / counts["seconds"], "p50_ms": counts["p50_ms"], "p99_ms": counts["p99_ms"]}
    if target.meter:
        used = target.cpu_seconds() - cpu
        figures |= {"cpu_us": used / done * 1e6, "busy_percent": used / counts["seconds"] * 100}
    return figures


def _wrk(target: Target, connections: int, seconds: float) -> dict[str, float]:
    tool = install.debian("wrk")
    body = target.folder / "small.form"
    body.write_bytes(form(SMALL_BYTES).body)
    script = ["-s", str(install.HERE / "small.lua"), target.url, "--", str(body), content_type()["Content-Type"]]
    headers = [f"{name}: {value}" for name, value in target.headers.items()]
    shape = ["-t", "1", "-c", str(connections), "-d", f"{seconds:.0f}s", "--timeout", "20s", "--latency"]
    done = subprocess.run(
        [*tool.command, *shape, *script, *headers],
        env={**os.environ, **tool.environment},
        capture_output=True,
        text=True,
        timeout=seconds + _SPARE_SECONDS,
        check=True,
    )
    return dict(json.loads(done.stdout.strip().rpartition("\n")[2]))
