"""`audio-gateway keys`: manages callers and their keys in the ledger. The gateway can run meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from app.cli import tables
from app.cli.callers import OPTIONAL_BUDGET_COLUMNS, OPTIONAL_COLUMNS, budget_rows, csv_rows, table_rows, value_text
from app.cli.completion import caller_names
from app.cli.exit_codes import MISUSED
from app.cli.messages import note, say, stop
from app.cli.settings import (
    ConfigFile,
    actor,
    exit_on_administration_error,
    exit_on_config_error,
    ledger_of,
    load_settings,
    print_ledger_path,
)
from app.cli.tables import Format
from app.cli.times import minute_text, parse_duration_ms
from app.clock import now_ms
from app.config import Config
from app.policy.caller_policy import parse_tags
from app.services.administration import Administration, check_new_caller
from app.services.callers import CallerRecord
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
Expires = Annotated[
    str | None, typer.Option(metavar="TIME", help="The lifetime of the key: 90d, 12h, 4w. Default: unlimited.")
]
Rpm = Annotated[int | None, typer.Option(metavar="N", help="Requests per minute.")]
Burst = Annotated[
    int | None, typer.Option(metavar="N", help="Requests at once, within --rpm. Default: the same as --rpm.")
]
Concurrency = Annotated[int | None, typer.Option(metavar="N", help="Requests in flight at once.")]
BudgetTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--budget", metavar="BUDGET", help="A budget: 50usd/month, 600min/day, 1000000tokens/week; may be repeated."
    ),
]
TagTexts = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="K=V", help="A label for reports, such as team=search; may be repeated."),
]
OutputFormat = Annotated[Format, typer.Option(help="The output format.")]


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
    format: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Create a caller and print its key, once.

    A running gateway accepts the key at once.

    Example: audio-gateway keys create search-team --model whisper-1 --rpm 60 --budget 50usd/month --expires 90d
    """
    policy = _policy(model, task, rpm, burst, concurrency, budget, tag)
    expires_ms = _expiry_ms(expires)
    settings = load_settings(config)
    with exit_on_administration_error():  # before the ledger is created
        check_new_caller(name, policy, frozenset(each.id for each in settings.models))
    with _managed(settings, create=True) as callers:
        secret = callers.create(name, policy, expires_ms)
    _print_key(name, secret, format)
    print_ledger_path(settings)


@app.command("list")
def list_callers(format: OutputFormat = Format.TABLE, config: ConfigFile = None) -> None:
    """List callers, keys and what is left of budgets.

    Shows the last four characters of each key.

    Example: audio-gateway keys list --format json
    """
    settings = load_settings(config)
    with exit_on_config_error(), ledger_of(settings).session() as session:
        callers = Administration.from_config(settings, session.callers, actor())
        records = [(record, callers.budget_statuses(record)) for record in callers.callers()]
    _print_callers(records, format)


