"""G119: invalid settings change nothing and are reported once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.behaviour.test_kill import SILENCE
from tests.stubs.callers import BusyCallers
from tests.stubs.reloading import ReloadableGateway
from tests.stubs.upstream import ScriptedUpstream, json_answer

Spoil = Callable[[ReloadableGateway], None]


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        upstream.default = json_answer("hello")
        yield upstream


@pytest.fixture
def gateway(scripted: ScriptedUpstream, tmp_path: Path) -> Iterator[ReloadableGateway]:
    with ReloadableGateway(tmp_path, scripted.base_url) as process:
        yield process


def bad_toml(gateway: ReloadableGateway) -> None:
    gateway.config.write_text(gateway.settings() + "\n[limits\nrpm = 1\n")


def unknown_key(gateway: ReloadableGateway) -> None:
    gateway.config.write_text(gateway.settings() + "\n[limits]\nrps = 1\n")


def half_written(gateway: ReloadableGateway) -> None:
    whole = gateway.settings()
    gateway.config.write_text(whole[: whole.index("key_sha256") + 20])


def nested_without_end(gateway: ReloadableGateway) -> None:
    gateway.config.write_text(gateway.settings() + "\n[limits]\nrpm = " + "[" * 5_000)


def not_begun(gateway: ReloadableGateway) -> None:
    gateway.config.write_text("")


def no_file(gateway: ReloadableGateway) -> None:
    gateway.config.unlink()


def removed_key(gateway: ReloadableGateway) -> None:
    gateway.key_file.unlink()


def empty_key(gateway: ReloadableGateway) -> None:
    gateway.key_file.write_text("\n")


SPOILED: dict[str, tuple[Spoil, str]] = {
    "bad TOML": (bad_toml, "config.toml: "),
    "unknown key": (unknown_key, "limits.rps: no such setting"),
    "half-written": (half_written, "config.toml: "),
    "nested without end": (nested_without_end, "is nested too deeply"),
    "not begun": (not_begun, "config.toml: is empty"),
    "no file": (no_file, "No such file or directory"),
    "removed key": (removed_key, "provider_key cannot be read"),
    "empty key": (empty_key, "provider_key holds no key"),
}
# What `check` also finds: only `serve` needs the provider key, and a new file may be empty.
FOUND_BY_CHECK = ["bad TOML", "unknown key", "half-written", "no file"]

spoiled = pytest.mark.parametrize(("spoil", "why"), SPOILED.values(), ids=SPOILED)


@spoiled
def test_G119_the_previous_settings_stay_and_one_log_line_gives_the_reason(
    spoil: Spoil, why: str, gateway: ReloadableGateway, scripted: ScriptedUpstream
) -> None:
    begun = len(scripted.journal)
    with BusyCallers(gateway, SILENCE, count=4) as busy:
        scripted.wait_until(lambda: len(scripted.journal) >= begun + 10)
        spoil(gateway)
        gateway.send_sighup()
        line = gateway.wait_for_reload_line(1)
        told_at = len(scripted.journal)
        scripted.wait_until(lambda: len(scripted.journal) >= told_at + 20)
    assert why in line["message"]
    assert "exception" not in line
    assert (busy.refused, busy.lost) == ([], 0)
    assert {each.header("authorization") for each in scripted.journal} == {"Bearer sk-provider-first"}
    # A reload that succeeds comes after all that the signal before it caused.
    gateway.key_file.write_text("sk-provider-first")
    gateway.write()
    gateway.reload()
    assert len(gateway.reload_lines()) == 1


@pytest.mark.parametrize("name", FOUND_BY_CHECK)
def test_G119_the_check_command_finds_the_error(name: str, gateway: ReloadableGateway) -> None:
    spoil, why = SPOILED[name]
    spoil(gateway)
    done = gateway.command("check")
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


@pytest.mark.parametrize("name", ["removed key", "empty key", "not begun"])
def test_G119_the_reload_command_gives_the_reason(name: str, gateway: ReloadableGateway) -> None:
    """Errors that only the gateway can find; the command finds the others itself and sends no signal."""
    spoil, why = SPOILED[name]
    spoil(gateway)
    environment = {"AUDIO_GATEWAY_LEDGER__PATH": str(gateway.ledger)}
    done = gateway.command("reload", **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert len(gateway.reload_lines()) == 1


def test_G119_a_half_written_file_is_loaded_once_it_is_complete(gateway: ReloadableGateway) -> None:
    whole = gateway.settings(policy="rpm = 1\nburst = 1")
    with gateway.config.open("w") as file:
        file.write(whole[: whole.index("key_sha256") + 20])
        file.flush()
        gateway.send_sighup()
        gateway.wait_for_reload_line(1)
        assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
        file.write(whole[whole.index("key_sha256") + 20 :])
    gateway.reload()
    assert gateway.transcribe(gateway.key, SILENCE).status_code == 200
    assert gateway.transcribe(gateway.key, SILENCE).status_code == 429
