"""`audio-gateway keys`: callers and their keys, on the ledger, beside a running gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from app.cli import tables
from app.cli.callers import BUDGETS_SPARE, SPARE, budget_lines, flat, lines, plain
from app.cli.completion import caller_names
from app.cli.exit_codes import MISUSED, note, say, stop
from app.cli.settings import ConfigFile, actor, explained, ledger_of, loaded, name_ledger, possible
from app.cli.tables import Format
from app.cli.times import length_ms, minute
from app.clock import now_ms
from app.config import Config
from app.policy.caller_policy import parse_tags
from app.services.administration import Administration, CallerRecord, check_new_caller
from app.services.documents import caller_document
from app.services.usage import BudgetStatus
from app.units import optional_iso_time

app = typer.Typer(
    help="Callers, their keys, limits and budgets.\n\nExample: audio-gateway keys list",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NewName = Annotated[str, typer.Argument(metavar="NAME", help="The caller's name, such as search-team.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The caller's name.", autocompletion=caller_names)]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="A model that the caller may use; may be repeated. Default: all."),
]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", metavar="TASK", help="transcribe or translate. Default: both.")
]
Expires = Annotated[str | None, typer.Option(metavar="TIME", help="When the key ends: 90d, 12h, 4w. Default: never.")]
Rpm = Annotated[int | None, typer.Option(metavar="N", help="Requests a minute.")]
Burst = Annotated[
    int | None, typer.Option(metavar="N", help="Requests at once, within --rpm. Default: a whole minute's.")
]
Concurrency = Annotated[int | None, typer.Option(metavar="N", help="Requests in flight.")]
BudgetTexts = Annotated[
    list[str] | None, typer.Option("--budget", metavar="BUDGET", help="50usd/month, 600min/day, 1000000tokens/week.")
]
TagTexts = Annotated[list[str] | None, typer.Option("--tag", metavar="K=V", help="For reports, such as team=search.")]
Shown = Annotated[Format, typer.Option(help="How to print it.")]


@app.command()
def create(
    name: NewName,
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
    """Create a caller and print its key, once.

    The key works on a running gateway from now on.

    Example: audio-gateway keys create search-team --model whisper-1 --rpm 60 --budget 50usd/month --expires 90d
    """
    policy = _policy(model, task, rpm, burst, concurrency, budget, tag)
    expires_ms = _expiry_ms(expires)
    settings = loaded(config)
    with possible():  # before a ledger is made
        check_new_caller(name, policy, frozenset(each.id for each in settings.models))
    with _managed(settings, create=True) as callers:
        secret = callers.create(name, policy, expires_ms)
    _print_key(name, secret, format)
    name_ledger(settings)


@app.command("list")
def list_callers(format: Shown = Format.TABLE, config: ConfigFile = None) -> None:
    """List callers and keys, with what is spent and left.

    Keys are named by their last four characters.

    Example: audio-gateway keys list --format json
    """
    settings = loaded(config)
    with explained(), ledger_of(settings).session() as session:
        callers = Administration.from_config(settings, session.callers, actor())
        found = [(record, callers.budget_statuses(record)) for record in callers.callers()]
    _print_callers(found, format)


@app.command()
def show(name: Name, format: Shown = Format.TABLE, config: ConfigFile = None) -> None:
    """Show one caller: terms, keys, budgets.

    Example: audio-gateway keys show search-team
    """
    settings = loaded(config)
    with explained(), ledger_of(settings).session() as session:
        callers = Administration.from_config(settings, session.callers, actor())
        with possible():
            record = callers.caller(name)
        stand = callers.budget_statuses(record)
    if format is Format.TABLE:
        policy = record.policy.document() or {"terms": "no limits"}
        typer.echo(tables.rendered([{"term": part, "value": plain(value)} for part, value in policy.items()], format))
    _print_callers([(record, stand)], format)
    if format is Format.TABLE and stand:
        typer.echo("\n" + tables.rendered(budget_lines(name, stand), format, BUDGETS_SPARE), nl=False)


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
        typer.Option(metavar="PART", help="Remove a part: models, tasks, rpm, burst, concurrency, budgets or tags."),
    ] = None,
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Change a caller's terms.

    What is not named stays. A running gateway applies the change from the next request on.

    Example: audio-gateway keys update search-team --budget 80usd/month --unlimited rpm
    """
    changes = _policy(model, task, rpm, burst, concurrency, budget, tag)
    known = {"models", "tasks", "rpm", "burst", "concurrency", "budgets", "tags"}
    if wrong := set(unlimited or ()) - known:
        stop(f"{min(wrong)} is none of: {', '.join(sorted(known))}", MISUSED)
    if both := changes.keys() & set(unlimited or ()):
        stop(f"{min(both)} is both set and named by --unlimited; name it once", MISUSED)
    changes |= dict.fromkeys(unlimited or ())
    if not changes:
        stop("nothing to change was named", MISUSED)
    settings = loaded(config)
    with _managed(settings) as callers:
        record = callers.update(name, changes)
    name_ledger(settings)
    if format is Format.TABLE:
        say(f"{name}: {plain(record.policy.document()) or 'no limits'}")
    else:
        typer.echo(tables.rendered([{"caller": name, **record.policy.document()}], format), nl=False)


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old keys still work: 24h, 7d, 0m.")
    ] = "24h",
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When the new key ends: 90d, 12h, 4w. Default: as long after now as the last."
        ),
    ] = None,
    revive: Annotated[
        bool, typer.Option("--revive", help="Also for a caller whose keys are all revoked: it can call again.")
    ] = False,
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Print a new key for a caller; the old ones end after the overlap.

    The caller's limits, budgets and history stay. The new key has the lifetime of the one before it.

    Example: audio-gateway keys rotate search-team --overlap 24h
    """
    overlap_ms, expires_ms = length_ms(overlap), _expiry_ms(expires)
    settings = loaded(config)
    with _managed(settings) as callers:
        done = callers.rotate(name, overlap_ms, expires_ms, revive=revive)
    if format is not Format.TABLE:
        ends = [{"id": key.id, "expires_at": optional_iso_time(key.expires_ms)} for key in done.ending]
        row: tables.Row = {
            "caller": name,
            "key": done.secret,
            "expires_at": optional_iso_time(done.expires_ms),
            "ending_keys": ends,
        }
        typer.echo(tables.rendered([row], format), nl=False)
    else:
        _print_key(name, done.secret, format)
        until = f"ends {minute(done.expires_ms)} UTC" if done.expires_ms is not None else "does not expire"
        note(f"The new key {until}.")
        for key in done.ending:
            note(f"The key ...{key.last4} ends {minute(key.expires_ms)} UTC.")
    name_ledger(settings)


@app.command()
def revoke(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|KEY", help="A caller's name, for all its keys, or one key's id.", autocompletion=caller_names
        ),
    ],
    format: Shown = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Revoke one key, or all keys of a caller.

    A running gateway refuses them from the next request on.

    Example: audio-gateway keys revoke search-team
    """
    settings = loaded(config)
    with _managed(settings) as callers:
        revoked = callers.revoke(name)
    name_ledger(settings)
    if format is Format.TABLE:
        say(f"revoked: {', '.join(revoked)}")
    else:
        typer.echo(tables.rendered([{"key": key} for key in revoked], format), nl=False)


