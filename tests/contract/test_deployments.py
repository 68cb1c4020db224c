"""The systemd unit and the Kubernetes manifest run with few privileges and match the gateway's settings."""

import re
import tomllib
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import config
from app.adapters.telemetry.log_writer import STOP_SECONDS
from app.main import LAST_SECONDS
from tests.contract import dockerfile
from tests.contract.test_docs import is_valid_command
from tests.contract.tree import ROOT, is_variable

DEPLOY = ROOT / "deploy"
IMAGE = dockerfile.parse(ROOT / "Dockerfile")[-1]
USER = int(IMAGE.one("USER").value.partition(":")[0])
# The grace, then the last settlements of what it cut off, then the last lines of the log.
STOPPING = config.TimeoutSettings().grace + LAST_SECONDS + STOP_SECONDS

# -- systemd ----------------------------------------------------------------------------------------------------------


class Unit:
    """The settings of a unit. A name can occur more than once."""

    def __init__(self, file: Path) -> None:
        self.lines: list[tuple[str, str, str]] = []
        section = ""
        for line in file.read_text("utf-8").splitlines():
            if found := re.fullmatch(r"\[(\w+)\]", line):
                section = found[1]
            elif line and not line.startswith("#"):
                name, _, value = line.partition("=")
                self.lines.append((section, name, value))

    def all(self, name: str) -> list[str]:
        return [value for _, each, value in self.lines if each == name]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value


UNIT = Unit(DEPLOY / "systemd" / "audio-gateway.service")
SERVICE_FILE = DEPLOY / "systemd" / "audio-gateway.toml"
PROGRAM = "/opt/audio-gateway/bin/audio-gateway"


def test_the_unit_parses() -> None:
    parser = RawConfigParser(strict=False)
    parser.read(DEPLOY / "systemd" / "audio-gateway.service", "utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]


@pytest.mark.parametrize("name", ["ExecStart", "ExecReload"])
def test_the_commands_of_the_unit_exist(name: str) -> None:
    program, *words = UNIT.one(name).split()
    assert program == PROGRAM
    assert is_valid_command(words)


def test_the_unit_waits_for_requests_in_flight() -> None:
    assert int(UNIT.one("TimeoutStopSec")) > STOPPING
    assert UNIT.one("KillMode") == "mixed"


def test_the_unit_does_not_restart_after_wrong_settings() -> None:
    assert UNIT.one("Restart") == "on-failure"
    assert UNIT.one("RestartPreventExitStatus") == "2"


def test_the_unit_restricts_the_process() -> None:
    yes = {"NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID", "RestrictNamespaces"}
    yes |= {"MemoryDenyWriteExecute", "LockPersonality", "ProtectKernelModules", "ProtectKernelTunables"}
    assert {name: UNIT.one(name) for name in yes} == dict.fromkeys(yes, "yes")
    assert UNIT.one("ProtectSystem") == "strict"
    assert UNIT.one("CapabilityBoundingSet") == UNIT.one("AmbientCapabilities") == ""
    assert UNIT.one("User") not in ("", "root")
    assert UNIT.all("ReadWritePaths") == []


def test_the_unit_limits_files_and_memory() -> None:
    assert int(UNIT.one("LimitNOFILE")) > 2 * config.ServerSettings().max_connections
    assert UNIT.one("MemoryMax") == "1G"


def test_the_environment_of_the_unit_is_valid() -> None:
    variables = dict(pair.split("=", 1) for line in UNIT.all("Environment") for pair in line.split())
    assert all(is_variable(name) for name in variables if name.startswith("AUDIO_GATEWAY_"))
    assert variables.pop("AUDIO_GATEWAY_CONFIG") == "/etc/audio-gateway/config.toml"
    assert variables.items() <= IMAGE.environment.items()
    assert not any(re.search("KEY|SECRET", name) for name in variables)


def test_the_ledger_of_the_unit_is_in_its_state_directory() -> None:
    settings = config.load(SERVICE_FILE, {})
    assert settings.ledger.path.parent == Path("/var/lib") / UNIT.one("StateDirectory")
    assert settings.upstream.base_url == config.DEFAULT_UPSTREAM.base_url
    assert settings.upstream.api_key_file is not None
    assert settings.server == config.ServerSettings()


# -- Kubernetes -------------------------------------------------------------------------------------------------------

OBJECTS: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes" / "audio-gateway.yaml").read_text("utf-8"))
}
DEPLOYMENT = OBJECTS["Deployment"]["spec"]
POD: dict[str, Any] = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
MOUNTS = {mount["name"]: mount for mount in CONTAINER["volumeMounts"]}
VOLUMES = {volume["name"]: volume for volume in POD["volumes"]}


def test_the_manifest_has_one_of_each() -> None:
    assert list(OBJECTS) == ["ConfigMap", "PersistentVolumeClaim", "Deployment", "Service"]
    assert {each["metadata"]["name"] for each in OBJECTS.values()} == {"audio-gateway"}


def test_the_manifest_runs_one_process_at_a_time() -> None:
    assert DEPLOYMENT["replicas"] == 1
    assert DEPLOYMENT["strategy"] == {"type": "Recreate"}
    assert [MOUNTS["ledger"]["mountPath"]] == IMAGE.one("VOLUME").array
    assert VOLUMES["ledger"] == {"name": "ledger", "persistentVolumeClaim": {"claimName": "audio-gateway"}}


