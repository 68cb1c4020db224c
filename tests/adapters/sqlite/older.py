"""Ledgers of older gateways: real files, created from the dumps beside this module."""

import sqlite3
from contextlib import closing
from pathlib import Path

from app.adapters.sqlite import Database

DUMPS = Path(__file__).parent / "schemas"


def old_ledger(path: Path, version: int) -> Database:
    """A ledger of this schema, with rows in every state, of three days, two of them more than 400 days before."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.executescript((DUMPS / f"v{version}.sql").read_text("utf-8"))
    return Database(path)
