"""The image and the compose file are safe to run, and their command works."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from app import __version__, config
from app.adapters.telemetry.log_writer import STOP_SECONDS
from app.healthcheck import Address, address
from app.main import LAST_SECONDS
from tests.contract import dockerfile
from tests.contract.tree import ROOT, is_variable
from tests.stubs.certificate import certificate
from tests.stubs.gateway import clean_environment, free_port

STAGES = dockerfile.parse(ROOT / "Dockerfile")
BUILDER, FINAL = STAGES
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICE: dict[str, Any] = COMPOSE["services"]["gateway"]
USER = 65532

# -- the Dockerfile ---------------------------------------------------------------------------------------------------


def test_both_stages_use_one_pinned_base() -> None:
    assert {stage.base for stage in STAGES} == {"python:3.13-slim"}
    assert BUILDER.name == "builder"


def test_the_paths_have_the_python_version_of_the_base() -> None:
    paths = re.findall(r"python(\d\.\d+)/", (ROOT / "Dockerfile").read_text("utf-8"))
    assert set(paths) == {BUILDER.base.removeprefix("python:").removesuffix("-slim")}


def test_the_command_is_the_package_entry_point() -> None:
    """The image does not install the application as a wheel, so the Dockerfile writes the command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, name = project["scripts"]["audio-gateway"].partition(":")
    (written,) = (each.value for each in BUILDER.all("RUN") if "> /opt/venv/bin/audio-gateway" in each.value)
    assert f"'from {module} import {name}' '' '{name}()'" in written
    assert "'#!/opt/venv/bin/python'" in written


def test_the_build_adds_no_remote_files() -> None:
    words = {each.word for stage in STAGES for each in stage.instructions}
    assert words <= {
        *("ARG", "RUN", "COPY", "LABEL", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL"),
        *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    assert not any("://" in each.value for stage in STAGES for each in stage.instructions if each.word == "RUN")


def test_the_image_sets_its_environment() -> None:
    environment = FINAL.environment
    assert environment["AUDIO_GATEWAY_SERVER__HOST"] == "0.0.0.0"
    assert environment["AUDIO_GATEWAY_LEDGER__PATH"] == "/data/ledger.db"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["PATH"].startswith("/opt/venv/bin:")
    assert int(environment["MALLOC_MMAP_THRESHOLD_"]) > 256 * 1024
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) > int(environment["MALLOC_MMAP_THRESHOLD_"])
    assert all(is_variable(name) for name in environment if name.startswith("AUDIO_GATEWAY_"))


def test_the_build_compiles_the_code() -> None:
    assert "-m compileall" in BUILDER.all("RUN")[-1].value


def test_the_ledger_is_on_a_volume_of_the_images_user() -> None:
    (made,) = (each.array for each in FINAL.all("RUN"))
    assert made == ["install", "-d", "-o", f"{USER}", "-g", f"{USER}", "-m", "0700", "/data"]
    assert FINAL.one("VOLUME").array == ["/data"]
    instructions = FINAL.instructions
    assert instructions.index(FINAL.all("RUN")[0]) < instructions.index(FINAL.one("VOLUME"))


def test_the_image_has_labels_and_a_stop_signal() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in FINAL.labels.items()}
    assert labels == {
        "title": project["name"],
        "description": project["description"],
        "version": project["version"],
        "licenses": project["license"],
    }
    assert project["version"] == __version__
    assert FINAL.one("STOPSIGNAL").value == "SIGTERM"
    assert FINAL.one("EXPOSE").value == str(config.ServerSettings().port)


def test_the_build_context_has_only_copied_files() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copies = [each.value.split() for stage in STAGES for each in stage.all("COPY") if "--from" not in each.value]
    copied = {source for *sources, _ in copies for source in sources}
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


# -- docker-compose.yml -----------------------------------------------------------------------------------------------


def test_compose_keeps_the_ledger_in_a_named_volume() -> None:
    (volume,) = SERVICE["volumes"]
    name, _, target = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert [target] == FINAL.one("VOLUME").array


