"""The sums of usage reports, read from the rows."""

import apsw

from app.gateway.report import Grouping, Period, UsageSum

ENDPOINTS = {"transcribe": "/v1/audio/transcriptions", "translate": "/v1/audio/translations"}

_ENDPOINT = "CASE task " + " ".join(f"WHEN '{task}' THEN '{path}'" for task, path in ENDPOINTS.items()) + " END"

# A grouping's expression over the rows, and over the counted refusals, of which some came before any model was known.
_GROUPS = {
    Grouping.CALLER: ("caller", "caller"),
    Grouping.KEY: ("key_id", "key_id"),
    Grouping.MODEL: ("model", "model"),
    Grouping.ENDPOINT: (_ENDPOINT, _ENDPOINT),
    Grouping.DAY: ("date(admitted_ms / 1000, 'unixepoch')", "day"),
}

_SUMS = """
SELECT name, sum(requests), sum(settled), sum(unknown), sum(refused), sum(input_tokens), sum(audio_tokens),
       sum(text_tokens), sum(output_tokens), sum(total_tokens), sum(audio_ms), sum(cost)
FROM (
    SELECT {rows} AS name, count(*) AS requests, sum(state = 'settled') AS settled, sum(state = 'unknown') AS unknown,
           0 AS refused, sum(input_tokens) AS input_tokens, sum(audio_tokens) AS audio_tokens,
           sum(text_tokens) AS text_tokens, sum(output_tokens) AS output_tokens, sum(total_tokens) AS total_tokens,
           sum(audio_ms) AS audio_ms, sum(cost_nano_usd) AS cost
    FROM requests
    WHERE admitted_ms >= :begin AND admitted_ms < :end AND (:caller IS NULL OR caller = :caller) GROUP BY 1
    UNION ALL
    SELECT {refusals}, 0, 0, 0, sum(count), 0, 0, 0, 0, 0, 0, 0
    FROM refusals
    WHERE day >= :first AND day <= :last AND (:caller IS NULL OR caller = :caller) GROUP BY 1
)
GROUP BY name ORDER BY name
"""


def usage_sums(
    connection: apsw.Connection, grouping: Grouping, period: Period, caller: str | None = None
) -> list[UsageSum]:
    """One sum a group, in the groups' order."""
    rows, refusals = _GROUPS[grouping]
    found = connection.execute(
        _SUMS.format(rows=rows, refusals=refusals),
        {
            "begin": period.begin_ms,
            "end": period.end_ms,
            "first": period.since.isoformat() if period.since else "",
            "last": period.until.isoformat() if period.until else "9999-12-31",
            "caller": caller,
        },
    )
    return [UsageSum(name, *(number or 0 for number in numbers)) for name, *numbers in found]
