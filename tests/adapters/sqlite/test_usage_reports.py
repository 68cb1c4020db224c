"""The totals of reports equal the rows, for every grouping, period, caller and tag."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.sqlite import Database
from app.adapters.sqlite.maintenance.export import disagreements
from app.adapters.sqlite.usage_reports import budget_statuses, usage_totals
from app.errors import APIError
from app.gateway.caller import Caller
from app.gateway.inbound_request import InboundRequest
from app.gateway.ledger_rows import State
from app.operations import OPERATIONS
from app.policy.budget import Amounts, Budget
from app.policy.caller_policy import CallerPolicy, Tags
from app.policy.task import Task
from app.services.usage import Grouping, Period, UsageTotals
from app.units import Tokens
from app.wire.headers import Headers
from tests.adapters.sqlite.entries import BOUND, NOON_MS, hold, no_body, result, writing

DAY_MS = 86_400_000
FIRST = date(2026, 11, 24)

counts = st.integers(0, 10_000)


@dataclass(frozen=True)
class Made:
    """One row, or refusal, that is written and then expected in the sums."""

    caller: str
    key_id: str
    task: Task
    model: str
    day: int
    state: State | None
    charge: Amounts
    tokens: Tokens | None
    tags: Tags

    @property
    def at_ms(self) -> int:
        return NOON_MS + self.day * DAY_MS

    @property
    def date(self) -> date:
        return FIRST + timedelta(self.day)


made = st.builds(
    Made,
    caller=st.sampled_from(["alice", "bob"]),
    key_id=st.sampled_from(["key_1", "key_2"]),
    task=st.sampled_from(["transcribe", "translate"]),
    model=st.sampled_from(["whisper-1", "gpt-transcribe"]),
    day=st.integers(0, 3),
    state=st.sampled_from([None, *State]),
    charge=st.builds(Amounts, counts, counts, counts),
    tokens=st.none() | st.builds(Tokens, counts, counts, counts, st.none() | counts, st.none() | counts),
    tags=st.dictionaries(st.sampled_from(["team", "p.x-1"]), st.sampled_from(["a", "b/c d"])).map(
        lambda tags: tuple(sorted(tags.items()))
    ),
)

NAMES: dict[Grouping, Callable[[Made], list[str]]] = {
    Grouping.CALLER: lambda each: [each.caller],
    Grouping.KEY: lambda each: [each.key_id],
    Grouping.MODEL: lambda each: [each.model],
    Grouping.ENDPOINT: lambda each: [OPERATIONS[each.task].path],
    Grouping.DAY: lambda each: [each.date.isoformat()],
    Grouping.TAG: lambda each: [f"{key}={value}" for key, value in each.tags],
}


async def write(database: Database, all_made: list[Made]) -> None:
    async with writing(database) as writer:
        for each in all_made:
            if each.state is None:
                refusal = APIError(429, "rate_limit_exceeded", "x")
                refusal.model = each.model
                call = InboundRequest("req_1", OPERATIONS[each.task], Headers(()), no_body(), each.at_ms)
                writer.refuse(Caller(each.caller, each.key_id, CallerPolicy()), call, refusal)
                continue
            held = hold(
                caller=each.caller,
                key_id=each.key_id,
                task=each.task,
                model=each.model,
                admitted_ms=each.at_ms,
                tags=each.tags,
            )
            written = writer.reserve(held)
            if each.state is not State.HELD:
                charged = {State.SETTLED: each.charge, State.UNKNOWN: BOUND}.get(each.state, Amounts())
                tokens = each.tokens if each.state is State.SETTLED else None
                written = writer.settle(result(held, each.state, charge=charged, tokens=tokens))
            await written


def expected(all_made: list[Made], grouping: Grouping, tagged: bool) -> list[tuple[object, ...]]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * 11)
    for each in all_made:
        if each.state is None and tagged:
            continue  # refusals carry no tags
        for name in NAMES[grouping](each):
            sums[name] = [one + more for one, more in zip(sums[name], numbers(each), strict=True)]
    return [(name, *sums[name]) for name in sorted(sums)]


def numbers(each: Made) -> list[int]:
    """In the order of UsageSum's fields."""
    tokens = each.tokens if each.state is State.SETTLED else None
    counted = (tokens.input, tokens.audio or 0, tokens.text or 0, tokens.output, tokens.total) if tokens else (0,) * 5
    charge = {State.SETTLED: each.charge, State.UNKNOWN: BOUND}.get(each.state or State.HELD, Amounts())
    return [
        int(each.state is not None),
        int(each.state is State.SETTLED),
        int(each.state is State.UNKNOWN),
        int(each.state is None),
        *counted,
        charge.audio,
        charge.cost,
    ]


