"""A run measures each scenario in rounds. A round measures all subjects, so that a drift of the machine affects all."""

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence

from bench.figures import Comparison, Figures, LedgerFigures
from bench.install import CACHE, HERE, LEDGERS, Missing, emptied
from bench.machine import describe
from bench.process import DidNotStart
from bench.scenarios import Effort, Scenario
from bench.subjects import Subject
from bench.target import WrongAnswer, clear, started
from bench.upstream import Mode, build, upstream

_LEDGER_SECONDS = 1200
_TRIES = 2

_OWN_ERRORS = (WrongAnswer, DidNotStart, Missing)


class Run:
    """One run of some scenarios. `cores` are the gateway's and the load's."""

    def __init__(self, scenarios: Sequence[Scenario], effort: Effort, cores: tuple[int, int]) -> None:
        self._effort = effort
        self._gateway_core, self._load_core = cores
        self._folder = CACHE / "run"
        self._with_tls = build()
        self._scenarios = scenarios
        self.figures = Figures(describe(), {})
        clear(self._folder)

    def present(self, subjects: Sequence[Subject]) -> list[Subject]:
        """Returns the subjects that are available here. Installs missing ones and records versions."""
        found = []
        for subject in subjects:
            try:
                self.figures.versions[subject.name] = subject.version()
                found.append(subject)
            except Missing as reason:
                self.figures.left_out[subject.name] = str(reason)
        return found

    def measure(self, subjects: Sequence[Subject]) -> None:
        for scenario in self._scenarios:
            if scenario.mode is Mode.TLS and not self._with_tls:
                self.figures.left_out[scenario.name] = "the upstream was built without OpenSSL (libssl-dev)"
                continue
            for turn in range(self._effort.repeats):
                self._round(scenario, subjects, turn)
            self.figures.derive(scenario)

    def _round(self, scenario: Scenario, subjects: Sequence[Subject], turn: int) -> None:
        for subject in subjects:
            if subject.name not in scenario.subjects or f"{subject.name}, {scenario.name}" in self.figures.left_out:
                continue
            began = time.monotonic()
            summary = self._try_measuring(scenario, subject)
            print(
                f"{scenario.name:13} {turn + 1} {subject.name:8} {time.monotonic() - began:5.1f} s  {summary}",
                flush=True,
            )

    def _try_measuring(self, scenario: Scenario, subject: Subject) -> str:
        """Measures, and returns the result in one line. Retries a failure once before it leaves the subject out."""
        for _ in range(_TRIES):
            try:
                return self._measure(scenario, subject)
            except Exception as fault:
                # A peer may fail in any way. The others are still measured.
                reason = self._log_fault(scenario, subject, fault)
        self.figures.leave_out(scenario.name, subject.name, reason)
        return f"left out: {reason}"

    def _log_fault(self, scenario: Scenario, subject: Subject, fault: Exception) -> str:
        """Logs a fault, and returns the reason for the report. Only our own errors name no path of this machine."""
        with (self._folder / "faults.log").open("a") as log:
            print(scenario.name, subject.name, *traceback.format_exception(fault), sep="\n", file=log)
        return str(fault) if isinstance(fault, _OWN_ERRORS) else type(fault).__name__

    def _measure(self, scenario: Scenario, subject: Subject) -> str:
        with (
            upstream(scenario.mode, self._load_core, self._folder) as provider,
            started(subject, provider, self._gateway_core, self._folder) as target,
        ):
            measured = scenario.measure(target, self._effort)
        self.figures.add(scenario.name, subject.name, measured)
        return ", ".join(f"{key} {_shown(value)}" for key, value in measured.items())

    def measure_ledger(self) -> None:
        """Measures the cost of the ledger's size, in its own process on the gateway's core."""
        try:
            self.figures.ledger = self._ledger()
        except (subprocess.SubprocessError, ValueError) as fault:
            self.figures.left_out["ledger"] = f"bench.ledger failed ({type(fault).__name__}); see bench/.cache/run"

    def _ledger(self) -> LedgerFigures:
        effort = self._effort
        numbers = ["--rows", str(effort.ledger_rows), "--requests", str(effort.ledger_requests)]
        rounds = ["--rounds", str(max(3, effort.repeats)), "--json"]
        command = ["taskset", "-c", str(self._gateway_core), sys.executable, "-m", "bench.ledger", *numbers, *rounds]
        with emptied(LEDGERS), (self._folder / "ledger.log").open("w") as log:
            done = subprocess.run(
                command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=log, timeout=_LEDGER_SECONDS, check=True
            )
        document = json.loads(done.stdout)
        compared = [Comparison(**comparison) for comparison in document["compared"]]
        return LedgerFigures(**document | {"compared": compared})


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
