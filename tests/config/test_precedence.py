"""The source of each setting: the environment, then the file, then the defaults."""

import json
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from app.config import (
    CONFIG_FILE_VARIABLE,
    DEFAULT_UPSTREAM,
    AdminSettings,
    AlertSettings,
    Config,
    CorsSettings,
    LedgerSettings,
    LimitSettings,
    LogSettings,
    MetricsSettings,
    ServerSettings,
    TimeoutSettings,
    TlsSettings,
    TraceSettings,
    load,
)
from tests.config.files import ARRAYS, CALLER, MODEL, PREFIX, SECRET, SECTIONS, UPSTREAM, error_of, write_settings


def test_the_defaults_serve_onerouter_with_nothing_set() -> None:
    config = load(None, {})
    assert config == Config(ledger=LedgerSettings(path=config.ledger.path))
    assert config.upstream == DEFAULT_UPSTREAM
    assert config.upstream.url("transcribe") == "https://audio.onerouter.pro/v1/audio/transcriptions"
    assert config.upstream.url("translate") == "https://audio.onerouter.pro/v1/audio/translations"
    assert config.upstream.api_key({"ONEROUTER_API_KEY": SECRET}).get_secret_value() == SECRET
    assert config.server.max_file_bytes == 26_214_400
    assert [model.id for model in config.models][:2] == ["whisper-1", "gpt-transcribe"]


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(write_settings(tmp_path, ""), {}) == load(None, {})


def test_the_environment_comes_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    file = write_settings(tmp_path, "[server]\nhost = '0.0.0.0'\nport = 9000\n[timeouts]\ntotal = 60")
    config = load(file, {"AUDIO_GATEWAY_SERVER__PORT": "9001", "PORT": "1", "SERVER__PORT": "2"})
    assert config.server == ServerSettings(host="0.0.0.0", port=9001)
    assert config.timeouts == TimeoutSettings(total=60)
    assert load(file, {}).server.port == 9000


def test_an_array_in_the_environment_replaces_that_of_the_file_as_a_whole(tmp_path: Path) -> None:
    file = write_settings(tmp_path, UPSTREAM + MODEL + CALLER)
    models = [{"id": "a", "tasks": ["translate"], "price": "free"}]
    config = load(file, {"AUDIO_GATEWAY_MODELS": json.dumps(models), "AUDIO_GATEWAY_CALLERS": "[]"})
    assert [model.id for model in config.models] == ["a"]
    assert config.callers == ()
    assert config.upstream.name == "local"


def test_variables_of_other_programs_are_ignored() -> None:
    environ = {CONFIG_FILE_VARIABLE: "x.toml", "AUDIO_GATEWAYS": "1", "PATH": "/bin", "audio_gateway_server__port": "1"}
    assert load(None, environ) == load(None, {})


KEYS = [(section, key, field) for section, model in SECTIONS.items() for key, field in model.model_fields.items()]


def another(field: FieldInfo) -> Any:
    """A value of the setting's type that is not its default."""
    if get_origin(field.annotation) is Literal:
        return next(choice for choice in get_args(field.annotation) if choice != field.default)
    if isinstance(field.default, bool):
        return not field.default
    if isinstance(field.default, int | float):
        return field.default + 1
    if isinstance(field.default, tuple):
        return (*field.default, field.default[-1] + 1)
    if field.default is None:
        (kind,) = set(get_args(field.annotation)) - {NoneType}
        return 7 if kind is int else kind("https://elsewhere")
    return type(field.default)("elsewhere")


# Values of settings that are empty by default.
OTHERS: dict[str, tuple[str, ...]] = {
    "server.forwarded_allow_ips": ("10.0.0.0/8", "192.168.1.7"),
    "cors.origins": ("https://app.example.com",),
}

# Settings that are valid only with other settings.
BESIDE: dict[str, dict[str, Any]] = {
    "alerts.webhook_url": {"webhook_secret_env": "SECRET"},
    "limits.burst": {"rpm": 60},
    "tls.certificate_file": {"key_file": Path("key.pem")},
    "tls.key_file": {"certificate_file": Path("certificate.pem")},
}