def test_the_labels_match() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"] == OBJECTS["Service"]["spec"]["selector"] == labels


def test_the_ports_match() -> None:
    (port,), (service,) = CONTAINER["ports"], OBJECTS["Service"]["spec"]["ports"]
    assert str(port["containerPort"]) == IMAGE.one("EXPOSE").value
    assert service == {"name": "http", "port": port["containerPort"], "targetPort": port["name"]}


@pytest.mark.parametrize(
    ("probe", "path"), [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
)
def test_the_probes_use_existing_paths(probe: str, path: str) -> None:
    assert CONTAINER[probe]["httpGet"] == {"path": path, "port": CONTAINER["ports"][0]["name"]}
    assert f'"{path}"' in (ROOT / "app" / "api" / "system.py").read_text("utf-8")


def test_the_manifest_restricts_the_process() -> None:
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    assert user.items() <= POD["securityContext"].items()
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(POD)


def test_the_manifest_limits_memory() -> None:
    assert CONTAINER["resources"]["limits"] == {"memory": "1Gi"}
    assert set(CONTAINER["resources"]["requests"]) == {"cpu", "memory"}


def test_the_manifest_waits_for_requests_in_flight() -> None:
    assert POD["terminationGracePeriodSeconds"] > STOPPING


def test_the_manifest_turns_service_links_off() -> None:
    """With links, Kubernetes sets variables such as AUDIO_GATEWAY_PORT, which is not a setting."""
    assert not is_variable("AUDIO_GATEWAY_PORT")
    assert POD["enableServiceLinks"] is False


def test_the_manifest_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert CONTAINER["image"] == f"audio-gateway:{project['version']}"


def test_the_settings_of_the_manifest_are_valid_and_mounted(tmp_path: Path) -> None:
    (variable,) = CONTAINER["env"]
    assert is_variable(variable["name"])
    mounted, name = Path(variable["value"]).parent, Path(variable["value"]).name
    assert str(mounted) == MOUNTS["config"]["mountPath"]
    assert VOLUMES["config"]["configMap"]["name"] == OBJECTS["ConfigMap"]["metadata"]["name"]
    file = tmp_path / name
    file.write_text(OBJECTS["ConfigMap"]["data"][name])
    settings = config.load(file, {})
    assert settings.upstream.base_url == config.DEFAULT_UPSTREAM.base_url
    assert settings.upstream.api_key_file is not None
    assert str(settings.upstream.api_key_file.parent) == MOUNTS["key"]["mountPath"]
    assert VOLUMES["key"]["secret"]["defaultMode"] == 0o440  # YAML 1.1 reads it as octal; the group is fsGroup's


def test_files_that_a_reload_reads_are_in_mounted_folders() -> None:
    """A file that is mounted with subPath does not change while the Pod runs."""
    assert all("subPath" not in mount for mount in MOUNTS.values())


# -- docs/deploy.md --------------------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_the_page_creates_the_secret_that_the_manifest_mounts() -> None:
    settings = tomllib.loads(OBJECTS["ConfigMap"]["data"]["config.toml"])
    file = Path(settings["upstreams"][0]["api_key_file"]).name
    made = re.findall(r"create secret generic (\S+) --from-file=(\w+)=", PAGE)
    assert set(made) == {(VOLUMES["key"]["secret"]["secretName"], file)}


def test_the_page_installs_the_files_that_the_unit_reads() -> None:
    installed = dict(re.findall(r"^sudo install [^/\n]*?(\S+) (/etc/\S+)", PAGE, re.MULTILINE))
    assert all((ROOT / name).is_file() for name in installed if not name.startswith("/"))
    key = config.load(SERVICE_FILE, {}).upstream.api_key_file
    assert set(installed.values()) == {"/etc/audio-gateway/config.toml", "/etc/systemd/system/", str(key)}
    assert f"/etc/audio-gateway/{Path(PROGRAM).name}" not in PAGE
    assert UNIT.one("EnvironmentFile").removeprefix("-") in PAGE


def test_the_page_creates_the_user_of_the_unit() -> None:
    assert re.findall(r"^sudo useradd .* (\S+)$", PAGE, re.MULTILINE) == [UNIT.one("User")]
    assert set(re.findall(r"--(?:group|user)=(\S+)", PAGE)) == {UNIT.one("User"), UNIT.one("Group")}


def test_the_settings_of_the_page_are_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        assert config.load(file, {}) != config.load(None, {})


def test_all_stop_timeouts_equal_that_of_the_page() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["gateway"]
    timeouts = {int(compose["stop_grace_period"].removesuffix("s")), int(UNIT.one("TimeoutStopSec"))}
    assert (
        timeouts
        == {POD["terminationGracePeriodSeconds"]}
        == {int(found) for found in re.findall(r"wait (\d+) s\.", PAGE)}
    )


@pytest.mark.parametrize("variable", sorted({name for name in IMAGE.environment if name.startswith("AUDIO_GATEWAY_")}))
def test_the_manifest_keeps_the_variables_of_the_image(variable: str) -> None:
    assert variable not in {each["name"] for each in CONTAINER["env"]}
