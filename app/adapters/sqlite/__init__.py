"""The ledger: one SQLite file through apsw, which brings a SQLite without the WAL faults of 3.7.0 to 3.51.2.

    schema     what the tables are, and the steps from each version of them to the next
    database   opening a file, with words for everything that can be wrong with it
    migration  bringing a file of an older gateway up to date
    writer     the gateway's one writing connection: group commit on a thread of its own
    statements what it writes, as SQL and its values
    reader     the gateway's reading connection: keys and what callers have spent
    desk       work beside the requests, such as reports, on threads of its own
    callers    callers and keys as they are managed, and the audit
    resolving  rows in state `unknown`, and closing them
    sums       the sums that usage reports are made of
    export     the rows themselves
    backup     a copy, while others write
    checking   what must be true of every ledger
    pruning    taking out old rows, while their sums stay

Only `writer` writes rows of requests; commands beside a running gateway use short transactions of their own.
"""

from app.adapters.sqlite.callers import LedgerCallers
from app.adapters.sqlite.database import Database, LedgerUnusable
from app.adapters.sqlite.executor import LedgerExecutor
from app.adapters.sqlite.maintenance.reconciliation import LedgerUnknown
from app.adapters.sqlite.reader import LedgerReader
from app.adapters.sqlite.usage_reports import budget_statuses, has_usage, usage_totals
from app.adapters.sqlite.writer import LedgerWriter

__all__ = [
    "Database",
    "LedgerCallers",
    "LedgerExecutor",
    "LedgerReader",
    "LedgerUnknown",
    "LedgerUnusable",
    "LedgerWriter",
    "budget_statuses",
    "has_usage",
    "usage_totals",
]
