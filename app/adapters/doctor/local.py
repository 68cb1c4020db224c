"""Checks of this machine: the ledger, and free space on its disk."""

import os
import shutil
from pathlib import Path

from app.adapters.doctor.finding import Finding
from app.services.ports import LedgerStore, LedgerUnusable

MIB = 1024 * 1024
# For the ledger itself: about half a million requests.
LEDGER_BYTES = 256 * MIB


def ledger(ledger: LedgerStore) -> Finding:
    """Checks that the ledger opens, can be written, is intact and private.

    It does not create a missing ledger: the file would belong to the user who runs the check.
    """
    path = ledger.path
    if not path.exists():
        return _missing_ledger(path)
    try:
        with ledger.session() as session:
            damage = session.maintenance.first_damage()
            requests = session.maintenance.count_requests()
    except LedgerUnusable as error:
        return Finding("ledger", str(error), "fix what this line says, as the user that the gateway runs as")
    if damage is not None:
        return Finding("ledger", f"{path}: {damage}", "stop the gateway, and restore a backup")
    if (mode := path.stat().st_mode & 0o777) & 0o007:
        return Finding(
            "ledger", f"{path}: other users of this machine can read it (mode {mode:o})", f"chmod 600 {path}*"
        )
    return Finding("ledger", f"{path}: intact, can be written, {requests} requests")


def disk_space(folder: Path, spool_bytes: int) -> Finding:
    """Checks that there is space for spooled uploads and for the ledger to grow."""
    needed, free = spool_bytes + LEDGER_BYTES, shutil.disk_usage(_nearest_folder(folder)).free
    message = f"{free // MIB} MiB free at {folder}"
    if free < needed:
        return Finding("disk", message, f"make it {needed // MIB} MiB, or lower spool_total_bytes of [server]")
    return Finding("disk", message)


def _missing_ledger(path: Path) -> Finding:
    folder = _nearest_folder(path)
    if os.access(folder, os.W_OK):
        return Finding("ledger", f"{path}: the first start creates it")
    return Finding("ledger", f"{path}: cannot be created", f"let this user write to {folder}, or set another path")


def _nearest_folder(path: Path) -> Path:
    """Returns the path itself, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
