"""Uploads of 25 MB on several connections: MB/s, CPU time of an upload, peak memory over idle."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from bench.form import LARGE_BYTES, Form, form
from bench.target import Target, answer_on


def large(target: Target, together: int, seconds: float, *, file_first: bool = False) -> dict[str, float]:
    upload = form(LARGE_BYTES, file_first=file_first)
    if target.meter:
        target.meter.begin_peak()
    cpu = target.cpu_seconds()
    began = time.monotonic()
    with ThreadPoolExecutor(together) as pool:
        loops = [pool.submit(_one_after_another, target, upload, began + seconds) for _ in range(together)]
        taken = [seconds_taken for loop in loops for seconds_taken in loop.result()]
    elapsed = time.monotonic() - began
    figures = {"mb_s": len(taken) * LARGE_BYTES / 1e6 / elapsed, "p50_ms": statistics.median(taken) * 1000}
    if target.meter:
        used = target.cpu_seconds() - cpu
        figures |= {"cpu_ms": used / len(taken) * 1000, "busy_percent": used / elapsed * 100}
        figures["peak_mb"] = target.meter.peak_over_base_mb()
    return figures


def _one_after_another(target: Target, upload: Form, end: float) -> list[float]:
    """Returns the seconds of each upload, at least one. Each uses its own connection, as SDKs often do."""
    taken: list[float] = []
    head, body = target.head(upload, close=True), memoryview(upload.body)
    while not taken or time.monotonic() < end:
        began = time.monotonic()
        with closing(target.connect()) as connection:
            connection.sendall(head)
            connection.sendall(body)
            answer_on(connection)
        taken.append(time.monotonic() - began)
    return taken
