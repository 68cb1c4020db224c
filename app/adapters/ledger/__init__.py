"""The ledger: one SQLite file through apsw, which brings a SQLite without the WAL faults of 3.7.0 to 3.51.2.

schema    what the tables are, and which versions of them can be opened
database  opening a file, with words for everything that can be wrong with it
writer    the gateway's one writing connection: group commit on a thread of its own
keys      callers and their keys
sums      the sums that usage reports are made of
"""

from app.adapters.ledger.database import Database, LedgerUnusable
from app.adapters.ledger.keys import KeyRow, Keys
from app.adapters.ledger.sums import usage_sums
from app.adapters.ledger.writer import LedgerWriter

__all__ = ["Database", "KeyRow", "Keys", "LedgerUnusable", "LedgerWriter", "usage_sums"]
