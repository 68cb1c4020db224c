"""The ledger, and the room on its disk."""

import os
import shutil
from pathlib import Path

from app.adapters.doctor.finding import Finding
from app.services.ports import LedgerStore, LedgerUnusable

MIB = 1024 * 1024
# For the ledger itself: about half a million requests.
LEDGER_BYTES = 256 * MIB


def ledger(ledger: LedgerStore) -> Finding:
    """Whether it opens, can be written and is whole. One that is not there is not made: its owner is to be its user."""
    path = ledger.path
    if not path.exists():
        folder = _nearest(path)
        if os.access(folder, os.W_OK):
            return Finding("ledger", f"{path}: made at the first start")
        return Finding("ledger", f"{path}: cannot be made", f"let this user write to {folder}, or name another path")
    try:
        with ledger.session() as session:
            fault = session.maintenance.first_damage()
            requests = session.maintenance.count_requests()
    except LedgerUnusable as error:
        return Finding("ledger", str(error), "fix what this line says, as the user that the gateway runs as")
    if fault is not None:
        return Finding("ledger", f"{path}: {fault}", "stop the gateway, and restore a backup")
    if (mode := path.stat().st_mode & 0o777) & 0o007:
        return Finding(
            "ledger", f"{path}: other users of this machine can read it (mode {mode:o})", f"chmod 600 {path}*"
        )
    return Finding("ledger", f"{path}: whole, can be written, {requests} requests")


def disk_space(folder: Path, spool_bytes: int) -> Finding:
    """Room for uploads that must be kept until their model is known, and for the ledger to grow."""
    needed, free = spool_bytes + LEDGER_BYTES, shutil.disk_usage(_nearest(folder)).free
    told = f"{free // MIB} MiB free at {folder}"
    if free < needed:
        return Finding("disk", told, f"make it {needed // MIB} MiB, or lower spool_total_bytes of [server]")
    return Finding("disk", told)


def _nearest(path: Path) -> Path:
    """The path itself, or the folder above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())
