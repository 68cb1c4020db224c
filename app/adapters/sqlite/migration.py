"""Bringing a ledger of an older gateway up to date: one transaction a version, so that a kill leaves one or the next.

Only a gateway that is about to serve does this, for it has the lock: no older gateway is writing then, and none can
begin. The file as it was is kept beside it, because an older gateway refuses the newer one.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from app.adapters.sqlite.database import Database, immediate
from app.adapters.sqlite.maintenance.backup import back_up
from app.adapters.sqlite.schema import STEPS


@dataclass(frozen=True, slots=True)
class Migration:
    """That a ledger was brought from one version to another, and where it is as it was before."""

    before: int
    after: int
    kept: Path


def migrate(database: Database, steps: Sequence[str] = STEPS) -> Migration | None:
    """Take the steps that this ledger lacks; None if it is up to date or not there. For who has the lock alone."""
    before = database.version()
    if before is None or before == 1 + len(steps):
        return None
    with closing(database.existing(oldest=1)) as connection, database.explained():
        kept = database.path.with_name(f"{database.path.name}.schema-{before}")
        back_up(database, kept, replace=True)
        for version in range(before, 1 + len(steps)):
            _take(connection, steps[version - 1], version + 1)
    return Migration(before, 1 + len(steps), kept)


def _take(connection: apsw.Connection, step: str, version: int) -> None:
    with immediate(connection):
        connection.execute(step)
        connection.pragma("user_version", version)
