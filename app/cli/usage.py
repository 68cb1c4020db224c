"""`audio-gateway usage` and `usage export`: the sums of the ledger and its rows, beside a running gateway."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import date, datetime
from typing import Annotated

import typer

from app.cli import tables
from app.cli.callers import BUDGETS_SPARE, budget_lines
from app.cli.completion import caller_names
from app.cli.exit_codes import FAILED, MISUSED, note, stop
from app.cli.progress import Bar
from app.cli.settings import ConfigFile, explained, ledger_of, loaded
from app.cli.tables import Format
from app.clock import now_ms
from app.config import Config
from app.policy.caller_policy import CallerPolicy, Tags, parse_tags
from app.services.administration import Administration, CallerRecord
from app.services.usage import BudgetStatus, ExportedRow, Grouping, Period, UsageTotals
from app.units import usd_text

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

SPARE = (
    "text in",
    "audio in",
    "tokens out",
    "tokens in",
    "settled",
    "refused",
    "unknown",
)  # what a narrow terminal does without

ROWS_BETWEEN = 500  # two looks at the clock

_DAY = ["%Y-%m-%d"]

Since = Annotated[datetime | None, typer.Option(formats=_DAY, metavar="YYYY-MM-DD", help="The first UTC day.")]
Until = Annotated[datetime | None, typer.Option(formats=_DAY, metavar="YYYY-MM-DD", help="The last UTC day, included.")]


@app.callback()
def usage(
    context: typer.Context,
    by: Annotated[Grouping, typer.Option(help="What to group by.")] = Grouping.CALLER,
    since: Since = None,
    until: Until = None,
    caller: Annotated[
        str | None, typer.Option(metavar="NAME", help="One caller only.", autocompletion=caller_names)
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Only requests with this tag.")] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Show requests, tokens, audio, cost and budgets.

    Limits and budgets are shown where usage is grouped by caller.

    Example: audio-gateway usage --by model --since 2026-11-01 --format csv
    """
    if context.invoked_subcommand is not None:
        return
    settings, tags, period = loaded(config), _tags(tag or []), _period(since, until)
    with explained(), ledger_of(settings).session() as session:
        records = Administration.from_config(settings, session.callers, "cli").callers()
        if caller is not None and not (caller in {each.name for each in records} or session.usage.has_usage(caller)):
            stop(f"there is no caller named {caller}, and none of that name has usage", FAILED)
        sums = session.usage.totals(by, period, caller, tags)
        policy = _policy(settings, records) if by is Grouping.CALLER else {}
        stand = {name: session.usage.budget_statuses(name, each.budgets, now_ms()) for name, each in policy.items()}
    if format is Format.TABLE:
        empty = "no requests" if (since, until, caller, tag) == (None, None, None, None) else "no such requests"
        lines, total = [_columns(each, by) for each in sums], _total(sums, by)
        typer.echo(tables.rendered(lines, format, SPARE, total=total, empty=empty), nl=False)
        shown = [name for name in policy if caller in (None, name)]
        limits = [{"caller": name, **_limits(policy[name])} for name in shown if any(_limits(policy[name]).values())]
        budgets = [line for name in shown for line in budget_lines(name, stand[name])]
        for rows in filter(None, (limits, budgets)):
            typer.echo("\n" + tables.rendered(rows, format, BUDGETS_SPARE), nl=False)
    else:
        rows = [each.as_json(by) for each in sums]
        if by is Grouping.CALLER and format is Format.JSON:
            rows = [row | _standing(str(row["caller"]), policy, stand) for row in rows]
        typer.echo(tables.rendered(rows, format), nl=False)


