"""The migration of a ledger of an older gateway: one transaction for each version, so a kill leaves a valid version.

Only a gateway that is about to serve migrates. It has the lock, so no older gateway writes or can start. A backup stays
beside the file, because an older gateway refuses the newer schema.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from app.adapters.sqlite.connection import write_transaction
from app.adapters.sqlite.database import Database
from app.adapters.sqlite.maintenance.backup import back_up
from app.adapters.sqlite.schema import STEPS


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration: the schema before and after it, and the backup of the file from before."""

    before: int
    after: int
    backup: Path


def migrate(database: Database, steps: Sequence[str] = STEPS) -> Migration | None:
    """Runs the steps that this ledger lacks. Returns None if it is current or missing. The lock must be held."""
    before = database.version()
    if before is None or before == 1 + len(steps):
        return None
    with closing(database.open_existing(oldest=1)) as connection, database.errors_explained():
        backup = database.path.with_name(f"{database.path.name}.schema-{before}")
        back_up(database, backup, replace=True)
        for version in range(before, 1 + len(steps)):
            _run_step(connection, steps[version - 1], version + 1)
    return Migration(before, 1 + len(steps), backup)


def _run_step(connection: apsw.Connection, step: str, version: int) -> None:
    with write_transaction(connection):
        connection.execute(step)
        connection.pragma("user_version", version)
