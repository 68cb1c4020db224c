"""docs/operate.md has an entry for each error code and each alert, and quotes what the gateway really says."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.contract.test_docs import error_codes, slug
from tests.contract.tree import ROOT

RUNBOOK = ROOT / "docs" / "operate.md"
METRICS = ROOT / "docs" / "metrics.md"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
TEXT = RUNBOOK.read_text("utf-8")

# SQLite says these, and the gateway hands them on.
_OF_SQLITE = {
    "database or disk is full",
    "attempt to write a readonly database",
    "disk I/O error",
    "database is locked",
    "database disk image is malformed",
}
_COMMANDS = ("docker ", "systemctl ", "journalctl ", "audio-gateway ", "jq ")


def part(title: str) -> str:
    """What stands below a heading of the second level."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def headings(text: str, level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", text, re.MULTILINE)


def quoted() -> Iterator[str]:
    """Messages: words between backticks, three at least, that are no command."""
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    for text in re.findall(r"`([^`\n]+)`", prose):
        if re.fullmatch(r"[a-z][\w' /]+", text) and text.count(" ") >= 2 and not text.startswith(_COMMANDS):
            yield text


def test_every_error_code_has_one_entry() -> None:
    told = [heading.strip("`") for heading in headings(part("Error codes"), 4)]
    assert sorted(told) == sorted(error_codes())


def test_every_entry_says_something() -> None:
    """A heading is followed by text, if only by the name of another entry."""
    entries = re.split(r"^#### .+$", part("Error codes"), flags=re.MULTILINE)[1:]
    alerts = re.split(r"^### .+$", part("Alerts"), flags=re.MULTILINE)[1:]
    assert [entry for entry in entries + alerts if len(entry.split()) < 3] == []


def test_every_alert_has_its_entry_where_it_says() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    told = [f"docs/operate.md#{slug(heading)}" for heading in headings(part("Alerts"), 3)]
    assert told == [rule["annotations"]["runbook"] for rule in rules]


def test_every_metric_exists() -> None:
    table = set(re.findall(r"^\| `(audio_gateway_\w+)` \|", METRICS.read_text("utf-8"), re.MULTILINE))
    named = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\baudio_gateway_\w+", TEXT)}
    assert named - table == set()
    assert named != set()


def test_every_message_that_it_quotes_is_one_of_the_gateway() -> None:
    source = "".join(path.read_text("utf-8") for path in sorted(Path(ROOT / "app").rglob("*.py")))
    told = set(quoted()) - _OF_SQLITE
    assert {text for text in told if text not in source} == set()
    assert "another gateway is serving from it" in told


def test_every_heading_has_an_anchor_of_its_own() -> None:
    anchors = [slug(heading) for level in (2, 3, 4) for heading in headings(TEXT, level)]
    assert sorted(set(anchors)) == sorted(anchors)
