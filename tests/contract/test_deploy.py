"""Dashboard, alerts and documents name metrics and labels that a running gateway exports."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.audio import make
from tests.contract.tree import ROOT, documents
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.scrape import Scrape, wait_for_scrape
from tests.stubs.upstream import TOKENS, ScriptedUpstream, error_answer, json_answer

DASHBOARD = ROOT / "deploy" / "grafana" / "audio-gateway.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPING = ROOT / "deploy" / "prometheus" / "prometheus.yml"
METRICS = ROOT / "docs" / "metrics.md"

# Labels that Prometheus adds.
_TARGET = {"job", "instance"}

_SELECTOR = re.compile(r"\b((?:audio_gateway|process|python)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Expression:
    """A PromQL expression with its selectors and grouping labels."""

    text: str

    @property
    def selectors(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        return [(name, _MATCHER.findall(matchers)) for name, matchers in _SELECTOR.findall(self.text)]

    @property
    def groups(self) -> set[str]:
        return {label.strip() for labels in _GROUPING.findall(self.text) for label in labels.split(",")}


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """Metrics of a gateway with successful, refused and failed requests, and a caller with a budget."""
    folder, clip = tmp_path_factory.mktemp("gateway"), make("wav", "pcm_s16le", 0.1)
    with ScriptedUpstream() as upstream, GatewayProcess(folder, upstream.base_url, admin_key=ADMIN_KEY) as gateway:
        key = gateway.create_caller("thrifty", budgets=["1usd/month"])
        upstream.reply(json_answer("hello", TOKENS), error_answer(401, None, "no"))
        for each, model in ((key, "gpt-4o-transcribe"), (key, "whisper-1"), (gateway.key, "none"), ("wrong", "none")):
            gateway.transcribe(each, clip, model)
        yield wait_for_scrape(gateway, lambda scrape: scrape.value("audio_gateway_requests_total") == 4)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"]


def expressions() -> list[Expression]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [Expression(text) for text in (*shown, *(rule["expr"] for rule in rules()))]


def faults(used: Expression, scrape: Scrape) -> list[str]:
    """Returns the metrics, labels and values of the expression that are not in the scrape."""
    found, known = [], set(_TARGET)
    for name, matchers in used.selectors:
        labels = _TARGET | (set() if name == "up" else scrape.labels.get(name, set()))
        known |= labels
        if name != "up" and not scrape.series(name):
            found.append(name)
        for label, operator, value in matchers:
            if label not in labels:
                found.append(f"{name}.{label}")
            elif operator == "=" and label not in _TARGET and not scrape.series(name, **{label: value}):
                found.append(f"{name}.{label}={value}")
    return found + sorted(used.groups - known)


def test_every_expression_matches_the_scrape(scrape: Scrape) -> None:
    assert {used.text: faults(used, scrape) for used in expressions() if faults(used, scrape)} == {}


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("audio_gateway_request_total", "audio_gateway_request_total"),
        ('audio_gateway_requests_total{state="x"}', "audio_gateway_requests_total.state"),
        ('audio_gateway_outcomes_total{state="lost"}', "audio_gateway_outcomes_total.state=lost"),
        ("sum by (color) (audio_gateway_holds)", "color"),
    ],
)
def test_the_check_of_expressions_finds_faults(scrape: Scrape, expression: str, fault: str) -> None:
    assert faults(Expression(expression), scrape) == [fault]


def test_the_dashboard_shows_every_metric_of_the_gateway(scrape: Scrape) -> None:
    shown = {name for used in expressions() for name, _ in used.selectors}
    own = {re.sub(r"_(bucket|sum|count)$", "", name) for name in scrape.labels if name.startswith("audio_gateway_")}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    in_variables = {"audio_gateway_build_info"}
    assert own - shown - in_variables == set()
    assert all(name in DASHBOARD.read_text("utf-8") for name in in_variables)


def test_its_panels_have_unique_titles_and_positions() -> None:
    titles = [panel["title"] for panel in panels()]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(titles)) == len(titles) == len(set(places))
    assert len({panel["id"] for panel in panels()}) == len(titles)


def test_every_alert_has_a_summary_and_a_runbook_link() -> None:
    for rule in rules():
        anchor = re.sub(r"(?<!^)(?=[A-Z])", "-", rule["alert"]).lower()
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{anchor}"
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["labels"]["severity"] in {"page", "ticket", "info"}
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


def test_the_expressions_use_the_job_of_the_scrape_configuration() -> None:
    (job,) = yaml.safe_load(SCRAPING.read_text("utf-8"))["scrape_configs"]
    jobs = {
        value for used in expressions() for _, found in used.selectors for label, _, value in found if label == "job"
    }
    assert jobs == {job["job_name"]}


def test_the_scrape_configuration_names_the_alert_rules() -> None:
    assert yaml.safe_load(SCRAPING.read_text("utf-8"))["rule_files"] == [ALERTS.name]


def test_the_table_of_metrics_matches_the_scrape(scrape: Scrape) -> None:
    table = re.findall(r"^\| `(audio_gateway_\w+)` \| (\w+) \|([^|]*)\|", METRICS.read_text("utf-8"), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table}
    exported = {
        family.name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for family in text_string_to_metric_families(scrape.text)
        if family.name.startswith("audio_gateway_")
    }
    assert documented == exported
    assert len(table) == len(documented)


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_metric_that_a_document_names_exists(document: Path, scrape: Scrape) -> None:
    named = set(re.findall(r"`(audio_gateway_\w+)", document.read_text("utf-8")))
    families = {family.name for family in text_string_to_metric_families(scrape.text)}
    assert named - families - set(scrape.labels) == set()
