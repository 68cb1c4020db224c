"""The ledger: one SQLite file through apsw, whose SQLite has no faults of the write-ahead log (3.7.0 to 3.51.2 have).

These modules serve requests and reports:

    schema         the tables, and the migration steps from each version to the next
    connection     one connection: transactions, the tables of a new file, messages for errors
    database       opening the file, and the lock of the gateway that serves from it
    migration      the migration of a file of an older gateway
    writer         the one connection that writes requests: group commit on its own thread
    statements     the SQL that the writer runs
    reader         the gateway's reading connection: keys, spent budgets, due alerts, resolutions
    session        the ports that commands, the admin API and reports use, over one connection
    executor       work beside the requests, such as reports, on its own threads
    callers        the repository of callers, keys and audit entries
    usage_reports  the totals and the budget statuses of usage reports

`maintenance` has what an operator does with a ledger, beside a running gateway or without one:

    backup         a copy of the file
    integrity      checks of everything that must hold in a ledger
    pruning        removal of old rows; their totals stay
    reconciliation the unknown requests, and their resolution
    export         the rows of requests, and the check of the daily totals against them

Only `writer` writes rows of requests; commands beside a running gateway use short transactions of their own.
"""

from app.adapters.sqlite.callers import SqliteCallers
from app.adapters.sqlite.database import Database
from app.adapters.sqlite.executor import LedgerExecutor
from app.adapters.sqlite.reader import LedgerReader
from app.adapters.sqlite.session import SqliteLedgerStore, SqliteSession
from app.adapters.sqlite.writer import LedgerWriter

__all__ = [
    "Database",
    "LedgerExecutor",
    "LedgerReader",
    "LedgerWriter",
    "SqliteCallers",
    "SqliteLedgerStore",
    "SqliteSession",
]