@app.command()
def export(
    since: Since = None,
    until: Until = None,
    format: Annotated[str, typer.Option(metavar="csv|jsonl", help="How to print them.")] = "jsonl",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that the sums and states are those of the rows.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Write the rows, one for each admitted request.

    Example: audio-gateway usage export --since 2026-11-01 --format csv --verify > november.csv
    """
    if format not in ("csv", "jsonl"):
        stop(f"{format!r} is neither csv nor jsonl", MISUSED)
    settings, period = loaded(config), _period(since, until)
    with explained(), ledger_of(settings).session() as session, session.usage.one_moment():
        there, pruned = session.usage.count_rows(period)
        with Bar("export") as bar:
            _write(_counted(session.usage.exported_rows(period), bar, there), format)
        wrong = session.usage.disagreements(period) if verify else []
    if pruned:
        note(f"audio-gateway: {pruned} rows of this period were pruned; `usage` has their sums")
    for line in wrong:
        note(f"audio-gateway: {line}")
    if wrong:
        raise typer.Exit(FAILED)
    if verify:
        note("audio-gateway: sums and states agree with the rows")


def _counted(rows: Iterator[ExportedRow], bar: Bar, total: int) -> Iterator[ExportedRow]:
    """The rows, whose number is shown where they themselves are not."""
    shown = not sys.stdout.isatty()
    for done, row in enumerate(rows, start=1):
        if shown and done % ROWS_BETWEEN == 0:
            bar(done, total)
        yield row


def _write(rows: Iterator[ExportedRow], format: str) -> None:
    writer = None
    for row in rows:
        if format == "jsonl":
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            continue
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: tables.cell(value) for name, value in row.items()})
    sys.stdout.flush()


def _columns(each: UsageTotals, by: Grouping) -> tables.Row:
    """A line of the table: as the JSON, in fewer words, the audio in minutes."""
    return {
        by.value: each.group,
        "requests": each.requests,
        "settled": each.settled,
        "unknown": each.unknown,
        "refused": each.refused,
        "tokens in": each.input_tokens,
        "audio in": each.audio_tokens,
        "text in": each.text_tokens,
        "tokens out": each.output_tokens,
        "tokens": each.total_tokens,
        "minutes": f"{each.audio_ms / 60_000:.2f}",
        "cost USD": _dollars(each.cost_nano_usd),
    }


def _dollars(nano: int) -> str:
    """Six decimals, so that the lines are comparable; JSON and CSV have all digits."""
    whole, _, rest = usd_text(round(nano, -3)).partition(".")
    return f"{whole}.{rest:0<6}"


def _total(sums: list[UsageTotals], by: Grouping) -> tables.Row | None:
    """The sum of all lines; None for one line, and for tags, of which a request may have several."""
    if len(sums) < 2 or by is Grouping.TAG:
        return None
    names = [field.name for field in fields(UsageTotals) if field.name != "group"]
    return _columns(UsageTotals("total", **{name: sum(getattr(each, name) for each in sums) for name in names}), by)


def _policy(settings: Config, records: list[CallerRecord]) -> dict[str, CallerPolicy]:
    """The terms that hold for every caller."""
    return {record.name: record.policy.over(settings.limits.policy) for record in records}


def _limits(policy: CallerPolicy) -> dict[str, object]:
    return {"rpm": policy.rpm, "burst": policy.burst, "concurrency": policy.concurrency}


def _standing(caller: str, policy: dict[str, CallerPolicy], stand: dict[str, list[BudgetStatus]]) -> dict[str, object]:
    """A caller's limits and budgets as JSON."""
    return {
        "limits": _limits(policy.get(caller, CallerPolicy())),
        "budgets": [each.as_json() for each in stand.get(caller, [])],
    }


def _tags(given: list[str]) -> Tags:
    try:
        return parse_tags(given)
    except ValueError as error:
        stop(str(error), MISUSED)


def _period(since: datetime | None, until: datetime | None) -> Period:
    if since is not None and until is not None and since > until:
        stop(f"--since {since.date()} is after --until {until.date()}: no day is in between", FAILED)
    return Period(_day(since), _day(until))


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()
