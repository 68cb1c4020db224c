"""The cost of the ledger's size: a month's usage by caller, and reserve + settle, on an empty and on a full ledger.

    python -m bench.ledger [--rows 10000000] [--requests 2000] [--rounds 3] [--json]

Prints medians with minimum and maximum, and the ratio of the full ledger to the empty one. The same work alternates
between both. Both are deleted at the end.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import date
from pathlib import Path

from app.adapters.sqlite import Database, LedgerWriter
from app.adapters.sqlite.usage_reports import usage_totals
from app.gateway.ledger_rows import Hold, SettlementResult, State
from app.policy.budget import Amounts
from app.services.usage import Grouping, Period
from app.units import Tokens, UsageSource
from bench import table
from bench.figures import Comparison, LedgerFigures
from bench.fill import fill
from bench.install import LEDGERS, emptied

MONTH = Period(date(2026, 2, 1), date(2026, 2, 28))

_BOUND = Amounts(6_000_000, 60_000, 2_000)

Work = Callable[[Database], float]


def main() -> None:
    options = _options()
    with emptied(LEDGERS) as folder:
        figures = _measure(folder, options.rows, options.requests, options.rounds)
    print(json.dumps(asdict(figures)) if options.json else table.text(table.ledger(figures)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print every round")
    return parser.parse_args()


def _measure(folder: Path, rows: int, requests: int, rounds: int) -> LedgerFigures:
    empty, full = Database(folder / "empty.db"), Database(folder / "full.db")
    fill(empty, 0)
    began = time.perf_counter()
    fill(full, rows)
    seconds, size = time.perf_counter() - began, full.path.stat().st_size
    works: dict[str, Work] = {"usage by caller, one month: ms": _report}
    for together in (1, 64):
        works[f"hold + settle, {together} at once: ms each"] = _reserving(requests, together)
    compared = [_compare(what, rounds, empty, full, work) for what, work in works.items()]
    return LedgerFigures(rows, size / 1e6, seconds, compared)


def _compare(what: str, rounds: int, empty: Database, full: Database, work: Work) -> Comparison:
    """Does the same work on both in turn, the first time without counting it."""
    for database in (empty, full):
        work(database)
    taken = [(work(empty), work(full)) for _ in range(rounds)]
    return Comparison(what, [first for first, _ in taken], [second for _, second in taken])


def _report(database: Database) -> float:
    with closing(database.connect()) as connection:
        began = time.perf_counter()
        usage_totals(connection, Grouping.CALLER, MONTH)
        return (time.perf_counter() - began) * 1000


def _reserving(requests: int, together: int) -> Work:
    def work(database: Database) -> float:
        return asyncio.run(_reserve_and_settle(database, requests, together))

    return work


async def _reserve_and_settle(database: Database, requests: int, together: int) -> float:
    writer = LedgerWriter(database)
    writer.open()
    writer.start()
    names = iter(range(requests))
    stamp = time.time_ns()
    try:
        began = time.perf_counter()
        await asyncio.gather(*(_one_after_another(writer, names, stamp) for _ in range(together)))
        return (time.perf_counter() - began) / requests * 1000
    finally:
        await writer.stop()


async def _one_after_another(writer: LedgerWriter, names: Iterator[int], stamp: int) -> None:
    for number in names:
        request_id = f"req_{stamp}_{number}"
        await writer.reserve(_hold(request_id))
        await writer.settle(_settlement(request_id))


def _hold(request_id: str) -> Hold:
    now = time.time_ns() // 1_000_000
    return Hold(
        request_id, "caller-1", "key-1", "transcribe", "model-1", "upstream", "model", "wav", now, now, _BOUND, ()
    )


def _settlement(request_id: str) -> SettlementResult:
    now = time.time_ns() // 1_000_000
    return SettlementResult(
        id=request_id,
        state=State.SETTLED,
        status=200,
        error=None,
        bound=_BOUND,
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
