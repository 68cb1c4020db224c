"""The unit of systemd and the manifest of Kubernetes: what makes them safe to run, and that they fit the gateway."""

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
    """A unit's sections, where a name may stand more than once."""

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


def test_the_unit_is_in_the_grammar_of_units() -> None:
    parser = RawConfigParser(strict=False)
    parser.read(DEPLOY / "systemd" / "audio-gateway.service", "utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]


@pytest.mark.parametrize("name", ["ExecStart", "ExecReload"])
def test_the_commands_of_the_unit_exist(name: str) -> None:
    program, *words = UNIT.one(name).split()
    assert program == PROGRAM
    assert is_valid_command(words)


def test_the_unit_waits_for_what_is_in_flight() -> None:
    assert int(UNIT.one("TimeoutStopSec")) > STOPPING
    assert UNIT.one("KillMode") == "mixed"


def test_wrong_settings_are_not_tried_again() -> None:
    assert UNIT.one("Restart") == "on-failure"
    assert UNIT.one("RestartPreventExitStatus") == "2"


def test_the_unit_gives_the_process_no_rights() -> None:
    yes = {"NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID", "RestrictNamespaces"}
    yes |= {"MemoryDenyWriteExecute", "LockPersonality", "ProtectKernelModules", "ProtectKernelTunables"}
    assert {name: UNIT.one(name) for name in yes} == dict.fromkeys(yes, "yes")
    assert UNIT.one("ProtectSystem") == "strict"
    assert UNIT.one("CapabilityBoundingSet") == UNIT.one("AmbientCapabilities") == ""
    assert UNIT.one("User") not in ("", "root")
    assert UNIT.all("ReadWritePaths") == []


def test_the_unit_bounds_what_it_takes() -> None:
    assert int(UNIT.one("LimitNOFILE")) > 2 * config.ServerSettings().max_connections
    assert UNIT.one("MemoryMax") == "1G"


def test_the_environment_of_the_unit_is_one_that_the_gateway_knows() -> None:
    told = dict(pair.split("=", 1) for line in UNIT.all("Environment") for pair in line.split())
    assert all(is_variable(name) for name in told if name.startswith("AUDIO_GATEWAY_"))
    assert told.pop("AUDIO_GATEWAY_CONFIG") == "/etc/audio-gateway/config.toml"
    assert told.items() <= IMAGE.environment.items()
    assert not any(re.search("KEY|SECRET", name) for name in told)


def test_the_settings_of_the_unit_keep_the_ledger_where_it_may_write() -> None:
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


def test_one_process_at_a_time_has_the_ledger() -> None:
    assert DEPLOYMENT["replicas"] == 1
    assert DEPLOYMENT["strategy"] == {"type": "Recreate"}
    assert [MOUNTS["ledger"]["mountPath"]] == IMAGE.one("VOLUME").array
    assert VOLUMES["ledger"] == {"name": "ledger", "persistentVolumeClaim": {"claimName": "audio-gateway"}}


def test_the_labels_meet() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"] == OBJECTS["Service"]["spec"]["selector"] == labels


def test_the_ports_meet() -> None:
    (port,), (service,) = CONTAINER["ports"], OBJECTS["Service"]["spec"]["ports"]
    assert str(port["containerPort"]) == IMAGE.one("EXPOSE").value
    assert service == {"name": "http", "port": port["containerPort"], "targetPort": port["name"]}


@pytest.mark.parametrize(
    ("probe", "path"), [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
)
def test_the_probes_ask_for_paths_that_exist(probe: str, path: str) -> None:
    assert CONTAINER[probe]["httpGet"] == {"path": path, "port": CONTAINER["ports"][0]["name"]}
    assert f'"{path}"' in (ROOT / "app" / "api" / "system.py").read_text("utf-8")


def test_the_manifest_gives_it_no_rights() -> None:
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


def test_the_manifest_bounds_what_it_takes() -> None:
    assert CONTAINER["resources"]["limits"] == {"memory": "1Gi"}
    assert set(CONTAINER["resources"]["requests"]) == {"cpu", "memory"}


def test_the_manifest_waits_for_what_is_in_flight() -> None:
    assert POD["terminationGracePeriodSeconds"] > STOPPING


def test_the_manifest_wants_no_variables_of_services() -> None:
    """Kubernetes sets them for each Service of the namespace unless the Pod declines; one alone is no setting."""
    assert not is_variable("AUDIO_GATEWAY_PORT")
    assert POD["enableServiceLinks"] is False


def test_the_manifest_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert CONTAINER["image"] == f"audio-gateway:{project['version']}"


def test_the_settings_of_the_manifest_are_good_and_where_it_looks(tmp_path: Path) -> None:
    (told,) = CONTAINER["env"]
    assert is_variable(told["name"])
    mounted, name = Path(told["value"]).parent, Path(told["value"]).name
    assert str(mounted) == MOUNTS["config"]["mountPath"]
    assert VOLUMES["config"]["configMap"]["name"] == OBJECTS["ConfigMap"]["metadata"]["name"]
    file = tmp_path / name
    file.write_text(OBJECTS["ConfigMap"]["data"][name])
    settings = config.load(file, {})
    assert settings.upstream.base_url == config.DEFAULT_UPSTREAM.base_url
    assert settings.upstream.api_key_file is not None
    assert str(settings.upstream.api_key_file.parent) == MOUNTS["key"]["mountPath"]
    assert VOLUMES["key"]["secret"]["defaultMode"] == 0o440  # YAML 1.1 reads it as octal; the group is fsGroup's


def test_files_that_a_reload_reads_are_mounted_as_folders() -> None:
    """A file that is mounted by a subPath stays as it was at the start."""
    assert all("subPath" not in mount for mount in MOUNTS.values())


# -- what the page tells of them --------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_the_secret_that_the_page_makes_is_the_one_that_is_mounted() -> None:
    settings = tomllib.loads(OBJECTS["ConfigMap"]["data"]["config.toml"])
    file = Path(settings["upstreams"][0]["api_key_file"]).name
    made = re.findall(r"create secret generic (\S+) --from-file=(\w+)=", PAGE)
    assert set(made) == {(VOLUMES["key"]["secret"]["secretName"], file)}


def test_the_files_that_the_page_installs_are_where_the_unit_looks() -> None:
    installed = dict(re.findall(r"^sudo install [^/\n]*?(\S+) (/etc/\S+)", PAGE, re.MULTILINE))
    assert all((ROOT / name).is_file() for name in installed if not name.startswith("/"))
    key = config.load(SERVICE_FILE, {}).upstream.api_key_file
    assert set(installed.values()) == {"/etc/audio-gateway/config.toml", "/etc/systemd/system/", str(key)}
    assert f"/etc/audio-gateway/{Path(PROGRAM).name}" not in PAGE
    assert UNIT.one("EnvironmentFile").removeprefix("-") in PAGE


def test_the_user_that_the_page_makes_is_the_units() -> None:
    assert re.findall(r"^sudo useradd .* (\S+)$", PAGE, re.MULTILINE) == [UNIT.one("User")]
    assert set(re.findall(r"--(?:group|user)=(\S+)", PAGE)) == {UNIT.one("User"), UNIT.one("Group")}


def test_every_setting_that_the_page_shows_is_good(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        assert config.load(file, {}) != config.load(None, {})


def test_the_time_to_stop_that_the_page_tells_is_everybodys() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["gateway"]
    told = {int(compose["stop_grace_period"].removesuffix("s")), int(UNIT.one("TimeoutStopSec"))}
    assert (
        told == {POD["terminationGracePeriodSeconds"]} == {int(found) for found in re.findall(r"wait (\d+) s\.", PAGE)}
    )


@pytest.mark.parametrize("variable", sorted({name for name in IMAGE.environment if name.startswith("AUDIO_GATEWAY_")}))
def test_the_manifest_leaves_what_the_image_sets(variable: str) -> None:
    assert variable not in {each["name"] for each in CONTAINER["env"]}