@pytest.mark.parametrize(("section", "key", "field"), KEYS, ids=[f"{section}.{key}" for section, key, _ in KEYS])
def test_every_setting_is_overridden_by_its_variable(section: str, key: str, field: FieldInfo, tmp_path: Path) -> None:
    value = OTHERS.get(f"{section}.{key}") or another(field)
    beside = BESIDE.get(f"{section}.{key}", {})
    text = json.dumps(value) if isinstance(value, tuple) else str(value)
    environ = {f"{PREFIX}{section}__{key}".upper(): text}
    file = write_settings(
        tmp_path,
        "\n".join([f"[{section}]", *(f"{name} = {json.dumps(each, default=str)}" for name, each in beside.items())]),
    )
    changed = load(file, environ)
    assert getattr(getattr(changed, section), key) == value
    default = getattr(load(None, {}), section)
    assert getattr(changed, section) == default.model_copy(update={**beside, key: value}) != default


def test_every_section_is_tested() -> None:
    assert list(SECTIONS.values()) == [
        ServerSettings,
        TlsSettings,
        CorsSettings,
        TimeoutSettings,
        LedgerSettings,
        LimitSettings,
        AdminSettings,
        AlertSettings,
        MetricsSettings,
        TraceSettings,
        LogSettings,
    ]


@pytest.mark.parametrize("array", sorted(set(Config.model_fields) - set(SECTIONS)))
def test_every_array_is_overridden_by_its_variable_as_json(array: str) -> None:
    changed = load(None, {f"{PREFIX}{array}".upper(): json.dumps(ARRAYS[array])})
    (item,) = getattr(changed, array)
    assert getattr(item, "id", None) or item.name == "x"
    assert getattr(changed, array) != getattr(Config(), array)


def test_the_models_of_a_caller_must_be_in_the_catalogue_of_the_environment(tmp_path: Path) -> None:
    file = write_settings(tmp_path, CALLER + "models = ['whisper-1']")
    assert load(file, {}).callers[0].models == ("whisper-1",)
    assert "'whisper-1' is not in the catalogue" in error_of(
        file, {"AUDIO_GATEWAY_MODELS": json.dumps(ARRAYS["models"])}
    )


def service_links(name: str, port: int = 8080) -> dict[str, str]:
    """The variables that Kubernetes sets in every Pod for a Service of this name with a port `http`."""
    host, variable = "10.96.7.1", f"{name.upper().replace('-', '_')}"
    url = f"tcp://{host}:{port}"
    return {
        f"{variable}_SERVICE_HOST": host,
        f"{variable}_SERVICE_PORT": str(port),
        f"{variable}_SERVICE_PORT_HTTP": str(port),
        f"{variable}_PORT": url,
        f"{variable}_PORT_{port}_TCP": url,
        f"{variable}_PORT_{port}_TCP_PROTO": "tcp",
        f"{variable}_PORT_{port}_TCP_PORT": str(port),
        f"{variable}_PORT_{port}_TCP_ADDR": host,
    }


@pytest.mark.parametrize("name", ["audio-gateway", "audio-gateway-metrics", "audio-gateway-server", "audio-gateway-v2"])
def test_service_links_of_kubernetes_are_ignored(name: str) -> None:
    links = service_links(name)
    assert load(None, links) == load(None, {})
    assert load(None, {**links, "AUDIO_GATEWAY_SERVER__PORT": "9000"}).server.port == 9000


@pytest.mark.parametrize(
    "environ",
    [
        {"AUDIO_GATEWAY_PORT": "9000"},
        {"AUDIO_GATEWAY_SERVER_PORT": "9000"},
        {"AUDIO_GATEWAY_SERVICE_PORT": "9000"},
        {"AUDIO_GATEWAY_PORT": "tcp://10.96.7.1:8080"},
        {**service_links("audio-gateway"), "AUDIO_GATEWAY_PORTS": "9000"},
        {**service_links("audio-gateway"), "AUDIO_GATEWAY_SERVER_PORT": "9000"},
    ],
)
def test_a_misspelt_setting_that_resembles_a_service_link_is_refused(environ: dict[str, str]) -> None:
    assert "no such setting" in error_of(None, environ)
