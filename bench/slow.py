"""Hundreds of slow uploads beside small requests: memory of an upload, latency of the small requests.

The slow uploads run in another process, so that this one only times the small requests.
"""

import multiprocessing
import statistics
import time
from contextlib import closing
from multiprocessing.connection import Connection

from bench.form import SMALL_BYTES, form
from bench.target import Target, WrongAnswer, answer_on
from bench.trickle import Trickle

_SMALL_PER_SECOND = 100
_OPENING_SECONDS = 60
_CLOSING_SECONDS = 2
_MOST_LOST = 0.05
_FEWEST_SMALL = 5


def slow(target: Target, uploads: int, seconds: float) -> dict[str, float]:
    if target.meter:
        target.meter.begin_peak()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    trickler = context.Process(target=_trickle, args=(target, uploads, theirs), daemon=True)
    trickler.start()
    try:
        _await(ours, "the uploads did not open")
        cpu, began = target.cpu_seconds(), time.monotonic()
        taken = _small_requests(target, seconds)
        busy = (target.cpu_seconds() - cpu) / (time.monotonic() - began)
        ours.send("stop")
        lost = _await(ours, "the uploads did not end")
    finally:
        trickler.join(_CLOSING_SECONDS)
        trickler.kill()
        trickler.join()
    if lost > _MOST_LOST * uploads:
        raise WrongAnswer(f"{lost} of {uploads} slow uploads were cut off")
    return _figures(target, uploads, taken, busy)


def _figures(target: Target, uploads: int, taken: list[float], busy: float) -> dict[str, float]:
    if len(taken) < _FEWEST_SMALL:
        raise WrongAnswer(f"only {len(taken)} small uploads were answered")
    centiles = statistics.quantiles(taken, n=100)
    figures = {"small_p50_ms": centiles[49], "small_p99_ms": centiles[98]}
    if target.meter:
        peak = target.meter.peak_over_base_mb()
        figures |= {"peak_mb": peak, "upload_kb": peak * 1000 / uploads, "busy_percent": busy * 100}
    return figures


def _await(pipe: Connection, otherwise: str) -> int:
    if not pipe.poll(_OPENING_SECONDS):
        raise WrongAnswer(otherwise)
    return int(pipe.recv())


def _small_requests(target: Target, seconds: float) -> list[float]:
    """Returns the milliseconds of each request. They follow each other at a fixed rate."""
    upload = form(SMALL_BYTES)
    request = target.head(upload) + upload.body
    taken = []
    with closing(target.connect()) as connection:
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            connection.sendall(request)
            answer_on(connection)
            taken.append((time.monotonic() - began) * 1000)
            time.sleep(max(0, began + 1 / _SMALL_PER_SECOND - time.monotonic()))
    return taken


def _trickle(target: Target, uploads: int, pipe: Connection) -> None:
    """Opens the uploads and reports when all have started. Sends until the pipe says stop, and reports the cut ones."""
    trickle = Trickle(target, uploads)
    trickle.until(lambda: trickle.sent_chunks >= uploads)
    pipe.send(0)
    trickle.until(pipe.poll)
    pipe.send(len(trickle.lost))