@contextmanager
def _managed(settings: Config, *, create: bool = False) -> Iterator[Administration]:
    with explained(), ledger_of(settings).session(create=create) as session, possible():
        yield Administration.from_config(settings, session.callers, actor())


def _policy(
    model: list[str] | None,
    task: list[str] | None,
    rpm: int | None,
    burst: int | None,
    concurrency: int | None,
    budget: list[str] | None,
    tag: list[str] | None,
) -> dict[str, Any]:
    """The terms that the options state."""
    try:
        tags = dict(parse_tags(tag or ()))
    except ValueError as error:
        stop(str(error), MISUSED)
    stated = {
        "models": model,
        "tasks": task,
        "rpm": rpm,
        "burst": burst,
        "concurrency": concurrency,
        "budgets": budget,
        "tags": tags,
    }
    return {part: value for part, value in stated.items() if value not in (None, [], {})}


def _print_callers(found: list[tuple[CallerRecord, list[BudgetStatus]]], format: Format) -> None:
    if format is Format.JSON:
        rows = [caller_document(record, stand, now_ms()) for record, stand in found]
    else:
        shown = lines if format is Format.TABLE else flat
        rows = [row for record, stand in found for row in shown(record, stand)]
    typer.echo(
        tables.rendered(rows, format, SPARE, empty="no callers yet; make one with `audio-gateway keys create`"),
        nl=False,
    )


def _print_key(name: str, secret: str, format: Format) -> None:
    if format is not Format.TABLE:
        typer.echo(tables.rendered([{"caller": name, "key": secret}], format), nl=False)
        return
    note(f"The key of {name}. It is shown this once; only its SHA-256 is kept.")
    typer.echo(secret)


def _expiry_ms(text: str | None) -> int | None:
    return None if text is None else now_ms() + length_ms(text)
