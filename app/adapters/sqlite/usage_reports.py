"""The sums of usage reports: read from `daily`, and from the rows where a report asks for tags."""

from datetime import date

import apsw

from app.operations import OPERATIONS
from app.policy.budget import Amounts, Budget, first_day, next_day
from app.policy.caller_policy import Tags
from app.services.usage import BudgetStatus, Grouping, Period, UsageTotals

_PATHS = " ".join(f"WHEN '{task}' THEN '{operation.path}'" for task, operation in OPERATIONS.items())
_ENDPOINT = f"CASE task {_PATHS} END"

# A grouping's expression; refusals have none for tags, and an empty model where they came before any was known.
_GROUPS = {
    Grouping.CALLER: "caller",
    Grouping.KEY: "key_id",
    Grouping.MODEL: "model",
    Grouping.ENDPOINT: _ENDPOINT,
    Grouping.DAY: "day",
}

_SUMS = """
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

# What is counted in a period, as `daily` counts it, but with its tags: each row as one, and the sums of pruned rows.
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

_SUMS_OF_TAGGED = """
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
    """One sum a group, in the groups' order; with tags, of the requests that carry all of them."""
    parameters = {**bounds(period), "caller": caller, **_tag_parameters(tags)}
    found = connection.execute(usage_query(grouping, caller is not None, tags), parameters)
    return [UsageTotals(name, *(number or 0 for number in numbers)) for name, *numbers in found]


def bounds(period: Period) -> dict[str, str | int | None]:
    """A period as the parameters of a query: of rows by the time of admission, of sums by the day."""
    return {
        "begin": period.begin_ms,
        "end": period.end_ms,
        "first": period.since.isoformat() if period.since else "",
        "last": period.until.isoformat() if period.until else "9999-12-31",
    }


def usage_query(grouping: Grouping, of_one_caller: bool, tags: Tags) -> str:
    """The SQL of a report; that of one caller is such that SQLite reads no other caller's rows."""
    caller = " AND caller = :caller" if of_one_caller else ""
    if tags or grouping is Grouping.TAG:
        return _tagged(grouping, caller, tags)
    return _SUMS.format(group=_GROUPS[grouping], caller=caller)


def budget_statuses(
    connection: apsw.Connection, caller: str, budgets: tuple[Budget, ...], now_ms: int
) -> list[BudgetStatus]:
    """How a caller's budgets stand, all at one moment."""
    found = []
    with connection:
        for budget in budgets:
            begun, ends = first_day(budget.window, now_ms), next_day(budget.window, now_ms)
            spent = closed_amounts(connection, caller, begun, ends)
            held = _amounts(connection, _HELD, caller, begun, ends)
            found.append(BudgetStatus(budget, spent.of(budget.unit), held.of(budget.unit), ends))
    return found


def has_usage(connection: apsw.Connection, caller: str) -> bool:
    """Whether a request of a caller of this name was ever counted; it may have left the settings since."""
    return bool(connection.execute(_HAS_USAGE, (caller,)).get)


def closed_amounts(connection: apsw.Connection, caller: str, begun: date, ends: date | None) -> Amounts:
    """What a caller's closed rows come to from this day on, and before the other."""
    return _amounts(connection, _SPENT, caller, begun, ends)


def _amounts(connection: apsw.Connection, query: str, caller: str, begun: date, ends: date | None) -> Amounts:
    """`ends` is the first day that does not count; None for a period without an end."""
    return Amounts(*connection.execute(query, (caller, begun.isoformat(), ends.isoformat() if ends else "9999")).get)


def _tagged(grouping: Grouping, caller: str, tags: Tags) -> str:
    by_tag = grouping is Grouping.TAG
    where = [f"json_extract(tags, '$.\"' || :key{n} || '\"') = :value{n}" for n in range(len(tags))]
    return _SUMS_OF_TAGGED.format(
        group="each.key || '=' || each.value" if by_tag else _GROUPS[grouping],
        counted=COUNTED.format(caller=caller),
        tags=", json_each(tags) AS each" if by_tag else "",
        where=" AND ".join(where) or "1",
    )


def _tag_parameters(tags: Tags) -> dict[str, str | int | None]:
    return {f"{part}{n}": text for n, tag in enumerate(tags) for part, text in zip(("key", "value"), tag, strict=True)}
