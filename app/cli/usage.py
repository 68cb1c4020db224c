"""`audio-gateway usage`: usage totals, limits and budgets. `usage_export` has `usage export`."""

from dataclasses import fields
from typing import Annotated

import typer

from app.cli import tables
from app.cli.callers import OPTIONAL_BUDGET_COLUMNS, budget_rows
from app.cli.completion import caller_names
from app.cli.exit_codes import FAILED, MISUSED
from app.cli.messages import stop
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_of, load_settings
from app.cli.tables import Format
from app.cli.times import Since, Until, period_between
from app.cli.usage_export import export
from app.clock import now_ms
from app.config import Config
from app.policy.caller_policy import CallerPolicy, Tags, parse_tags
from app.services.administration import Administration
from app.services.callers import CallerRecord
from app.services.usage import BudgetStatus, Grouping, UsageTotals
from app.units import usd_text

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.command()(export)

# Columns that a narrow terminal leaves out.
OPTIONAL_COLUMNS = ("text in", "audio in", "tokens out", "tokens in", "settled", "refused", "unknown")


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
    format: Annotated[Format, typer.Option(help="The output format.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Show requests, tokens, audio, cost and budgets.

    Shows limits and budgets only if usage is grouped by caller.

    Example: audio-gateway usage --by model --since 2026-11-01 --format csv
    """
    if context.invoked_subcommand is not None:
        return
    settings, tags, period = load_settings(config), _tags(tag or []), period_between(since, until)
    with exit_on_config_error(), ledger_of(settings).session() as session:
        records = Administration.from_config(settings, session.callers, "cli").callers()
        if caller is not None and not (
            caller in {record.name for record in records} or session.usage.has_usage(caller)
        ):
            stop(f"there is no caller named {caller}, and no usage under that name", FAILED)
        totals = session.usage.totals(by, period, caller, tags)
        policies = _policies(settings, records) if by is Grouping.CALLER else {}
        statuses = {
            name: session.usage.budget_statuses(name, policy.budgets, now_ms()) for name, policy in policies.items()
        }
    if format is Format.TABLE:
        empty = "no requests" if (since, until, caller, tag) == (None, None, None, None) else "no such requests"
        rows, total = [_table_row(group, by) for group in totals], _total_row(totals, by)
        typer.echo(tables.render(rows, format, OPTIONAL_COLUMNS, total=total, empty=empty), nl=False)
        selected = {name: policy for name, policy in policies.items() if caller in (None, name)}
        _print_limits_and_budgets(selected, statuses)
    else:
        rows = [group.as_json(by) for group in totals]
        if by is Grouping.CALLER and format is Format.JSON:
            rows = [row | _limits_and_budgets(str(row["caller"]), policies, statuses) for row in rows]
        typer.echo(tables.render(rows, format), nl=False)


def _print_limits_and_budgets(policies: dict[str, CallerPolicy], statuses: dict[str, list[BudgetStatus]]) -> None:
    """Prints a table of limits and a table of budgets, if any caller has some."""
    limits = [{"caller": name, **_limits(policy)} for name, policy in policies.items() if any(_limits(policy).values())]
    budgets = [row for name in policies for row in budget_rows(name, statuses[name])]
    for rows in filter(None, (limits, budgets)):
        typer.echo("\n" + tables.render(rows, Format.TABLE, OPTIONAL_BUDGET_COLUMNS), nl=False)


def _table_row(totals: UsageTotals, by: Grouping) -> tables.Row:
    """The totals as a table row, with the audio in minutes."""
    return {
        by.value: totals.group,
        "requests": totals.requests,
        "settled": totals.settled,
        "unknown": totals.unknown,
        "refused": totals.refused,
        "tokens in": totals.input_tokens,
        "audio in": totals.audio_tokens,
        "text in": totals.text_tokens,
        "tokens out": totals.output_tokens,
        "tokens": totals.total_tokens,
        "minutes": f"{totals.audio_ms / 60_000:.2f}",
        "cost USD": _dollars(totals.cost_nano_usd),
    }


def _dollars(nano: int) -> str:
    """The amount with six decimals, so that rows align. JSON and CSV have all digits."""
    whole, _, rest = usd_text(round(nano, -3)).partition(".")
    return f"{whole}.{rest:0<6}"


def _total_row(totals: list[UsageTotals], by: Grouping) -> tables.Row | None:
    """The sum of all rows. None for a single row, and for tags: a request can have several of them."""
    if len(totals) < 2 or by is Grouping.TAG:
        return None
    names = [field.name for field in fields(UsageTotals) if field.name != "group"]
    sums = {name: sum(getattr(group, name) for group in totals) for name in names}
    return _table_row(UsageTotals("total", **sums), by)


def _policies(settings: Config, records: list[CallerRecord]) -> dict[str, CallerPolicy]:
    """The effective policy of each caller: its own, with the default limits of the settings."""
    return {record.name: record.policy.over(settings.limits.policy) for record in records}


def _limits(policy: CallerPolicy) -> dict[str, object]:
    return {"rpm": policy.rpm, "burst": policy.burst, "concurrency": policy.concurrency}


def _limits_and_budgets(
    caller: str, policies: dict[str, CallerPolicy], statuses: dict[str, list[BudgetStatus]]
) -> dict[str, object]:
    """A caller's limits and budgets as JSON."""
    return {
        "limits": _limits(policies.get(caller, CallerPolicy())),
        "budgets": [status.as_json() for status in statuses.get(caller, [])],
    }


def _tags(texts: list[str]) -> Tags:
    try:
        return parse_tags(texts)
    except ValueError as error:
        stop(str(error), MISUSED)
