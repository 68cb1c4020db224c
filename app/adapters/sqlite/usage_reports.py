"""The totals of usage reports, from `daily`, or from the rows for a report by tags; and the statuses of budgets."""

from datetime import date

import apsw

from app.operations import OPERATIONS
from app.policy.budget import Amounts, Budget, first_day, next_day
from app.policy.caller_policy import Tags
from app.services.usage import BudgetStatus, Grouping, Period, UsageTotals

_PATHS = " ".join(f"WHEN '{task}' THEN '{operation.path}'" for task, operation in OPERATIONS.items())
_ENDPOINT = f"CASE task {_PATHS} END"

# The SQL expression of each grouping. Refusals have no tags, and an empty model if none was known yet.
_GROUPS = {
    Grouping.CALLER: "caller",
    Grouping.KEY: "key_id",
    Grouping.MODEL: "model",
    Grouping.ENDPOINT: _ENDPOINT,
    Grouping.DAY: "day",
}

_TOTALS = """
SELECT name, sum(requests), sum(settled), sum(unknown), sum(refused), sum(input_tokens), sum(audio_tokens),
       sum(text_tokens), sum(output_tokens), sum(total_tokens), sum(audio_ms), sum(cost_nano_usd)
FROM (
    SELECT {group} AS name, sum(requests) AS requests, sum(settled) AS settled, sum(unknown) AS unknown, 0 AS refused,
           sum(input_tokens) AS input_tokens, sum(audio_tokens) AS audio_tokens, sum(text_tokens) AS text_tokens,
           sum(output_tokens) AS output_tokens, sum(total_tokens) AS total_tokens, sum(audio_ms) AS audio_ms,
           sum(cost_nano_usd) AS cost_nano_usd
    FROM daily WHERE day >= :first AND day <= :last{caller} GROUP BY 1
    UNION ALL
    SELECT {group}, 0, 0, 0, sum(count), 0, 0, 0, 0, 0, 0, 0
    FROM refusals WHERE day >= :first AND day <= :last{caller} GROUP BY 1
)
GROUP BY name ORDER BY name
"""

# What a period counts, as `daily` counts it but with tags: each row, and the totals of pruned rows.
COUNTED = """
SELECT caller, date(admitted_ms / 1000, 'unixepoch') AS day, key_id, task, model, tags, 1 AS requests,
       state = 'settled' AS settled, state = 'unknown' AS unknown, ifnull(input_tokens, 0) AS input_tokens,
       ifnull(audio_tokens, 0) AS audio_tokens, ifnull(text_tokens, 0) AS text_tokens,
       ifnull(output_tokens, 0) AS output_tokens, ifnull(total_tokens, 0) AS total_tokens, charged_tokens,
       audio_ms, cost_nano_usd
FROM requests WHERE admitted_ms >= :begin AND admitted_ms < :end{caller}
UNION ALL
SELECT caller, day, key_id, task, model, tags, requests, settled, 0, input_tokens, audio_tokens, text_tokens,
       output_tokens, total_tokens, charged_tokens, audio_ms, cost_nano_usd
FROM pruned WHERE day >= :first AND day <= :last{caller}
"""

_TOTALS_BY_TAGS = """
SELECT {group} AS name, sum(requests), sum(settled), sum(unknown), 0, sum(input_tokens), sum(audio_tokens),
       sum(text_tokens), sum(output_tokens), sum(total_tokens), sum(audio_ms), sum(cost_nano_usd)
FROM ({counted}){tags} WHERE {where} GROUP BY name ORDER BY name
"""

_HAS_USAGE = """
SELECT EXISTS (SELECT 1 FROM daily WHERE caller = ?1) OR EXISTS (SELECT 1 FROM refusals WHERE caller = ?1)
"""

