"""Compares what a request costs in this tree and in another revision.

python -m bench.pairs --base REV [--only SCENARIO ...] [--pairs N] [--most PERCENT]

Each measurement has a fresh process, and the two sides alternate, so that a drift of the machine affects both. The
figure is the ratio within a pair. The result is its median and quartiles over all pairs.
"""

import argparse
import io
import os
import re
import statistics
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.install import CACHE, Missing, debian, emptied
from bench.machine import cores
from bench.process import DidNotStart
from bench.scenarios import QUICK, SCENARIOS, Effort, Scenario
from bench.subjects import ROOT, Subject, revision
from bench.table import Row, number, text
from bench.target import WrongAnswer, started
from bench.upstream import build, upstream

BASE, THIS = "base", "this"

# The cost in each scenario. For slow uploads it is the share of a core that they keep busy.
COSTS = {"small-32": "cpu_us", "small-1": "cpu_us", "large-1": "cpu_ms", "sse-32": "cpu_ms", "slow": "busy_percent"}
UNITS = {"cpu_us": "CPU us/request", "cpu_ms": "CPU ms/request", "busy_percent": "% of a core"}

_EFFORT = replace(QUICK, sse_rounds=9)
_TRIES = 3
_VARIABLE = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Pair:
    """The cost of one scenario on each side, measured one after the other."""

    base: float
    this: float

    @property
    def ratio(self) -> float:
        return self.this / self.base


def rows(pairs: Mapping[str, Sequence[Pair]]) -> list[Row]:
    """Returns a row for each scenario: the median cost of each side, and the ratio's median, quartiles and extremes."""
    table: list[Row] = [("scenario", "cost", BASE, THIS, "median", "half of the pairs", "all pairs")]
    for scenario, found in pairs.items():
        ratios = [pair.ratio for pair in found]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        costs = (statistics.median(pair.base for pair in found), statistics.median(pair.this for pair in found))
        spread = (f"{_percent(low)} to {_percent(high)}", f"{_percent(min(ratios))} to {_percent(max(ratios))}")
        unit = UNITS[COSTS[scenario]]
        table.append((scenario, unit, *map(number, costs), _percent(statistics.median(ratios)), *spread))
    return table


def dearer(pairs: Mapping[str, Sequence[Pair]], most_percent: float) -> list[str]:
    """Returns the scenarios whose median ratio is above this bound."""
    bound = 1 + most_percent / 100
    return [each for each, found in pairs.items() if statistics.median(pair.ratio for pair in found) > bound]


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f} %"


@contextmanager
def checked_out(revision_name: str) -> Iterator[Path]:
    """Yields a temporary folder with the gateway's code of a revision. Raises Missing if git does not know it."""
    command = ["git", "archive", "--format=tar", revision_name, "app"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise Missing(f"git archive {revision_name}: {done.stderr.decode(errors='replace').strip()}")
    with TemporaryDirectory(prefix="bench-base-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def variables(given: Sequence[str]) -> dict[str, str]:
    """Returns the environment variables of NAME=VALUE options."""
    found = [(each, _VARIABLE.fullmatch(each)) for each in given]
    if wrong := [each for each, match in found if match is None]:
        raise SystemExit(f"bench: not NAME=VALUE: {', '.join(wrong)}")
    return {match["name"]: match["value"] for _, match in found if match}


def order(turn: int, sides: Sequence[Subject]) -> Sequence[Subject]:
    """Returns the sides, swapped in every second pair, so that the order favors neither side."""
    return sides if turn % 2 == 0 else sides[::-1]


class Comparison:
    """Measures the two sides. `cores` are the gateway's and the load's."""

    def __init__(self, sides: Sequence[Subject], cores: tuple[int, int], folder: Path, effort: Effort) -> None:
        self._sides, self._folder, self._effort = sides, folder, effort
        self._gateway_core, self._load_core = cores

    def pair(self, scenario: Scenario, turn: int) -> Pair:
        """Measures one pair. Repeats it if it fails on a busy machine."""
        for _ in range(_TRIES - 1):
            with suppress(WrongAnswer, DidNotStart):
                return self._pair(scenario, turn)
        return self._pair(scenario, turn)

    def _pair(self, scenario: Scenario, turn: int) -> Pair:
        costs = {side.name: self._cost(scenario, side) for side in order(turn, self._sides)}
        return Pair(costs[BASE], costs[THIS])

    def _cost(self, scenario: Scenario, side: Subject) -> float:
        with (
            upstream(scenario.mode, self._load_core, self._folder) as provider,
            started(side, provider, self._gateway_core, self._folder) as target,
        ):
            return float(scenario.measure(target, self._effort)[COSTS[scenario.name]])


def compared(comparison: Comparison, scenarios: Sequence[Scenario], count: int) -> dict[str, list[Pair]]:
    """Measures all pairs. The scenarios alternate, so that a disturbance of minutes affects few pairs of each."""
    pairs: dict[str, list[Pair]] = {scenario.name: [] for scenario in scenarios}
    for turn in range(count):
        for scenario in scenarios:
            pair = comparison.pair(scenario, turn)
            pairs[scenario.name].append(pair)
            costs = f"{number(pair.base):>8} {number(pair.this):>8} {UNITS[COSTS[scenario.name]]:14}"
            print(f"{turn + 1:3} {scenario.name:9} {costs}  {_percent(pair.ratio)}", flush=True)
    return pairs


def main() -> None:
    options = _options()
    settings = {BASE: variables(options.base_env), THIS: variables(options.this_env)}
    scenarios = [each for each in SCENARIOS if each.name in (options.only or COSTS)]
    gateway_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    try:
        debian("wrk")
        build()
        with checked_out(options.base) as base, emptied(CACHE / "pairs") as folder:
            sides = [revision(BASE, base, settings[BASE]), revision(THIS, ROOT, settings[THIS])]
            comparison = Comparison(sides, (gateway_core, load_core), folder, _EFFORT)
            pairs = compared(comparison, scenarios, options.pairs)
    except (Missing, WrongAnswer, DidNotStart) as reason:
        raise SystemExit(f"bench: {reason}") from reason
    print("\n" + text(rows(pairs)))
    if too_dear := dearer(pairs, options.most):
        raise SystemExit(f"bench: more than {options.most:g} % dearer: {', '.join(too_dear)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pairs", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", required=True, metavar="REV", help="the revision to compare this tree with")
    parser.add_argument("--only", nargs="+", choices=list(COSTS), metavar="SCENARIO", help=", ".join(COSTS))
    parser.add_argument("--pairs", type=int, default=16, metavar="N", help="pairs of each scenario; default 16")
    parser.add_argument("--most", type=float, default=3, metavar="PERCENT", help="fail above this ratio; default 3")
    for side in (BASE, THIS):
        words = f"an environment variable for the gateway of {side}; may be repeated"
        parser.add_argument(f"--{side}-env", action="append", default=[], metavar="NAME=VALUE", help=words)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("bench: stopped, with all its processes") from None
