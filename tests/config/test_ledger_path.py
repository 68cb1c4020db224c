"""The ledger's path: from the setting, else from the environment; independent of the working directory."""

from pathlib import Path

import pytest

from app.config import load
from tests.config.files import error_of, write_settings

PATHS = {
    "of a service of systemd": ({"STATE_DIRECTORY": "/var/lib/audio-gateway"}, "/var/lib/audio-gateway/ledger.db"),
    "of a service with several": ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/ledger.db"),
    "of XDG": ({"XDG_STATE_HOME": "/state"}, "/state/audio-gateway/ledger.db"),
    "a service before XDG": ({"STATE_DIRECTORY": "/var/lib/a", "XDG_STATE_HOME": "/state"}, "/var/lib/a/ledger.db"),
    "of XDG, but relative": ({"XDG_STATE_HOME": "state"}, "/people/me/.local/state/audio-gateway/ledger.db"),
    "of the user": ({}, "/people/me/.local/state/audio-gateway/ledger.db"),
    "set": ({"AUDIO_GATEWAY_LEDGER__PATH": "/data/l.db", "STATE_DIRECTORY": "/var/lib/a"}, "/data/l.db"),
    "set below the home directory": ({"AUDIO_GATEWAY_LEDGER__PATH": "~/l.db"}, "/people/me/l.db"),
}


@pytest.mark.parametrize("case", PATHS)
def test_the_default_path_is_that_of_the_service_or_the_user(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/people/me")
    environ, expected = PATHS[case]
    for folder in (tmp_path, Path("/")):
        monkeypatch.chdir(folder)
        assert load(None, environ).ledger.path == Path(expected)


def test_a_path_in_the_file_replaces_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_settings(tmp_path, '[ledger]\npath = "/data/l.db"')
    former(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load(file, {"STATE_DIRECTORY": "/var/lib/a"}).ledger.path == Path("/data/l.db")


@pytest.mark.parametrize("text", ["", '[ledger]\nsynchronous = "normal"'])
def test_a_ledger_at_the_former_default_path_is_an_error_with_both_paths(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = former(tmp_path)
    monkeypatch.chdir(tmp_path)
    line = error_of(write_settings(tmp_path, text), {"XDG_STATE_HOME": "/state"})
    assert str(ledger) in line
    assert "/state/audio-gateway/ledger.db" in line
    assert load(None, {"AUDIO_GATEWAY_LEDGER__PATH": "data/ledger.db"}).ledger.path == Path("data/ledger.db")


def test_an_unknown_home_directory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    line = error_of(None, {"AUDIO_GATEWAY_LEDGER__PATH": "~no-such-user/l.db"})
    assert "AUDIO_GATEWAY_LEDGER__PATH" in line
    assert "home directory" in line


def former(folder: Path) -> Path:
    ledger = folder / "data" / "ledger.db"
    ledger.parent.mkdir()
    ledger.touch()
    return ledger
