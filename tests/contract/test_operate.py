"""docs/operate.md has an entry for each error code and each alert, and quotes messages of the source."""

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

# Messages of SQLite that the gateway logs.
_SQLITE_MESSAGES = {
    "database or disk is full",
    "attempt to write a readonly database",
    "disk I/O error",
    "database is locked",
    "database disk image is malformed",
}
_COMMANDS = ("docker ", "systemctl ", "journalctl ", "audio-gateway ", "jq ")


def part(title: str) -> str:
    """Returns the text below a heading of the second level."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def headings(text: str, level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", text, re.MULTILINE)


def quoted_messages() -> Iterator[str]:
    """Yields messages: at least three words between backticks that are not a command."""
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    for text in re.findall(r"`([^`\n]+)`", prose):
        if re.fullmatch(r"[a-z][\w' /]+", text) and text.count(" ") >= 2 and not text.startswith(_COMMANDS):
            yield text


def test_every_error_code_has_one_entry() -> None:
    codes = [heading.strip("`") for heading in headings(part("Error codes"), 4)]
    assert sorted(codes) == sorted(error_codes())


def test_every_entry_has_text() -> None:
    """A heading is followed by text, at least by a link to another entry."""
    entries = re.split(r"^#### .+$", part("Error codes"), flags=re.MULTILINE)[1:]
    alerts = re.split(r"^### .+$", part("Alerts"), flags=re.MULTILINE)[1:]
    assert [entry for entry in entries + alerts if len(entry.split()) < 3] == []


def test_every_alert_links_to_its_entry() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    anchors = [f"docs/operate.md#{slug(heading)}" for heading in headings(part("Alerts"), 3)]
    assert anchors == [rule["annotations"]["runbook"] for rule in rules]


def test_every_metric_exists() -> None:
    table = set(re.findall(r"^\| `(audio_gateway_\w+)` \|", METRICS.read_text("utf-8"), re.MULTILINE))
    named = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\baudio_gateway_\w+", TEXT)}
    assert named - table == set()
    assert named != set()


def test_every_quoted_message_is_in_the_source() -> None:
    source = "".join(path.read_text("utf-8") for path in sorted(Path(ROOT / "app").rglob("*.py")))
    messages = set(quoted_messages()) - _SQLITE_MESSAGES
    assert {text for text in messages if text not in source} == set()
    assert "another gateway is serving from it" in messages


def test_every_heading_has_a_unique_anchor() -> None:
    anchors = [slug(heading) for level in (2, 3, 4) for heading in headings(TEXT, level)]
    assert sorted(set(anchors)) == sorted(anchors)
