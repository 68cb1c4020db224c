"""The benchmark: compares the gateway with its peers in one run on one machine. See README.md in this folder.

python -m bench [--quick] [--repeats N] [--only SCENARIO ...] [--peers NAME ...] [--write]
"""

import argparse
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from bench.install import HERE, Missing, debian
from bench.machine import cores
from bench.report import Report
from bench.run import Run
from bench.scenarios import FULL, QUICK, SCENARIOS, Effort, Scenario
from bench.subjects import DIRECT, OURS, SUBJECTS, Subject

_LEDGER = "ledger"
_QUICK = "-quick"


def main() -> None:
    options = _options()
    effort = QUICK if options.quick else FULL
    effort = replace(effort, repeats=options.repeats or effort.repeats)
    scenarios = [scenario for scenario in SCENARIOS if not options.only or scenario.name in options.only]
    run = _prepare(scenarios, effort)
    subjects = run.present(_select_subjects(options.peers))
    run.measure(subjects)
    if not options.only or _LEDGER in options.only:
        run.measure_ledger()
    kind = _kind(options, effort)
    names = [subject.name for subject in subjects]
    report = Report(f"{datetime.now(UTC):%Y-%m-%d}{kind}", run.figures, scenarios, names)
    print("\n" + report.printed())
    if options.write:
        report.write(HERE / "results")
    if options.write and kind != _QUICK:
        report.publish(HERE.parent)


def _kind(options: argparse.Namespace, effort: Effort) -> str:
    """Returns the suffix of a result's name: none for a full run. The documents never show a quick run."""
    if options.quick or effort.repeats < FULL.repeats:
        return _QUICK
    return "" if not options.only and options.peers is None else "-part"


def _prepare(scenarios: Sequence[Scenario], effort: Effort) -> Run:
    """Returns a run on the load's core with the most open files allowed. SIGTERM ends it like Ctrl-C and stops all."""
    gateway_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, _end)
    try:
        debian("wrk")
        return Run(scenarios, effort, (gateway_core, load_core))
    except Missing as reason:
        raise SystemExit(f"bench: {reason}") from reason


def _select_subjects(peers: Sequence[str] | None) -> list[Subject]:
    """Returns the upstream itself, the named peers or all of them, and the gateway."""
    return [subject for subject in SUBJECTS if peers is None or subject.name in (DIRECT, OURS, *peers)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each measurement")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of every measurement")
    names = [*(scenario.name for scenario in SCENARIOS), _LEDGER]
    parser.add_argument("--only", nargs="+", choices=names, metavar="SCENARIO", help=", ".join(names))
    peers = [subject.name for subject in SUBJECTS if subject.name not in (DIRECT, OURS)]
    parser.add_argument(
        "--peers", nargs="*", choices=peers, metavar="NAME", help=f"{', '.join(peers)}; none: only ours"
    )
    parser.add_argument(
        "--write", action="store_true", help="write bench/results and, with three rounds, the documents"
    )
    return parser.parse_args()


def _end(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("bench: stopped, with all its processes") from None
