"""`audio-gateway audit`: the administrative changes."""

from typing import Annotated

import typer

from app.cli import tables
from app.cli.callers import value_text
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_of, load_settings
from app.cli.tables import Format
from app.cli.times import minute_text
from app.services.callers import AuditEntry
from app.services.documents import audit_document

INDENT = " " * 18


def audit(
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="N", help="The number of entries, newest first.")
    ] = 100,
    format: Annotated[Format, typer.Option(help="The output format.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Show administrative changes: who, what and when.

    Example: audio-gateway audit --limit 20
    """
    settings = load_settings(config)
    with exit_on_config_error(), ledger_of(settings).session() as session:
        entries = session.callers.audit(limit)
    if format is not Format.TABLE:
        typer.echo(tables.render([audit_document(entry) for entry in entries], format), nl=False)
        return
    typer.echo("\n".join(line for entry in entries for line in _lines(entry)) or "no changes yet")


def _lines(entry: AuditEntry) -> list[str]:
    """An entry in two or more lines: the action, its subject and actor, then the change."""
    head, rest = f"{minute_text(entry.at_ms)}  {entry.action:<8}", f"{entry.subject}  ({entry.actor})"
    change, width = _change(entry), tables.screen_width()
    if len(head) + len(rest) <= width:
        head += rest
    else:
        change = f"{rest} {change}"
    return [head, *(f"{INDENT}{line}" for line in tables.wrap_words(change, width - len(INDENT)) if line)]


def _change(entry: AuditEntry) -> str:
    """The change as text. JSON and CSV also have the ids of keys."""
    before, after = dict(entry.before or {}), dict(entry.after or {})
    names = (*before, *(name for name in after if name not in before))
    return "; ".join(filter(None, (_part(name, before.get(name), after.get(name)) for name in names)))


def _part(name: str, before: object, after: object) -> str:
    if name in ("key_id", "good_keys") or before == after:
        return ""
    if name == "keys" and isinstance(before, list):
        return f"{len(before)} key{'s' if len(before) > 1 else ''}"
    if name == "old_keys_expire_at":
        return f"the old keys expire {str(after)[:16].replace('T', ' ')} UTC"
    if name == "old_keys_expire_ms" and isinstance(after, int):  # the format of older entries
        return f"the old keys expire {minute_text(after)} UTC"
    label = name.replace("_", " ")
    if before is None:
        return f"{label} {value_text(after)}"
    return f"{label} {value_text(before)} -> {'none' if after is None else value_text(after)}"
