"""`audio-gateway usage`: the sums of the ledger, beside a running gateway."""

from contextlib import closing
from datetime import date, datetime
from typing import Annotated

import typer

from app.adapters.ledger import usage_sums
from app.cli import tables
from app.cli.settings import ConfigFile, database_of, explained, loaded
from app.cli.tables import Format
from app.gateway.report import Grouping, Period, UsageSum

_DAY = ["%Y-%m-%d"]


def usage(
    by: Annotated[Grouping, typer.Option(help="What to group by.")] = Grouping.CALLER,
    since: Annotated[datetime | None, typer.Option(formats=_DAY, help="The first UTC day.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DAY, help="The last UTC day, included.")] = None,
    caller: Annotated[str | None, typer.Option(help="One caller only.")] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Requests, tokens, audio and cost.

    Example: audio-gateway usage --by model --since 2026-11-01 --format csv
    """
    settings = loaded(config)
    with explained(), closing(database_of(settings).connect()) as connection:
        sums = usage_sums(connection, by, Period(_day(since), _day(until)), caller)
    rows = [_columns(each, by) if format is Format.TABLE else each.as_json(by) for each in sums]
    typer.echo(tables.rendered(rows, format), nl=False)


def _columns(each: UsageSum, by: Grouping) -> dict[str, object]:
    """A line of the table: as the JSON, in fewer words, the audio in minutes."""
    told = each.as_json(by)
    return {
        by.value: told[by.value],
        "requests": each.requests,
        "settled": each.settled,
        "unknown": each.unknown,
        "refused": each.refused,
        "input": each.input_tokens,
        "audio": each.audio_tokens,
        "text": each.text_tokens,
        "output": each.output_tokens,
        "total": each.total_tokens,
        "minutes": f"{each.audio_ms / 60_000:.2f}",
        "cost USD": told["cost_usd"],
    }


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()
