"""A real Prometheus accepts the rules. An alert fires while the provider refuses the key, and then resolves."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests import audio
from tests.contract.tree import ROOT
from tests.stubs.gateway import NO_TLS, GatewayProcess, free_port
from tests.stubs.scrape import Scrape
from tests.stubs.upstream import ScriptedUpstream, error_answer, json_answer
from tests.system import tools

pytestmark = pytest.mark.system

DEPLOY = ROOT / "deploy" / "prometheus"
UNIT_TESTS = Path(__file__).with_name("alerts.test.yml")
CLIP = audio.make("wav", "pcm_s16le", 0.5)
PATIENCE_SECONDS = 60


class Prometheus:
    """A Prometheus that scrapes a gateway like the example, but more often."""

    def __init__(self, folder: Path, gateway: GatewayProcess) -> None:
        self._folder = folder
        self.address = f"http://127.0.0.1:{free_port()}"
        settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))
        settings["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
        settings["rule_files"] = [str(DEPLOY / name) for name in settings["rule_files"]]
        settings["scrape_configs"][0]["authorization"] = {"credentials_file": str(gateway.metrics_key)}
        settings["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{gateway.port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self._process = subprocess.Popen(
            [
                tools.path_of("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.address.removeprefix('http://')}",
                "--log.level=warn",
            ],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the series for which the expression is true now."""
        return list(self._get("/api/v1/query", query=expression)["result"])

    def firing(self) -> set[str]:
        alerts = self._get("/api/v1/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def wait_for(self, expression: str, *, true: bool) -> list[dict[str, Any]]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while bool(found := self.query(expression)) is not true:
            assert time.monotonic() < deadline, (expression, self._log())
            time.sleep(0.1)
        return found

    def wait_for_firing(self, alert: str, *, fires: bool) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (alert in self.firing()) is not fires:
            assert time.monotonic() < deadline, (alert, self.firing(), self._log())
            time.sleep(0.1)

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = httpx.get(f"{self.address}{path}", params=query, timeout=10, **NO_TLS)
                if answer.status_code == 200:
                    return dict(answer.json()["data"])
            except httpx.TransportError:
                pass
            assert self._process.poll() is None, self._log()
            assert time.monotonic() < deadline, self._log()
            time.sleep(0.1)

    def _log(self) -> str:
        return (self._folder / "log").read_text()


@pytest.fixture
def prometheus(gateway: GatewayProcess, tmp_path: Path) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path, gateway)
    yield running
    running.stop()


def expression_of(alert: str) -> str:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))["groups"]
    (found,) = [rule["expr"] for group in groups for rule in group["rules"] if rule["alert"] == alert]
    return str(found)


def test_the_rules_and_the_configuration_are_valid(tmp_path: Path) -> None:
    """promtool looks for the file with the key, which is Prometheus' own: the test names another one."""
    key = tmp_path / "key"
    key.write_text("a key of the metrics")
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))
    settings["rule_files"] = [str(DEPLOY / name) for name in settings["rule_files"]]
    settings["scrape_configs"][0]["authorization"]["credentials_file"] = str(key)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(settings))
    for arguments in (("rules", DEPLOY / "alerts.yml"), ("config", configuration)):
        checked = tools.run("promtool", "check", *arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_pass_their_unit_tests() -> None:
    tested = tools.run("promtool", "test", "rules", UNIT_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_metrics_pass_promtools_checks(gateway: GatewayProcess) -> None:
    """promtool checks names, units and help texts. The metrics of the process come from the client library."""
    assert gateway.transcribe(gateway.key, CLIP).status_code == 200
    text = Scrape.of(gateway).text
    command = [tools.path_of("promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("audio_gateway")] == []


def test_an_alert_fires_until_the_provider_key_works_again(
    prometheus: Prometheus, gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    broken = expression_of("KeyRefused")
    assert gateway.transcribe(gateway.key, CLIP).status_code == 200
    prometheus.wait_for('audio_gateway_requests_total{status="200"} > 0', true=True)
    assert prometheus.query(broken) == []
    assert "KeyRefused" not in prometheus.firing()

    upstream.default = error_answer(401, "invalid_api_key", "Incorrect API key provided.")
    assert gateway.transcribe(gateway.key, CLIP).json()["error"]["code"] == "upstream_auth_failed"
    (series,) = prometheus.wait_for(broken, true=True)
    assert series["metric"]["upstream"] == "scripted"
    prometheus.wait_for_firing("KeyRefused", fires=True)
    assert prometheus.query("audio_gateway_ready == 1") != []  # the gateway itself can serve
    assert "OutOfCredit" not in prometheus.firing()

    upstream.default = json_answer("hello")
    assert gateway.transcribe(gateway.key, CLIP).status_code == 200
    prometheus.wait_for(broken, true=False)
    prometheus.wait_for_firing("KeyRefused", fires=False)


def test_prometheus_evaluates_every_expression_of_the_dashboard(
    prometheus: Prometheus, gateway: GatewayProcess
) -> None:
    panels = yaml.safe_load((ROOT / "deploy" / "grafana" / "audio-gateway.json").read_text("utf-8"))["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert shown != []
    assert gateway.transcribe(gateway.key, CLIP).status_code == 200
    prometheus.wait_for("audio_gateway_tokens_total", true=True)
    for expression in shown:
        asked = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        answer = httpx.get(f"{prometheus.address}/api/v1/query", params={"query": asked}, timeout=10, **NO_TLS)
        assert answer.status_code == 200, (expression, answer.text)
