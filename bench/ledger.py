"""Does the ledger's size show? A month's usage by caller, and hold + settle, on an empty ledger and on a full one.

    python -m bench.ledger [--rows 1000000] [--requests 2000] [--rounds 5]

Prints medians with min and max, and the ratio of the full ledger to the empty one, for the same work in turn.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

from app.adapters.ledger import Database, LedgerWriter, usage_sums
from app.adapters.ledger.database import immediate
from app.gateway.accounting import Outcome, State
from app.gateway.admission import Hold
from app.gateway.report import Grouping, Period
from app.policy.budget import Amounts
from app.units import Tokens, UsageSource

CALLERS, MODELS, DAYS = 40, 4, 90
FIRST_MS = 1_767_225_600_000
DAY_MS = 86_400_000
MONTH = Period(date(2026, 2, 1), date(2026, 2, 28))

_ROWS = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
INSERT INTO requests (id, caller, key_id, task, model, upstream, upstream_model, container, state, bound_audio_ms,
    bound_tokens, bound_nano_usd, received_ms, admitted_ms, held_seq)
SELECT printf('req_%012d', i), 'caller-' || (i % {CALLERS}), 'key-' || (i % {CALLERS}), 'transcribe',
    'model-' || (i % {MODELS}), 'upstream', 'model', 'wav', 'held', 60000, 2000, 6000000,
    {FIRST_MS} + (i % {DAYS}) * {DAY_MS}, {FIRST_MS} + (i % {DAYS}) * {DAY_MS}, i
FROM n
"""
_SETTLED = """
UPDATE requests SET state = 'settled', status = 200, source = 'upstream', audio_ms = 30000, input_tokens = 300,
    output_tokens = 100, total_tokens = 400, charged_tokens = 400, cost_nano_usd = 3000000, done_ms = admitted_ms + 900,
    closed_seq = held_seq + 1
"""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        empty, full = Database(Path(folder) / "empty.db"), Database(Path(folder) / "full.db")
        _fill(empty, 0)
        began = time.perf_counter()
        _fill(full, options.rows)
        print(
            f"{options.rows} rows filled in {time.perf_counter() - began:.1f} s, {full.path.stat().st_size >> 20} MiB\n"
        )
        print(f"{'':42} {'empty':>26} {'full':>26} {'ratio':>7}")
        _compare("usage --by caller, one month, ms", options.rounds, empty, full, _report)
        for together in (1, 64):
            work = _holding(options.requests, together)
            _compare(f"hold + settle, {together} at once, ms each", options.rounds, empty, full, work)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _fill(database: Database, rows: int) -> None:
    with closing(database.connect()) as connection:
        if rows:
            with immediate(connection):
                connection.execute(_ROWS, (rows,))
                connection.execute(_SETTLED)
        connection.pragma("wal_checkpoint(truncate)")


def _compare(what: str, rounds: int, empty: Database, full: Database, work: Callable[[Database], float]) -> None:
    """Milliseconds of the same work on both, in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for database, into in zip((empty, full), taken, strict=True):
            into.append(work(database))
    small, large = (statistics.median(each) for each in taken)
    spans = [f"{statistics.median(each):9.3f} ({min(each):.3f}-{max(each):.3f})" for each in taken]
    print(f"{what:42} {spans[0]:>26} {spans[1]:>26} {large / small:6.2f}x")


def _report(database: Database) -> float:
    with closing(database.connect()) as connection:
        began = time.perf_counter()
        usage_sums(connection, Grouping.CALLER, MONTH)
        return (time.perf_counter() - began) * 1000


def _holding(requests: int, together: int) -> Callable[[Database], float]:
    def work(database: Database) -> float:
        return asyncio.run(_hold_and_settle(database, requests, together))

    return work


async def _hold_and_settle(database: Database, requests: int, together: int) -> float:
    writer = LedgerWriter(database)
    writer.start()
    names = iter(range(requests))
    stamp = time.time_ns()
    began = time.perf_counter()
    await asyncio.gather(*(_one_after_another(writer, names, stamp) for _ in range(together)))
    taken = time.perf_counter() - began
    await writer.stop()
    return taken / requests * 1000


async def _one_after_another(writer: LedgerWriter, names: Iterator[int], stamp: int) -> None:
    for number in names:
        request_id = f"req_{stamp}_{number}"
        await writer.hold(_hold(request_id))
        await writer.close(_outcome(request_id))


def _hold(request_id: str) -> Hold:
    now = time.time_ns() // 1_000_000
    bound = Amounts(6_000_000, 60_000, 2_000)
    return Hold(
        request_id, "caller-1", "key-1", "transcribe", "model-1", "upstream", "model", "wav", now, now, bound, ()
    )


def _outcome(request_id: str) -> Outcome:
    now = time.time_ns() // 1_000_000
    return Outcome(
        id=request_id,
        state=State.SETTLED,
        status=200,
        error=None,
        charge=Amounts(3_000_000, 30_000, 400),
        tokens=Tokens(300, 100, 400),
        source=UsageSource.UPSTREAM,
        file_bytes=32_000,
        response_format="json",
        stream=False,
        upstream_request_id=None,
        sent_ms=now,
        answered_ms=now,
        done_ms=now,
    )


if __name__ == "__main__":
    main()
