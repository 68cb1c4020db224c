"""J152, J153: the image and the compose file give the gateway no unneeded privileges."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.test_image import BUILDER, FINAL, SERVICE, STAGES, USER, Container, answer, served

NO_NEW_PRIVILEGES = re.compile(r"^NoNewPrivs:\s+1$", re.MULTILINE)
READING_ANYTHING = 1 << 2  # CAP_DAC_READ_SEARCH: to read these tests' Python, wherever it is


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.open_again()


def test_J152_it_runs_as_a_user_with_a_number_and_no_rights() -> None:
    assert FINAL.one("USER").value == f"{USER}:{USER}"
    after = FINAL.instructions[FINAL.instructions.index(FINAL.one("USER")) + 1 :]
    assert {each.word for each in after} & {"RUN", "COPY"} == set()


def test_J152_nothing_at_run_time_needs_a_shell() -> None:
    assert FINAL.one("ENTRYPOINT").array + FINAL.one("CMD").array == ["audio-gateway", "serve"]
    assert FINAL.healthcheck[:3] == ["/opt/venv/bin/python", "-I", "-m"]
    assert [each.array[0] for each in FINAL.all("RUN")] == ["install"]


def test_J152_no_secret_is_in_the_image() -> None:
    names = {name for stage in STAGES for name in stage.environment}
    assert [name for name in sorted(names) if re.search("KEY|TOKEN|SECRET|PASSWORD", name)] == []


def test_J152_compose_gives_it_no_rights() -> None:
    assert SERVICE["user"] == FINAL.one("USER").value
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(SERVICE)


def test_J152_compose_bounds_what_it_takes() -> None:
    assert 0 < SERVICE["pids_limit"] <= 256
    assert re.fullmatch(r"\d+[mg]", SERVICE["mem_limit"])
    assert SERVICE["memswap_limit"] == SERVICE["mem_limit"]
    (tmp,) = SERVICE["tmpfs"]
    assert re.match(r"/tmp:size=\d+m,.*noexec", tmp)


def test_J152_compose_asks_for_its_health_as_the_image_does() -> None:
    check = SERVICE["healthcheck"]
    assert check["test"] == ["CMD", *FINAL.healthcheck]
    options = dict(re.findall(r"--([a-z-]+)=(\w+)", FINAL.one("HEALTHCHECK").value))
    assert {name.replace("-", "_"): value for name, value in options.items()} == {
        name: str(value) for name, value in check.items() if name != "test"
    }


def test_J152_its_command_serves_without_rights_over_code_that_cannot_be_written(container: Container) -> None:
    before = sorted(container.code.rglob("*"))
    with served(container) as process:
        assert answer(container.port, "/healthz") == (200, {"status": "ok"})
        assert container.run(FINAL.healthcheck) == (0, "")
        expected = USER if os.getuid() == 0 else os.getuid()
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE) == [str(expected)]
        process.terminate()
        assert process.wait(timeout=40) == 0
    assert sorted(container.code.rglob("*")) == before
    assert {path.name for path in container.data.iterdir()} == {"ledger.db", "ledger.db.lock"}


def test_J152_its_healthcheck_fails_when_nothing_answers(container: Container) -> None:
    status, _ = container.run(FINAL.healthcheck)
    assert status == 1


def test_J152_it_has_no_capability_and_can_gain_none(container: Container) -> None:
    with served(container) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
    capabilities = {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s+(\w+)$", status, re.MULTILINE)}
    if os.getuid() == 0:
        assert NO_NEW_PRIVILEGES.search(status)
        assert set(capabilities.values()) <= {READING_ANYTHING}
    else:
        assert capabilities["Eff"] == 0


@pytest.mark.system
def test_J152_it_serves_over_a_root_that_cannot_be_written(container: Container) -> None:
    """As with `read_only: true`: of the whole tree only the ledger's volume takes a file."""
    bound = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && ! touch /written 2> /dev/null && exec "$@"'
    container.as_user = ["unshare", "--mount", "sh", "-c", bound, str(container.data), *container.as_user]
    with served(container) as process:
        assert answer(container.port, "/healthz") == (200, {"status": "ok"})
        assert answer(container.port, "/readyz") == (200, {"status": "ready"})
        options = [
            line.split()[5]
            for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
            if line.split()[4] == "/"
        ]
        assert all("ro" in each.split(",") for each in options)
        process.terminate()
        assert process.wait(timeout=40) == 0


def test_J153_what_is_installed_is_pinned_by_hash_and_never_built() -> None:
    (install,) = (shlex.split(each.value) for each in BUILDER.all("RUN") if "install" in each.value)
    assert {"--require-hashes", "--only-binary", "-r"} <= set(install)
    assert install[-1] == "/build/${LOCK}"
    assert BUILDER.one("ARG").value == "LOCK=requirements.lock"
    assert "requirements.lock" in BUILDER.all("COPY")[0].value