_SPENT = """
SELECT ifnull(sum(cost_nano_usd), 0), ifnull(sum(audio_ms), 0), ifnull(sum(charged_tokens), 0)
FROM daily WHERE caller = ? AND day >= ? AND day < ?
"""
_HELD = """
SELECT ifnull(sum(bound_nano_usd), 0), ifnull(sum(bound_audio_ms), 0), ifnull(sum(bound_tokens), 0)
FROM requests WHERE state = 'held' AND caller = ? AND date(admitted_ms / 1000, 'unixepoch') >= ?
    AND date(admitted_ms / 1000, 'unixepoch') < ?
"""


def usage_totals(
    connection: apsw.Connection, grouping: Grouping, period: Period, caller: str | None = None, tags: Tags = ()
) -> list[UsageTotals]:
    """Returns the totals of each group, in the order of the groups; with tags, of the requests that carry all."""
    parameters = {**bounds(period), "caller": caller, **_tag_parameters(tags)}
    groups = connection.execute(usage_query(grouping, caller is not None, tags), parameters)
    return [UsageTotals(name, *(number or 0 for number in numbers)) for name, *numbers in groups]


def bounds(period: Period) -> dict[str, str | int | None]:
    """Returns the query parameters of a period: times of admission for rows, days for totals."""
    return {
        "begin": period.begin_ms,
        "end": period.end_ms,
        "first": period.since.isoformat() if period.since else "",
        "last": period.until.isoformat() if period.until else "9999-12-31",
    }


def usage_query(grouping: Grouping, one_caller: bool, tags: Tags) -> str:
    """Returns the SQL of a report. For one caller it reads no rows of other callers."""
    caller = " AND caller = :caller" if one_caller else ""
    if tags or grouping is Grouping.TAG:
        return _tagged_query(grouping, caller, tags)
    return _TOTALS.format(group=_GROUPS[grouping], caller=caller)


def budget_statuses(
    connection: apsw.Connection, caller: str, budgets: tuple[Budget, ...], now_ms: int
) -> list[BudgetStatus]:
    """Returns the status of each of a caller's budgets, all at one moment."""
    statuses = []
    with connection:
        for budget in budgets:
            first, end = first_day(budget.window, now_ms), next_day(budget.window, now_ms)
            spent = closed_amounts(connection, caller, first, end)
            held = _amounts(connection, _HELD, caller, first, end)
            statuses.append(BudgetStatus(budget, spent.of(budget.unit), held.of(budget.unit), end))
    return statuses


def has_usage(connection: apsw.Connection, caller: str) -> bool:
    """Whether the ledger ever counted a request of this name, even if the caller no longer exists."""
    return bool(connection.execute(_HAS_USAGE, (caller,)).get)


def closed_amounts(connection: apsw.Connection, caller: str, first: date, end: date | None) -> Amounts:
    """Returns the charges of a caller's closed rows from the first day on, before the end day (None: no end)."""
    return _amounts(connection, _SPENT, caller, first, end)


def _amounts(connection: apsw.Connection, query: str, caller: str, first: date, end: date | None) -> Amounts:
    """Returns what a query sums up. `end` is the first day that does not count, None for a period without end."""
    return Amounts(*connection.execute(query, (caller, first.isoformat(), end.isoformat() if end else "9999")).get)


def _tagged_query(grouping: Grouping, caller: str, tags: Tags) -> str:
    by_tag = grouping is Grouping.TAG
    where = [f"json_extract(tags, '$.\"' || :key{n} || '\"') = :value{n}" for n in range(len(tags))]
    return _TOTALS_BY_TAGS.format(
        group="tag.key || '=' || tag.value" if by_tag else _GROUPS[grouping],
        counted=COUNTED.format(caller=caller),
        tags=", json_each(tags) AS tag" if by_tag else "",
        where=" AND ".join(where) or "1",
    )


def _tag_parameters(tags: Tags) -> dict[str, str | int | None]:
    return {f"{part}{n}": text for n, tag in enumerate(tags) for part, text in zip(("key", "value"), tag, strict=True)}