@app.command()
def show(name: Name, format: OutputFormat = Format.TABLE, config: ConfigFile = None) -> None:
    """Show one caller: terms, keys, budgets.

    Example: audio-gateway keys show search-team
    """
    settings = load_settings(config)
    with exit_on_config_error(), ledger_of(settings).session() as session:
        callers = Administration.from_config(settings, session.callers, actor())
        with exit_on_administration_error():
            record = callers.caller(name)
        statuses = callers.budget_statuses(record)
    if format is Format.TABLE:
        policy = record.policy.document() or {"terms": "no limits"}
        rows: list[tables.Row] = [{"term": part, "value": value_text(value)} for part, value in policy.items()]
        typer.echo(tables.render(rows, format))
    _print_callers([(record, statuses)], format)
    if format is Format.TABLE and statuses:
        typer.echo("\n" + tables.render(budget_rows(name, statuses), format, OPTIONAL_BUDGET_COLUMNS), nl=False)


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
    format: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Change a caller's terms.

    Keeps what no option names. A running gateway applies the change to the next request.

    Example: audio-gateway keys update search-team --budget 80usd/month --unlimited rpm
    """
    changes = _policy(model, task, rpm, burst, concurrency, budget, tag)
    known = {"models", "tasks", "rpm", "burst", "concurrency", "budgets", "tags"}
    if wrong := set(unlimited or ()) - known:
        stop(f"{min(wrong)} is not one of: {', '.join(sorted(known))}", MISUSED)
    if both := changes.keys() & set(unlimited or ()):
        stop(f"{min(both)} is both set and named by --unlimited; name it once", MISUSED)
    changes |= dict.fromkeys(unlimited or ())
    if not changes:
        stop("nothing to change: name at least one option", MISUSED)
    settings = load_settings(config)
    with _managed(settings) as callers:
        record = callers.update(name, changes)
    print_ledger_path(settings)
    if format is Format.TABLE:
        say(f"{name}: {value_text(record.policy.document()) or 'no limits'}")
    else:
        typer.echo(tables.render([{"caller": name, **record.policy.document()}], format), nl=False)


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old keys remain valid: 24h, 7d, 0m.")
    ] = "24h",
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="The lifetime of the new key: 90d, 12h, 4w. Default: the lifetime of the last key."
        ),
    ] = None,
    revive: Annotated[
        bool, typer.Option("--revive", help="Also create a key if all keys of the caller are revoked.")
    ] = False,
    format: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Create and print a new key; old keys expire after the overlap.

    The caller keeps its limits, budgets and history. The new key has the lifetime of the last one.

    Example: audio-gateway keys rotate search-team --overlap 24h
    """
    overlap_ms, expires_ms = parse_duration_ms(overlap), _expiry_ms(expires)
    settings = load_settings(config)
    with _managed(settings) as callers:
        rotation = callers.rotate(name, overlap_ms, expires_ms, revive=revive)
    if format is not Format.TABLE:
        ends = [{"id": key.id, "expires_at": optional_iso_time(key.expires_ms)} for key in rotation.ending]
        row: tables.Row = {
            "caller": name,
            "key": rotation.secret,
            "expires_at": optional_iso_time(rotation.expires_ms),
            "ending_keys": ends,
        }
        typer.echo(tables.render([row], format), nl=False)
    else:
        _print_key(name, rotation.secret, format)
        end = (
            f"expires {minute_text(rotation.expires_ms)} UTC" if rotation.expires_ms is not None else "does not expire"
        )
        note(f"The new key {end}.")
        for key in rotation.ending:
            note(f"The key ...{key.last4} expires {minute_text(key.expires_ms)} UTC.")
    print_ledger_path(settings)


@app.command()
def revoke(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|KEY", help="A caller's name, for all its keys, or one key's id.", autocompletion=caller_names
        ),
    ],
    format: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Revoke one key, or all keys of a caller.

    A running gateway refuses them at the next request.

    Example: audio-gateway keys revoke search-team
    """
    settings = load_settings(config)
    with _managed(settings) as callers:
        revoked = callers.revoke(name)
    print_ledger_path(settings)
    if format is Format.TABLE:
        say(f"revoked: {', '.join(revoked)}")
    else:
        typer.echo(tables.render([{"key": key} for key in revoked], format), nl=False)


@contextmanager
def _managed(settings: Config, *, create: bool = False) -> Iterator[Administration]:
    with exit_on_config_error(), ledger_of(settings).session(create=create) as session, exit_on_administration_error():
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
    """The parts of a policy that the options state."""
    try:
        tags = dict(parse_tags(tag or ()))
    except ValueError as error:
        stop(str(error), MISUSED)
    options = {
        "models": model,
        "tasks": task,
        "rpm": rpm,
        "burst": burst,
        "concurrency": concurrency,
        "budgets": budget,
        "tags": tags,
    }
    return {part: value for part, value in options.items() if value not in (None, [], {})}


def _print_callers(callers: list[tuple[CallerRecord, list[BudgetStatus]]], format: Format) -> None:
    if format is Format.JSON:
        rows = [caller_document(record, statuses, now_ms()) for record, statuses in callers]
    else:
        rows_of = table_rows if format is Format.TABLE else csv_rows
        rows = [row for record, statuses in callers for row in rows_of(record, statuses)]
    empty = "no callers yet; create one with `audio-gateway keys create`"
    typer.echo(tables.render(rows, format, OPTIONAL_COLUMNS, empty=empty), nl=False)


def _print_key(name: str, secret: str, format: Format) -> None:
    if format is not Format.TABLE:
        typer.echo(tables.render([{"caller": name, "key": secret}], format), nl=False)
        return
    note(f"The key of {name}, shown only now. The ledger keeps its SHA-256.")
    typer.echo(secret)


def _expiry_ms(text: str | None) -> int | None:
    return None if text is None else now_ms() + parse_duration_ms(text)
