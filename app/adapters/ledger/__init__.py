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

from app.adapters.ledger.callers import LedgerCallers
from app.adapters.ledger.database import Database, LedgerUnusable
from app.adapters.ledger.desk import LedgerDesk
from app.adapters.ledger.reader import LedgerReader
from app.adapters.ledger.resolving import LedgerUnknown
from app.adapters.ledger.sums import has_usage, standings, usage_sums
from app.adapters.ledger.writer import LedgerWriter

__all__ = [
    "Database",
    "LedgerCallers",
    "LedgerDesk",
    "LedgerReader",
    "LedgerUnknown",
    "LedgerUnusable",
    "LedgerWriter",
    "has_usage",
    "standings",
    "usage_sums",
]
