"""`audio-gateway keys`: callers and their keys, on the ledger, beside a running gateway."""

import getpass
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.adapters.ledger import standings
from app.cli import tables
from app.cli.settings import FAILED, MISUSED, ConfigFile, database_of, explained, loaded, stop
from app.cli.tables import Format
from app.config import Config
from app.gateway.administration import Administration, CallerRecord, Fault, Impossible
from app.gateway.report import Standing
from app.generation import administration
from app.policy.budget import amount_text
from app.policy.terms import Terms

app = typer.Typer(help="Callers, their keys, limits and budgets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The caller's name, such as search-team.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model that the caller may use; all, if none.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="transcribe or translate; both, if none.")]
Expires = Annotated[str | None, typer.Option(help="When the key ends: 90d, 12h, 4w.")]
Rpm = Annotated[int | None, typer.Option(help="Requests a minute.")]
Burst = Annotated[int | None, typer.Option(help="Requests at once, of those; a whole minute's, if not stated.")]
Concurrency = Annotated[int | None, typer.Option(help="Requests in flight.")]
BudgetTexts = Annotated[list[str] | None, typer.Option("--budget", help="50usd/month, 600min/day, 1000000tokens/week.")]
TagTexts = Annotated[list[str] | None, typer.Option("--tag", help="k=v, for reports.")]
Shown = Annotated[Format, typer.Option(help="How to print it.")]

MAX_DURATION_MS = 36_525 * 86_400_000

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


@app.command()
def create(
    name: Name,
    model: Models = None,
    task: Tasks = None,
    expires: Expires = None,
    rpm: Rpm = None,
    burst: Burst = None,
    concurrency: Concurrency = None,
    budget: BudgetTexts = None,
    tag: TagTexts = None,
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Create a caller and print its key, once; it works on a running gateway from now on.

    Example: audio-gateway keys create search-team --model whisper-1 --rpm 60 --budget 50usd/month --expires 90d
    """
    document = _document(model, task, rpm, burst, concurrency, budget, tag)
    with _managed(loaded(config)) as callers:
        secret = callers.create(name, document, _expiry_ms(expires))
    _print_key(name, secret, format)


@app.command("list")
def list_callers(format: Shown = Format.TABLE, config: ConfigFile = None) -> None:
    """List the callers: their keys by the last four characters, when last used, what is spent and left."""
    settings = loaded(config)
    with explained(), database_of(settings).session() as connection:
        records = administration(settings, connection, actor()).callers()
        stand = {each.name: standings(connection, each.name, each.terms.budgets, _now_ms()) for each in records}
        stand |= {
            each.name: standings(connection, each.name, each.terms.budgets, _now_ms()) for each in settings.callers
        }
    if format is Format.JSON:
        told = [_told(record, stand[record.name]) for record in records]
        told += [_told_configured(each.name, each.terms, stand[each.name]) for each in settings.callers]
        typer.echo(tables.rendered(told, format), nl=False)
        return
    rows = [_line(record, key, stand[record.name]) for record in records for key in range(len(record.keys))]
    rows += [_configured_line(each.name, each.terms, stand[each.name]) for each in settings.callers]
    typer.echo(tables.rendered(rows, format), nl=False)


@app.command()
def show(name: Name, format: Shown = Format.TABLE, config: ConfigFile = None) -> None:
    """Show one caller: terms, keys, budgets."""
    settings = loaded(config)
    with _managed(settings) as callers:
        record = callers.caller(name)
    with explained(), database_of(settings).session() as connection:
        stand = standings(connection, name, record.terms.budgets, _now_ms())
    if format is not Format.TABLE:
        typer.echo(tables.rendered([_told(record, stand)], format), nl=False)
        return
    terms = record.terms.document() or {"terms": "no limits"}
    typer.echo(tables.rendered([{"term": part, "value": _plain(value)} for part, value in terms.items()], format))
    typer.echo(tables.rendered([_line(record, key, stand) for key in range(len(record.keys))], format), nl=False)
    if stand:
        typer.echo("\n" + tables.rendered([each.as_json() for each in stand], format), nl=False)


@app.command()
def update(
    name: Name,
    model: Models = None,
    task: Tasks = None,
    rpm: Rpm = None,
    burst: Burst = None,
    concurrency: Concurrency = None,
    budget: BudgetTexts = None,
    tag: TagTexts = None,
    unlimited: Annotated[
        list[str] | None,
        typer.Option(help="Take a part out: models, tasks, rpm, burst, concurrency, budgets or tags."),
    ] = None,
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Change a caller's terms; what is not named stays. A running gateway obeys from the next request on.

    Example: audio-gateway keys update search-team --budget 80usd/month --unlimited rpm
    """
    changes = _document(model, task, rpm, burst, concurrency, budget, tag)
    known = {"models", "tasks", "rpm", "burst", "concurrency", "budgets", "tags"}
    if wrong := set(unlimited or ()) - known:
        stop(f"{min(wrong)} is none of: {', '.join(sorted(known))}", MISUSED)
    changes |= dict.fromkeys(unlimited or ())
    if not changes:
        stop("nothing to change was named", MISUSED)
    with _managed(loaded(config)) as callers:
        record = callers.update(name, changes)
    if format is Format.TABLE:
        typer.echo(f"{name}: {_plain(record.terms.document()) or 'no limits'}")
    else:
        typer.echo(tables.rendered([{"caller": name, **record.terms.document()}], format), nl=False)


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[str, typer.Option(help="How long the old keys still work: 24h, 7d, 0m.")] = "24h",
    expires: Expires = None,
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Print a new key for a caller, whose limits, budgets and history stay; the old keys end after the overlap."""
    overlap_ms = _duration_ms(overlap)
    with _managed(loaded(config)) as callers:
        secret = callers.rotate(name, overlap_ms, _expiry_ms(expires))
    _print_key(name, secret, format)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="A caller's name, for all its keys, or one key's id.")],
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Revoke keys; a running gateway refuses them from the next request on."""
    with _managed(loaded(config)) as callers:
        revoked = callers.revoke(name)
    if format is Format.TABLE:
        typer.echo(f"revoked: {', '.join(revoked)}")
    else:
        typer.echo(tables.rendered([{"key": key} for key in revoked], format), nl=False)


@contextmanager
def _managed(settings: Config) -> Iterator[Administration]:
    with explained(), database_of(settings).session() as connection:
        try:
            yield administration(settings, connection, actor())
        except Impossible as error:
            stop(str(error), MISUSED if error.fault is Fault.INVALID else FAILED)


def actor() -> str:
    """Who runs this command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _document(
    model: list[str] | None,
    task: list[str] | None,
    rpm: int | None,
    burst: int | None,
    concurrency: int | None,
    budget: list[str] | None,
    tag: list[str] | None,
) -> dict[str, Any]:
    """The terms that the options state."""
    for text in tag or ():
        if "=" not in text:
            stop(f"{text!r} is no tag such as team=search", MISUSED)
    stated = {
        "models": model,
        "tasks": task,
        "rpm": rpm,
        "burst": burst,
        "concurrency": concurrency,
        "budgets": budget,
        "tags": dict(text.split("=", 1) for text in tag or ()),
    }
    return {part: value for part, value in stated.items() if value not in (None, [], {})}


def _print_key(name: str, secret: str, format: Format) -> None:
    if format is not Format.TABLE:
        typer.echo(tables.rendered([{"caller": name, "key": secret}], format), nl=False)
        return
    typer.echo(f"The key of {name}. It is shown this once; only its SHA-256 is kept.", err=True)
    typer.echo(secret)


def _line(record: CallerRecord, index: int, stand: list[Standing]) -> dict[str, object]:
    key = record.keys[index]
    return {
        "caller": record.name,
        "key": f"{key.id} (...{key.last4})",
        "state": key.state(_now_ms()),
        "expires": _moment(key.expires_ms),
        "last used": _moment(key.last_used_ms),
        "spent": _amounts(stand, "spent"),
        "left": _amounts(stand, "left"),
    }


def _configured_line(name: str, terms: Terms, stand: list[Standing]) -> dict[str, object]:
    return {
        "caller": name,
        "key": "in the settings",
        "state": "good",
        "expires": "",
        "last used": "",
        "spent": _amounts(stand, "spent"),
        "left": _amounts(stand, "left"),
    }


def _amounts(stand: list[Standing], part: str) -> str:
    return ", ".join(
        f"{amount_text(getattr(each, part), each.budget.unit)}{each.budget.unit}/{each.budget.window}" for each in stand
    )


def _told(record: CallerRecord, stand: list[Standing]) -> dict[str, object]:
    keys = [
        {
            "id": key.id,
            "last4": key.last4,
            "state": key.state(_now_ms()),
            "created": _iso(key.created_ms),
            "expires": _iso(key.expires_ms),
            "last_used": _iso(key.last_used_ms),
        }
        for key in record.keys
    ]
    standing = [each.as_json() for each in stand]
    return {"caller": record.name, "terms": record.terms.document(), "keys": keys, "budgets": standing}


def _told_configured(name: str, terms: Terms, stand: list[Standing]) -> dict[str, object]:
    return {"caller": name, "terms": terms.document(), "keys": [], "budgets": [each.as_json() for each in stand]}


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _moment(milliseconds: int | None) -> str:
    return "" if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _iso(milliseconds: int | None) -> str | None:
    return (
        None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    )


def _expiry_ms(text: str | None) -> int | None:
    return None if text is None else _now_ms() + _duration_ms(text)


def _duration_ms(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([mhdw])", text)
    if match is None or (duration := int(match[1]) * _UNITS_MS[match[2]]) > MAX_DURATION_MS:
        stop(f"{text!r} is not a time such as 90d, 12h or 4w, of a hundred years at the most", MISUSED)
    return duration


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
