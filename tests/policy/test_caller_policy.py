"""A policy as a document: it survives, and the error names the part that is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.budget import Budget, Unit, Window
from app.policy.caller_policy import MAX_TAGS, NAME, CallerPolicy, read_tags
from app.policy.rate_limit import Rate

counts = st.none() | st.integers(1, 1_000_000)
limits = st.integers(1, 10**12).map(lambda limit: limit * 3)
budgets = st.lists(
    st.builds(Budget, limits, st.sampled_from(Unit), st.sampled_from(Window)),
    unique_by=lambda budget: (budget.unit, budget.window),
)
tag_keys = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,31}", fullmatch=True)
tag_values = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _.:/@-]{0,63}", fullmatch=True)
tags = st.dictionaries(tag_keys, tag_values, max_size=MAX_TAGS)


@st.composite
def all_terms(draw: st.DrawFn) -> CallerPolicy:
    rpm = draw(counts)
    return CallerPolicy(
        models=draw(st.none() | st.frozensets(st.text(min_size=1, max_size=20))),
        tasks=draw(st.none() | st.frozensets(st.sampled_from(["transcribe", "translate"]))),
        rpm=rpm,
        burst=draw(counts) if rpm is not None else None,
        concurrency=draw(counts),
        budgets=tuple(draw(budgets)),
        tags=tuple(sorted(draw(tags).items())),
    )


@given(all_terms())
def test_a_policy_survives_its_document(policy: CallerPolicy) -> None:
    assert CallerPolicy.read(policy.document()) == policy


def test_what_is_not_stated_is_no_limit() -> None:
    assert (
        CallerPolicy.read({})
        == CallerPolicy()
        == CallerPolicy.read(dict.fromkeys(("models", "tasks", "rpm", "budgets", "tags")))
    )
    assert CallerPolicy().document() == {}
    assert CallerPolicy().rate is None


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"rmp": 60}, "rmp"),
        ({"models": "whisper-1"}, "models"),
        ({"models": [1]}, "models"),
        ({"tasks": ["sing"]}, "tasks"),
        ({"tasks": "transcribe"}, "tasks"),
        ({"rpm": 0}, "rpm"),
        ({"rpm": -1}, "rpm"),
        ({"rpm": True}, "rpm"),
        ({"rpm": 1.5}, "rpm"),
        ({"rpm": "60"}, "rpm"),
        ({"rpm": 1_000_001}, "rpm"),
        ({"burst": 5}, "burst"),
        ({"rpm": 5, "burst": 0}, "burst"),
        ({"concurrency": 0}, "concurrency"),
        ({"budgets": "50usd/month"}, "budgets"),
        ({"budgets": [50]}, "budgets"),
        ({"budgets": ["50eur/month"]}, "50eur/month"),
        ({"budgets": ["50usd/month", "60usd/month"]}, "budgets"),
        ({"tags": ["team=search"]}, "tags"),
        ({"tags": {"Team": "search"}}, "tags"),
        ({"tags": {"team": ""}}, "tags"),
        ({"tags": {"team": 5}}, "tags"),
        ({"tags": {"team": "a\nb"}}, "tags"),
        ({"tags": {"": "a"}}, "tags"),
        ({"tags": {f"k{n}": "v" for n in range(MAX_TAGS + 1)}}, "tags"),
    ],
)
def test_a_bad_part_is_named(document: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CallerPolicy.read(document)


def test_budgets_of_one_unit_may_differ_in_their_window() -> None:
    texts = ["50usd/month", "5usd/day", "600min/month"]
    assert [str(budget) for budget in CallerPolicy.read({"budgets": texts}).budgets] == texts


def test_a_burst_is_a_whole_minute_unless_it_is_stated() -> None:
    assert CallerPolicy(rpm=60).rate == Rate(60, 60)
    assert CallerPolicy(rpm=60, burst=3).rate == Rate(60, 3)


def test_defaults_apply_where_nothing_is_stated() -> None:
    defaults = CallerPolicy(rpm=60, burst=10, concurrency=4)
    assert CallerPolicy().over(defaults) == defaults
    assert CallerPolicy(rpm=5).over(defaults) == CallerPolicy(rpm=5, concurrency=4)  # a burst belongs to its rate
    assert CallerPolicy(concurrency=9).over(defaults) == CallerPolicy(rpm=60, burst=10, concurrency=9)


@given(tags)
def test_tags_are_in_the_order_of_their_keys(tags: dict[str, str]) -> None:
    assert read_tags(tags) == tuple(sorted(tags.items()))


@pytest.mark.parametrize("name", ["a", "search-team", "Team_7.eu", "9", "a" * 64])
def test_names(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", " a", "-a", ".a", "a b", "a/b", "ä", "a\n", "a" * 65])
def test_invalid_names(name: str) -> None:
    assert not NAME.fullmatch(name)
