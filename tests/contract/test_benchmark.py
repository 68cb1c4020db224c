"""The tables in the documents are those of the newest committed result of the benchmark."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from bench import documents
from bench.scenarios import SCENARIOS
from bench.table import number
from tests.contract.tree import ROOT

RESULTS = ROOT / "bench" / "results"

each_document = pytest.mark.parametrize("document", [documents.README, documents.PERFORMANCE], ids=str)


@each_document
def test_the_tables_are_those_of_the_newest_result(document: Path) -> None:
    tables = documents.block_of((ROOT / document).read_text("utf-8"))
    assert tables == documents.blocks(documents.newest(RESULTS))[document]


def test_every_result_has_its_data_and_its_plot() -> None:
    pages = {path.stem for path in RESULTS.glob("*.md")}
    assert {path.stem for path in RESULTS.glob("*.svg")} == pages
    assert {path.stem for path in RESULTS.glob("*.json")} == pages


def test_every_result_names_its_machine_and_versions() -> None:
    for path in RESULTS.glob("*.json"):
        data = json.loads(path.read_text("utf-8"))
        assert {"cpu", "cores", "memory", "kernel"} <= set(data["machine"]), path.name
        assert data["versions"], path.name


def test_the_comparison_in_the_readme_has_the_measured_figures() -> None:
    """Each cell has the figure, or the word for it, of the newest result."""
    rows = [
        ("eight uploads of 25 MB", "large-8", "peak_mb"),
        ("caller leaves during the upload", "gone-upload", "told_ms"),
        ("caller leaves while the provider works", "gone-waiting", "told_ms"),
        ("caller leaves during a stream", "gone-sse", "told_ms"),
        ("first event of a stream", "sse-1", "first_added_ms"),
    ]
    newest = documents.newest(RESULTS)
    assert newest is not None
    rounds = json.loads(newest.with_suffix(".json").read_text("utf-8"))["rounds"]
    readme = (ROOT / documents.README).read_text("utf-8")
    for title, scenario, metric in rows:
        (line,) = (line for line in readme.splitlines() if line.startswith(f"| {title}"))
        cells = [cell.strip() for cell in line.strip("|").split("|")[1:]]
        for subject, cell in zip(("ours", "litellm", "portkey", "smg"), cells, strict=True):
            assert measured(rounds[scenario].get(subject, []), scenario, subject, metric) in cell, (title, subject)


def measured(rounds: list[dict[str, float | str]], scenario: str, subject: str, metric: str) -> str:
    """Returns the median, or the word in place of it. For a subject that was left out, returns `does not`."""
    values = [each[metric] for each in rounds]
    if not values:
        return "does not"
    if isinstance(values[0], str):
        (kind,) = (each for each in SCENARIOS if each.name == scenario)
        return kind.instead.get((subject, values[0]), values[0])
    return number(statistics.median(float(value) for value in values))


# -- writing the tables ----------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Returns a folder with the two documents and no results."""
    for document in (documents.README, documents.PERFORMANCE):
        copy = tmp_path / document
        copy.parent.mkdir(exist_ok=True)
        copy.write_text((ROOT / document).read_text("utf-8"), "utf-8")
    return tmp_path


def write(folder: Path, name: str, short: str, whole: str) -> None:
    (folder / f"{name}.md").write_text(documents.page(name, short, whole), "utf-8")


@each_document
def test_a_run_inserts_the_tables_of_its_result(tree: Path, document: Path) -> None:
    write(tree, "2026-01-02", "| short |\n| --- |", "whole\n\n### Goals\n\n| a |\n| --- |")
    documents.insert(tree, "2026-01-02", "| short |\n| --- |", "whole\n\n### Goals\n\n| a |\n| --- |")
    tables = documents.block_of((tree / document).read_text("utf-8"))
    assert tables == documents.blocks(documents.newest(tree))[document]
    assert "| --- |" in tables


@each_document
def test_text_outside_the_markers_stays(tree: Path, document: Path) -> None:
    before = (ROOT / document).read_text("utf-8")
    documents.insert(tree, "2026-01-02", "another", "another")
    after = (tree / document).read_text("utf-8")
    assert after != before
    for part in (0, 2):
        assert after.split("<!-- bench:")[part] == before.split("<!-- bench:")[part]


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (("2026-01-02", "2026-01-10", "2026-01-11-quick"), "2026-01-10"),
        (("2026-01-10", "2026-01-11-part"), "2026-01-11-part"),
        (("2026-01-11-part", "2026-01-11"), "2026-01-11"),
    ],
)
def test_a_quick_result_is_never_the_newest(tmp_path: Path, names: tuple[str, ...], newest: str) -> None:
    for name in names:
        write(tmp_path, name, "", "")
    found = documents.newest(tmp_path)
    assert found is not None
    assert found.stem == newest


def test_a_document_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="unpack"):
        documents.block_of("no markers")


def test_the_ledger_benchmark_measures_an_empty_and_a_full_ledger() -> None:
    few = ["--rows", "1000", "--requests", "20", "--rounds", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.ledger", *few], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    compared = json.loads(done.stdout)["compared"]
    assert len(compared) == 3
    assert all(figure > 0 for each in compared for figure in (*each["empty"], *each["full"])), compared
