from pathlib import Path

import pytest

from app.adapters.sqlite import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A ledger that is not there yet."""
    return Database(tmp_path / "ledger.db", "normal")
