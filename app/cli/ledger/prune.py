"""`audio-gateway ledger prune`."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer

from app.cli.exit_codes import MISUSED
from app.cli.messages import say, stop
from app.cli.progress import ProgressBar
from app.cli.settings import ConfigFile, actor, exit_on_config_error, ledger_of, load_settings, print_ledger_path
from app.cli.times import DAY_MS, parse_duration_ms
from app.clock import now_ms
from app.services.callers import AuditEntry
from app.services.maintenance import Prunable
from app.services.usage import Period


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Such as 400d or 60w; whole UTC days.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    config: ConfigFile = None,
) -> None:
    """Remove old rows, beside a running gateway; every total stays.

    Held and unknown rows stay, whatever their age. The file keeps its size, and new rows use the free space.

    Example: audio-gateway ledger prune --older-than 400d --dry-run
    """
    before = _day_before(older_than)
    before_ms = Period(since=before).begin_ms
    settings = load_settings(config)
    with exit_on_config_error(), ledger_of(settings).session() as session:
        plan = session.maintenance.prunable(before_ms)
        if plan.rows and not dry_run:
            entry = AuditEntry(now_ms(), actor(), "prune", f"rows before {before}", _pruned_document(plan), None)
            with ProgressBar("prune") as bar:
                session.maintenance.prune(before_ms, entry, bar)
    say(_summary(plan, before, dry_run))
    if plan.rows and not dry_run:
        print_ledger_path(settings)


def _day_before(older_than: str) -> date:
    length = parse_duration_ms(older_than)
    if length < DAY_MS:
        stop("--older-than takes a day or more, such as 400d", MISUSED)
    return datetime.now(UTC).date() - timedelta(days=length // DAY_MS)


def _pruned_document(plan: Prunable) -> dict[str, object]:
    return {"rows": plan.rows, "first_day": str(plan.first)}


def _summary(plan: Prunable, before: date, dry_run: bool) -> str:
    staying = f"; {plan.staying} held or unknown rows stay" if plan.staying else ""
    if not plan.rows:
        return f"nothing to prune before {before}{staying}"
    verb = "would be pruned" if dry_run else "pruned"
    return f"{plan.rows} rows from {plan.first} to before {before} {verb}{staying}"
