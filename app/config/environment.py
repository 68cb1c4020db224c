"""Settings from environment variables: `AUDIO_GATEWAY_SECTION__KEY`, arrays as JSON."""

import json
import re
from collections.abc import Mapping
from typing import Any, get_origin

from pydantic_settings import EnvSettingsSource

from app.config.section import InvalidConfig, Section
from app.config.sections import ADMIN_KEY_VARIABLE
from app.config.settings import Config

ENV_PREFIX = "AUDIO_GATEWAY_"
CONFIG_FILE_VARIABLE = "AUDIO_GATEWAY_CONFIG"

_DELIMITER = "__"
_SERVICE_HOST = "_SERVICE_HOST"
_SERVICE_LINK = r"(_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"


class EnvironmentSource(EnvSettingsSource):
    """The settings of `environ`. InvalidConfig for a name that is no setting, or an array that is not JSON.

    pydantic-settings ignores unknown names, and its error for bad JSON does not name the variable. Both checks are
    here.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Config, case_sensitive=False, env_prefix=ENV_PREFIX, env_nested_delimiter=_DELIMITER)
        _refuse_unknown_names(environ)
        _refuse_unreadable_arrays(environ)
        self.env_vars = {name.lower(): value for name, value in environ.items() if name.startswith(ENV_PREFIX)}


def variable_of(setting: list[str], environ: Mapping[str, str]) -> str | None:
    """The variable in `environ` that sets this setting, such as `["server", "port"]`; None if none does."""
    names = (ENV_PREFIX + _DELIMITER.join(setting[:length]).upper() for length in (2, 1) if setting)
    return next((name for name in names if name in environ), None)


def _variables() -> dict[str, Any]:
    """The variable of every setting, and the setting's type."""
    variables: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for key, setting in section.model_fields.items():
                variables[f"{ENV_PREFIX}{name}{_DELIMITER}{key}".upper()] = setting.annotation
        else:
            variables[f"{ENV_PREFIX}{name}".upper()] = section
    return variables


def _service_links(environ: Mapping[str, str]) -> set[str]:
    """The variables that Kubernetes sets in a Pod for a Service whose name begins like our prefix.

    It sets NAME_SERVICE_HOST, NAME_SERVICE_PORT and NAME_PORT (`tcp://...`) together, and more of them for each port.
    """
    hosts = [name for name in environ if name.startswith(ENV_PREFIX) and name.endswith(_SERVICE_HOST)]
    services = [name.removesuffix(_SERVICE_HOST) for name in hosts]
    linked = [service for service in services if "://" in environ.get(f"{service}_PORT", "")]
    return {name for service in linked for name in environ if re.fullmatch(re.escape(service) + _SERVICE_LINK, name)}


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = {CONFIG_FILE_VARIABLE, ADMIN_KEY_VARIABLE, *_variables(), *_service_links(environ)}
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and name not in known:
            raise InvalidConfig(f"environment variable {name}: no such setting")


def _refuse_unreadable_arrays(environ: Mapping[str, str]) -> None:
    for name in (name for name, annotation in _variables().items() if get_origin(annotation) is tuple):
        try:
            value = json.loads(environ.get(name, "[]"))
        except (ValueError, RecursionError):
            raise InvalidConfig(f"environment variable {name}: is not valid JSON") from None
        if not isinstance(value, list):
            raise InvalidConfig(f"environment variable {name}: must be a JSON array")
