"""The benchmark of two revisions computes its ratios correctly, and runs the code of each revision."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import pairs
from bench.install import Missing
from bench.meter import ProcessMeter
from bench.pairs import Pair
from bench.scenarios import SCENARIOS
from bench.subjects import Setting, revision
from bench.upstream import Upstream
from tests.contract.tree import ROOT


def test_the_figure_is_the_median_of_the_ratios_within_pairs() -> None:
    """The ratio of the medians would include a drift of the machine that affects both sides of a pair."""
    found = [Pair(100, 102), Pair(200, 204), Pair(400, 408), Pair(100, 150), Pair(100, 90)]
    title, row = pairs.rows({"small-32": found})
    assert dict(zip(title, row, strict=True)) == {
        "scenario": "small-32",
        "cost": "CPU us/request",
        "base": "100",
        "this": "150",
        "median": "+2.0 %",
        "half of the pairs": "+2.0 % to +2.0 %",
        "all pairs": "-10.0 % to +50.0 %",
    }


def test_the_spread_of_one_pair_is_the_pair() -> None:
    _, row = pairs.rows({"slow": [Pair(50, 51)]})
    assert row[-3:] == ("+2.0 %", "+2.0 % to +2.0 %", "+2.0 % to +2.0 %")


def test_scenarios_above_the_bound_are_named() -> None:
    found = {"small-32": [Pair(100, 104)] * 3, "large-1": [Pair(100, 102)] * 3, "slow": [Pair(100, 90)] * 3}
    assert pairs.dearer(found, 3) == ["small-32"]
    assert pairs.dearer(found, 5) == []


def test_every_scenario_with_a_cost_exists() -> None:
    assert set(pairs.COSTS) <= {scenario.name for scenario in SCENARIOS}
    assert set(pairs.COSTS.values()) == set(pairs.UNITS)


def test_the_order_changes_from_pair_to_pair() -> None:
    sides = [revision(name, ROOT, {}) for name in (pairs.BASE, pairs.THIS)]
    first = [pairs.order(turn, sides)[0].name for turn in range(4)]
    assert first == ["base", "this", "base", "this"]


def test_the_base_is_the_code_of_its_revision() -> None:
    with pairs.checked_out("HEAD") as folder:
        command = ["git", "show", "HEAD:app/__main__.py"]
        committed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        assert (folder / "app" / "__main__.py").read_bytes() == committed
    assert not folder.exists()


def test_an_unknown_revision_is_an_error() -> None:
    with pytest.raises(Missing, match="no-such-revision"), pairs.checked_out("no-such-revision"):
        pass


def test_a_side_runs_its_own_code_with_its_own_variables(tmp_path: Path) -> None:
    launch = revision("base", tmp_path, {"AUDIO_GATEWAY_LEDGER__PATH": "elsewhere"}).launch
    assert launch is not None
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "__main__.py").write_text(
        "import os; print(__file__, os.environ['AUDIO_GATEWAY_LEDGER__PATH'])"
    )
    started = launch(Setting(tmp_path, 1, 2, Upstream(3, tls=False)))
    environment = {**os.environ, **started.environment}
    done = subprocess.run(
        started.command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "app" / "__main__.py"), "elsewhere"]


def test_environment_options_are_name_value_pairs() -> None:
    assert pairs.variables(["A_B=c=d", "E="]) == {"A_B": "c=d", "E": ""}
    with pytest.raises(SystemExit, match="nonsense"):
        pairs.variables(["A=b", "nonsense"])


def test_the_meter_reads_the_cpu_time_of_a_process() -> None:
    """The clock is finer than the ticks of /proc, which are too coarse for a short scenario."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        meter = ProcessMeter(busy.pid)
        figures = [meter.cpu_seconds()]
        while figures[-1] < 0.1:
            time.sleep(0.003)
            figures.append(meter.cpu_seconds())
        busy.kill()
    assert figures == sorted(figures)
    assert any(round(figure, 3) != round(figure, 2) for figure in figures)
