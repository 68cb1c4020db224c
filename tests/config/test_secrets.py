"""Keys and secrets from files and the environment: stripped, validated, and masked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.config import (
    ADMIN_KEY_VARIABLE,
    DEFAULT_UPSTREAM,
    AdminSettings,
    AlertSettings,
    CallerSettings,
    InvalidConfig,
    MetricsSettings,
    Upstream,
    load,
)
from app.wire import apikey

SECRET = "sk-provider-0123456789"
ADMIN_KEY = "admin-0123456789"


def keyed(file: Path) -> Upstream:
    return Upstream(name="u", base_url="https://example.org", api_key_file=file)


@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n", f" {SECRET}\r\n"])
def test_the_provider_key_comes_from_a_file_or_a_variable(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    assert keyed(tmp_path / "key").api_key({}).get_secret_value() == SECRET
    assert DEFAULT_UPSTREAM.api_key({"ONEROUTER_API_KEY": text}).get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"", "holds no key"),
        (b" \n", "holds no key"),
        (f"{SECRET}\n{SECRET}".encode(), "no HTTP header can carry"),
        (f"{SECRET} x".encode(), "no HTTP header can carry"),
        (f"{SECRET}\0".encode(), "no HTTP header can carry"),
        (f"{SECRET}é".encode(), "no HTTP header can carry"),
        (f"{SECRET}\xff".encode("latin-1"), "cannot be read"),
    ],
)
def test_an_invalid_key_file_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=reason) as caught:
        keyed(file).api_key({})
    assert str(file) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "holds no key"),
        ({"ONEROUTER_API_KEY": ""}, "holds no key"),
        ({"ONEROUTER_API_KEY": " "}, "holds no key"),
        ({"ONEROUTER_API_KEY": f"{SECRET}\nX-Header: 1"}, "no HTTP header can carry"),
    ],
)
def test_an_invalid_key_variable_is_named(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidConfig, match=reason) as caught:
        DEFAULT_UPSTREAM.api_key(environ)
    assert "ONEROUTER_API_KEY" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_provider_key_is_masked_and_not_part_of_the_settings() -> None:
    environ = {"ONEROUTER_API_KEY": SECRET}
    config = load(None, environ)
    key = config.upstream.api_key(environ)
    assert SECRET not in f"{key!r} {key} {config!r} {config} {config.model_dump_json()}"


def test_a_caller_key_is_kept_as_its_hash() -> None:
    by_variable = CallerSettings(name="alice", key_env="ALICE_KEY")
    by_hash = CallerSettings(name="bob", key_sha256=apikey.digest(SECRET))
    assert by_variable.sha256({"ALICE_KEY": f" {SECRET}\n"}) == apikey.digest(SECRET)
    assert by_hash.sha256({}) == apikey.digest(SECRET)


@pytest.mark.parametrize("environ", [{}, {"ALICE_KEY": ""}, {"ALICE_KEY": " \n"}])
def test_a_caller_with_an_empty_key_variable_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidConfig, match=r"callers\.alice: .* ALICE_KEY holds no key"):
        CallerSettings(name="alice", key_env="ALICE_KEY").sha256(environ)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("secret", "too easy to guess"),
        (SECRET[:15], "too easy to guess"),
        ("a" * 64, "too easy to guess"),
        ("abcabcabcabcabcabcabcabc", "too easy to guess"),
        (f"{SECRET} {SECRET}", "no HTTP header can carry"),
        (f"{SECRET}é", "no HTTP header can carry"),
    ],
)
def test_a_weak_secret_is_refused_wherever_an_operator_chooses_one(key: str, reason: str) -> None:
    chosen: dict[str, Callable[[], object]] = {
        "callers.alice: the environment variable X": lambda: CallerSettings(name="alice", key_env="X").sha256(
            {"X": key}
        ),
        f"the environment variable {ADMIN_KEY_VARIABLE}": lambda: AdminSettings().key({ADMIN_KEY_VARIABLE: key}),
    }
    if "HTTP" not in reason:
        chosen["alerts: the environment variable X"] = lambda: signed(webhook_secret_env="X").signing_secret({"X": key})
    for where, use in chosen.items():
        with pytest.raises(InvalidConfig, match=reason) as caught:
            use()
        assert str(caught.value).startswith(f"{where}: ")
        assert key not in str(caught.value)


def test_the_admin_key_comes_from_a_variable_or_else_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{ADMIN_KEY}-file\n")
    assert AdminSettings().key({}) is None
    for settings, environ, key in (
        (AdminSettings(key_file=file), {}, f"{ADMIN_KEY}-file"),
        (AdminSettings(), {ADMIN_KEY_VARIABLE: f" {ADMIN_KEY}\n"}, ADMIN_KEY),
        (AdminSettings(key_file=file), {ADMIN_KEY_VARIABLE: ADMIN_KEY}, ADMIN_KEY),
    ):
        found = settings.key(environ)
        assert found is not None
        assert found.get_secret_value() == key
        assert ADMIN_KEY not in f"{found!r} {found} {settings!r}"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "16 characters"),
        (ADMIN_KEY[:15], "16 characters"),
        (f"{ADMIN_KEY} x", "header"),
        (f"{ADMIN_KEY}é", "header"),
    ],
)
def test_an_invalid_admin_key_is_named(key: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(key, "utf-8")
    for settings, environ, where in (
        (AdminSettings(), {ADMIN_KEY_VARIABLE: key}, ADMIN_KEY_VARIABLE),
        (AdminSettings(key_file=file), {}, str(file)),
    ):
        with pytest.raises(InvalidConfig, match=reason) as caught:
            settings.key(environ)
        assert where in str(caught.value)
        assert key not in str(caught.value) or not key
    with pytest.raises(InvalidConfig, match=reason):
        MetricsSettings(key_file=file).key()


def test_the_metrics_key_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{ADMIN_KEY}\n", "utf-8")
    key = MetricsSettings(key_file=file).key()
    assert key is not None
    assert key.get_secret_value() == ADMIN_KEY
    assert MetricsSettings().key() is None


def test_a_missing_admin_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"admin\.key_file: .* cannot be read"):
        AdminSettings(key_file=tmp_path / "none").key({})


def signed(**secret: Any) -> AlertSettings:
    return AlertSettings(webhook_url="https://example.org/hook", **secret)


def test_the_webhook_secret_comes_from_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    for settings, environ in ((signed(webhook_secret_file=file), {}), (signed(webhook_secret_env="X"), {"X": SECRET})):
        found = settings.signing_secret(environ)
        assert found.get_secret_value() == SECRET
        assert SECRET not in f"{found!r} {found} {settings!r}"


@pytest.mark.parametrize("environ", [{}, {"X": ""}, {"X": " \n"}])
def test_a_missing_webhook_secret_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" \n")
    with pytest.raises(InvalidConfig, match="alerts: the environment variable X holds no secret"):
        signed(webhook_secret_env="X").signing_secret(environ)
    with pytest.raises(InvalidConfig, match=f"alerts: {file} holds no secret"):
        signed(webhook_secret_file=file).signing_secret(environ)
