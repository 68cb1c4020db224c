"""The values of valid settings: prices, URLs, policies."""

from pathlib import Path

import pytest

from app.config import (
    DEFAULT_MODELS,
    DEFAULT_UPSTREAM,
    Config,
    Section,
    load,
)
from app.policy.budget import Budget, Unit, Window
from app.policy.caller_policy import CallerPolicy
from app.policy.pricing import FREE, Price
from app.policy.rate_limit import Rate
from app.units import NanoUSD
from tests.config.files import CALLER, SECTIONS, UPSTREAM, model, write_settings


@pytest.mark.parametrize(
    ("table", "price"),
    [
        ("'free'", FREE),
        ("{ per_minute = '0.006' }", Price(per_minute=NanoUSD(6_000_000))),
        ("{ per_minute = 0.006 }", Price(per_minute=NanoUSD(6_000_000))),
        ("{ per_minute = 6 }", Price(per_minute=NanoUSD(6_000_000_000))),
        ("{ per_minute = '0.0000000001' }", Price(per_minute=NanoUSD(1))),
        (
            "{ input = '2.50', audio_input = 6, output = 0, max_tokens_per_minute = 900 }",
            Price(NanoUSD(2_500_000_000), NanoUSD(6_000_000_000), NanoUSD(0), None, 900),
        ),
    ],
)
def test_prices_in_dollars_become_nano_dollars(table: str, price: Price, tmp_path: Path) -> None:
    assert load(write_settings(tmp_path, model(table)), {}).models[0].price == price


def test_the_upstream_name_of_a_model(tmp_path: Path) -> None:
    own = load(write_settings(tmp_path, model("'free'") + "upstream_model = 'whisper-large'"), {}).models[0]
    assert (own.id, own.name_upstream) == ("m", "whisper-large")
    assert DEFAULT_MODELS[0].name_upstream == "whisper-1"


def test_the_urls_of_an_upstream(tmp_path: Path) -> None:
    paths = 'transcriptions_path = "/speech/transcriptions"'
    own = load(write_settings(tmp_path, UPSTREAM + paths), {}).upstream
    assert own.url("transcribe") == "http://127.0.0.1:9000/v1/speech/transcriptions"
    assert own.url("translate") == "http://127.0.0.1:9000/v1/audio/translations"


def test_a_caller_in_the_settings_has_the_same_policy_as_one_in_the_ledger(tmp_path: Path) -> None:
    policy = """
models = ["whisper-1"]
tasks = ["transcribe"]
rpm = 60
burst = 10
concurrency = 8
budgets = ["50usd/month", "600min/day", "1000000tokens/week", "20usd"]
tags = { team = "search" }
"""
    (caller,) = load(write_settings(tmp_path, CALLER + policy), {}).callers
    assert caller.policy == CallerPolicy(
        models=frozenset({"whisper-1"}),
        tasks=frozenset({"transcribe"}),
        rpm=60,
        burst=10,
        concurrency=8,
        budgets=(
            Budget(50_000_000_000, Unit.USD, Window.MONTH),
            Budget(36_000_000, Unit.MINUTES, Window.DAY),
            Budget(1_000_000, Unit.TOKENS, Window.WEEK),
            Budget(20_000_000_000, Unit.USD, Window.TOTAL),
        ),
        tags=(("team", "search"),),
    )
    assert load(write_settings(tmp_path, CALLER), {}).callers[0].policy == CallerPolicy()


def test_default_limits_apply_to_callers_without_limits(tmp_path: Path) -> None:
    defaults = load(write_settings(tmp_path, "[limits]\nrpm = 60\nburst = 5\nconcurrency = 8"), {}).limits.policy
    assert CallerPolicy().over(defaults) == CallerPolicy(rpm=60, burst=5, concurrency=8)
    own = CallerPolicy(rpm=30).over(defaults)
    assert (own.rate, own.concurrency) == (Rate(30, 30), 8)
    assert CallerPolicy().over(load(None, {}).limits.policy) == CallerPolicy()


@pytest.mark.parametrize(
    "value", [Config(), *(section() for section in SECTIONS.values()), DEFAULT_UPSTREAM, DEFAULT_MODELS[0]]
)
def test_settings_are_frozen(value: Section | Config) -> None:
    name = next(iter(type(value).model_fields))
    with pytest.raises(ValueError, match="frozen"):
        setattr(value, name, None)