@settings(max_examples=25, deadline=None)
@given(st.lists(made, max_size=25), st.integers(0, 3), st.integers(0, 3))
def test_totals_equal_the_rows(all_made: list[Made], since: int, until: int) -> None:
    period = Period(FIRST + timedelta(since), FIRST + timedelta(until))
    with TemporaryDirectory() as folder:
        database = Database(Path(folder) / "ledger.db", "normal")
        asyncio.run(write(database, all_made))
        with closing(database.connect()) as connection:

            def totals(grouping: Grouping, period: Period, caller: str | None, tags: Tags) -> list[tuple[object, ...]]:
                return [astuple(each) for each in usage_totals(connection, grouping, period, caller, tags)]

            for grouping in Grouping:
                tagged = grouping is Grouping.TAG
                assert totals(grouping, Period(), None, ()) == expected(all_made, grouping, tagged)
                within = [each for each in all_made if since <= each.day <= until]
                assert totals(grouping, period, None, ()) == expected(within, grouping, tagged)
                of_alice = [each for each in within if each.caller == "alice"]
                assert totals(grouping, period, "alice", ()) == expected(of_alice, grouping, tagged)
                tags = (("p.x-1", "b/c d"),)
                with_tag = [each for each in of_alice if set(tags) <= set(each.tags)]
                assert totals(grouping, period, "alice", tags) == expected(with_tag, grouping, True)
            assert disagreements(connection, Period()) == []
            assert disagreements(connection, period) == []


def test_a_report_by_two_tags_needs_both(database: Database) -> None:
    tags = ((("team", "a"),), (("p", "x"), ("team", "a")), (("p", "x"),))
    base = Made("alice", "key_1", "transcribe", "whisper-1", 0, State.SETTLED, Amounts(1, 1, 1), None, ())
    asyncio.run(write(database, [replace(base, tags=each) for each in tags]))
    with closing(database.connect()) as connection:
        (found,) = usage_totals(connection, Grouping.CALLER, Period(), None, (("p", "x"), ("team", "a")))
    assert found == UsageTotals("alice", requests=1, settled=1, audio_ms=1, cost_nano_usd=1)


@pytest.mark.parametrize(
    ("budget", "spent", "held", "left", "resets"),
    [
        ("0.00001usd/day", "0.0000015", "0.000003", "0.0000055", "2026-11-25T00:00:00Z"),
        ("1min/week", "0.033333333", "0.033333333", "0.933333333", "2026-11-30T00:00:00Z"),
        ("1000tokens/month", "177", "70", "753", "2026-12-01T00:00:00Z"),
        ("0.000001usd", "0.0000045", "0.000003", "0", None),
    ],
)
def test_a_budget_status_has_spent_held_and_left(
    database: Database, budget: str, spent: str, held: str, left: str, resets: str | None
) -> None:
    async def scenario() -> None:
        """Settled on three days of which two are in one week and all in one month; held today."""
        async with writing(database) as writer:
            for back in (0, 1, 8):
                each = hold(admitted_ms=NOON_MS - back * DAY_MS)
                await writer.reserve(each)
                await writer.settle(result(each))
            await writer.reserve(hold())
            await writer.reserve(hold(caller="bob"))
            with closing(database.connect()) as connection:
                (status,) = budget_statuses(connection, "alice", (Budget.parse(budget),), NOON_MS)
            assert status.as_json() == {
                "budget": str(Budget.parse(budget)),
                "spent": spent,
                "held": held,
                "left": left,
                "resets_at": resets,
            }

    asyncio.run(scenario())


def test_periods_are_whole_utc_days() -> None:
    period = Period(date(2026, 11, 24), date(2026, 11, 24))
    begin = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp()) * 1000
    assert (period.begin_ms, period.end_ms) == (begin, begin + DAY_MS)
    assert Period(until=date.max).end_ms > begin
    assert (Period().begin_ms, Period().end_ms) == (0, 1 << 62)
