"""`audio-gateway audit`: who changed what."""

from typing import Annotated

import typer

from app.cli import tables
from app.cli.callers import plain
from app.cli.settings import ConfigFile, explained, ledger_of, loaded
from app.cli.tables import Format
from app.cli.times import minute
from app.services.administration import AuditEntry
from app.services.documents import audit_document

INDENT = " " * 18


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many, newest first.")] = 100,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Show who changed what, and when.

    Example: audio-gateway audit --limit 20
    """
    settings = loaded(config)
    with explained(), ledger_of(settings).session() as session:
        entries = session.callers.audit(limit)
    if format is not Format.TABLE:
        typer.echo(tables.rendered([audit_document(entry) for entry in entries], format), nl=False)
        return
    typer.echo("\n".join(line for entry in entries for line in _lines(entry)) or "no changes yet")


def _lines(entry: AuditEntry) -> list[str]:
    """An entry in two lines or more: what was done to what and by whom, and below it what has changed."""
    head, rest = f"{minute(entry.at_ms)}  {entry.action:<8}", f"{entry.subject}  ({entry.actor})"
    change, width = _change(entry), tables.screen_width()
    if len(head) + len(rest) <= width:
        head += rest
    else:
        change = f"{rest} {change}"
    return [head, *(f"{INDENT}{line}" for line in tables.folded(change, width - len(INDENT)) if line)]


def _change(entry: AuditEntry) -> str:
    """What an entry changed, in words; the ids of keys are left to JSON and CSV."""
    before, after = dict(entry.before or {}), dict(entry.after or {})
    names = (*before, *(each for each in after if each not in before))
    return "; ".join(filter(None, (_part(name, before.get(name), after.get(name)) for name in names)))


def _part(name: str, before: object, after: object) -> str:
    if name in ("key_id", "good_keys") or before == after:
        return ""
    if name == "keys" and isinstance(before, list):
        return f"{len(before)} key{'s' if len(before) > 1 else ''}"
    if name == "old_keys_expire_at":
        return f"the old keys end {str(after)[:16].replace('T', ' ')} UTC"
    if name == "old_keys_expire_ms" and isinstance(after, int):  # as it was written before
        return f"the old keys end {minute(after)} UTC"
    words = name.replace("_", " ")
    if before is None:
        return f"{words} {plain(after)}"
    return f"{words} {plain(before)} -> {'none' if after is None else plain(after)}"