def test_compose_publishes_on_loopback_only() -> None:
    port = FINAL.one("EXPOSE").value
    assert SERVICE["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_compose_needs_only_the_provider_key() -> None:
    assert list(SERVICE["environment"]) == ["ONEROUTER_API_KEY"]
    assert SERVICE["environment"]["ONEROUTER_API_KEY"].startswith("${ONEROUTER_API_KEY:?")
    assert config.DEFAULT_UPSTREAM.api_key_env == "ONEROUTER_API_KEY"


def test_compose_waits_for_requests_in_flight() -> None:
    """The wait covers the grace, the last settlements of cut requests, and the last lines of the log."""
    stopping = config.TimeoutSettings().grace + LAST_SECONDS + STOP_SECONDS
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > stopping
    assert SERVICE["restart"] == "unless-stopped"


def test_the_variant_with_a_secret_is_valid() -> None:
    """The variant is in comments. Uncommented, it is YAML, and the gateway accepts its setting."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    _, _, variant = text.partition("# To keep the provider's key in a docker secret")
    lines = [
        line.removeprefix("# ") for line in variant.splitlines() if line.startswith(("#     ", "# secrets:", "#   "))
    ]
    service = yaml.safe_load("\n".join(line[4:] for line in lines if line.startswith("    ") and "file:" not in line))
    secrets = yaml.safe_load("\n".join(lines[lines.index("secrets:") :]))["secrets"]
    loaded = config.load(None, service["environment"])
    assert service["secrets"] == list(secrets)
    assert loaded.upstream.api_key_file == Path("/run/secrets") / service["secrets"][0]
    assert loaded.upstream.base_url == config.DEFAULT_UPSTREAM.base_url


def test_the_variant_with_a_configuration_file_is_valid() -> None:
    """Two lines in comments mount the file where the gateway reads it."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    ((variable, path),) = re.findall(r"^ +# (AUDIO_GATEWAY_CONFIG): (\S+)$", text, re.MULTILINE)
    (mount,) = re.findall(r"^ +# - (\S+\.toml:\S+)$", text, re.MULTILINE)
    assert is_variable(variable)
    assert mount == f"./config.toml:{path}:ro"


def test_the_page_runs_the_command_of_the_container() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    commands = re.findall(r"docker compose exec (\S+) (\S+)", page)
    assert set(commands) == {(name, FINAL.one("ENTRYPOINT").array[0]) for name in COMPOSE["services"]}
    assert f"`{next(iter(COMPOSE['volumes']))}`" in page


# What the schema of Docker Compose 1.27 to 1.29 has (compose_spec.json), of what a service like this one may want. A
# newer key, such as the `name` of a project, stops those clients with an error.
COMPOSE_1_KEYS = {"version", "services", "networks", "volumes", "secrets", "configs"}
COMPOSE_1_SERVICE = {
    *("build", "cap_add", "cap_drop", "command", "container_name", "cpus", "depends_on", "dns", "entrypoint"),
    *("env_file", "environment", "expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels"),
    *("logging", "mem_limit", "mem_reservation", "memswap_limit", "networks", "pids_limit", "ports", "profiles"),
    *("pull_policy", "read_only", "restart", "secrets", "security_opt", "stop_grace_period", "stop_signal", "sysctls"),
    *("tmpfs", "ulimits", "user", "volumes", "working_dir"),
}
COMPOSE_1_HEALTHCHECK = {"disable", "interval", "retries", "test", "timeout", "start_period"}


def test_older_compose_clients_accept_the_file() -> None:
    assert set(COMPOSE) <= COMPOSE_1_KEYS
    assert set(SERVICE) <= COMPOSE_1_SERVICE
    assert set(SERVICE["healthcheck"]) <= COMPOSE_1_HEALTHCHECK
    # The long forms of these came with versions of the format that older clients read only under their number.
    assert all(isinstance(each, str) for name in ("ports", "volumes", "tmpfs") for each in SERVICE[name])


# -- its command ------------------------------------------------------------------------------------------------------


class Container:
    """Runs the final stage's command and environment on a read-only copy of the code."""

    def __init__(self, folder: Path) -> None:
        self.code, self.data = folder / "code", folder / "data"
        shutil.copytree(ROOT / "app", self.code / "app", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (self.code, *self.code.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        self.data.mkdir()
        self.port = free_port()
        inside = {**FINAL.environment, "AUDIO_GATEWAY_LEDGER__PATH": str(self.data / "ledger.db")}
        self.environment = clean_environment(**inside, ONEROUTER_API_KEY="key", PYTHONPATH=str(self.code)) | {
            "AUDIO_GATEWAY_SERVER__PORT": str(self.port)
        }
        self.as_user: list[str] = []
        if os.getuid() == 0:
            os.chown(self.data, USER, USER)
            # The one capability left is to read this Python wherever it is; in the image everyone may.
            kept = "-all,+dac_read_search"
            self.as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
            self.as_user += [f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]

    def start(self, command: list[str]) -> "subprocess.Popen[str]":
        """Starts this command of the image, with the Python and the `audio-gateway` of these tests."""
        script = "from app.cli import app; app()"
        program = {"audio-gateway": ["-P", "-c", script], "/opt/venv/bin/python": []}[command[0]]
        return subprocess.Popen(
            [*self.as_user, sys.executable, *program, *command[1:]],
            env=self.environment,
            cwd=self.data,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def open_again(self) -> None:
        """Makes the copy writable, so that it can be deleted."""
        for path in self.code.rglob("*"):
            path.chmod(0o755)

    def run(self, command: list[str]) -> tuple[int, str]:
        process = self.start(command)
        out, _ = process.communicate(timeout=30)
        return process.returncode, out


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.open_again()


@contextlib.contextmanager
def served(container: Container) -> Iterator["subprocess.Popen[str]"]:
    process = container.start(FINAL.one("ENTRYPOINT").array + FINAL.one("CMD").array)
    try:
        deadline = monotonic() + 30
        while answer(container.port, "/readyz") is None:
            if process.poll() is not None or monotonic() > deadline:
                process.kill()
                raise AssertionError(f"it did not start: {process.communicate()[0]}")
            sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(port: int, path: str) -> tuple[int, Any] | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def test_a_command_in_the_container_creates_a_caller(container: Container) -> None:
    with served(container):
        status, output = container.run([*FINAL.one("ENTRYPOINT").array, "keys", "create", "search-team"])
    assert status == 0
    assert "sk-agw-" in output


# -- its health check -------------------------------------------------------------------------------------------------


def health_check() -> list[str]:
    """Returns the health check of the image, which is also that of the compose file."""
    command = json.loads(FINAL.one("HEALTHCHECK").value.partition("CMD ")[2])
    assert SERVICE["healthcheck"]["test"] == ["CMD", *command]
    return list(command)


def test_the_container_is_healthy_only_while_it_serves(container: Container) -> None:
    with served(container):
        assert container.run(health_check()) == (0, "")
    assert container.run(health_check()) == (1, "")


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A folder that every user can read, like a volume."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_the_container_is_healthy_with_tls_on_another_port(container: Container, mounted: Path) -> None:
    """The check reads what it needs from the file that AUDIO_GATEWAY_CONFIG names."""
    certificate(mounted)
    file = mounted / "config.toml"
    tls = f"certificate_file = '{mounted / 'certificate.pem'}'\nkey_file = '{mounted / 'key.pem'}'\n"
    file.write_text(f"[server]\nport = {container.port}\n[tls]\n{tls}")
    for path in mounted.iterdir():
        path.chmod(0o644)
    del container.environment["AUDIO_GATEWAY_SERVER__PORT"]
    container.environment["AUDIO_GATEWAY_CONFIG"] = str(file)
    process = container.start(FINAL.one("ENTRYPOINT").array + FINAL.one("CMD").array)
    try:
        deadline = monotonic() + 30
        while container.run(health_check())[0] and process.poll() is None and monotonic() < deadline:
            sleep(0.1)
        assert container.run(health_check()) == (0, "")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[server]\nhost = '127.0.0.2'\nport = 9000\n",
        "[server]\nhost = '::'\n",
        "[tls]\ncertificate_file = 'a'\nkey_file = 'b'\n",
    ],
)
@pytest.mark.parametrize(
    "variables", [{}, {"AUDIO_GATEWAY_SERVER__PORT": "9001", "AUDIO_GATEWAY_SERVER__HOST": "0.0.0.0"}]
)
def test_the_health_check_uses_the_address_of_the_gateway(tmp_path: Path, text: str, variables: dict[str, str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    settings = config.load(file, variables)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)
    tls = settings.tls.certificate_file is not None
    assert address({**variables, "AUDIO_GATEWAY_CONFIG": str(file)}) == Address(host, settings.server.port, tls)


def test_the_health_check_and_the_gateway_have_the_same_defaults() -> None:
    settings = config.load(None, {})
    assert address({}) == Address(settings.server.host, settings.server.port, tls=False)
