"""What `relay bench latency` found, and how it is told."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.machine import Pinning
from bench.plot import plot_latency, plot_seconds
from bench.report import number
from bench.result import Floor, RunResult, Trial
from bench.run_report import (
    describe_traffic,
    floor_notes,
    run_notes,
    run_readings,
    run_rows,
    search_notes,
)
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUSY: Final = "same, Trio busy"
FAN_OUT: Final = 50
LOAD: Final = 0.5
BARS: Final = {"latency p50": 0.1, "latency p99": 0.5, "latency p99.9": 2.0}
"""Milliseconds at half of the highest rate with a fan-out of 50, DESIGN section 10."""
BUSY_BAR: Final = 2.0
"""Times the p99 that a busy Trio thread may cost."""


@dataclass(frozen=True)
class TrioThread:
    """The relay's main thread during a run."""

    busy_share: float  # of a core; NaN for a relay elsewhere
    answers: int  # offers it answered for the sake of the disturbance


@dataclass(frozen=True)
class LatencyResult:
    """Everything about one call. `trio` belongs to the last runs, those whose latency counts."""

    options: dict[str, Any]
    pinning: Pinning
    floor: Floor
    runs: tuple[RunResult, ...]
    trio: tuple[TrioThread, ...]
    trials: tuple[Trial, ...] = ()
    scenario: str = "latency"

    @property
    def _counted(self) -> tuple[RunResult, ...]:
        return self.runs[-len(self.trio) :]

    @property
    def busy_ratio(self) -> float:
        """p99 with a busy Trio thread to p99 without; NaN when that was not asked for."""
        if not self.options["busy_trio"]:
            return math.nan
        quiet, busy = self._counted
        return busy.latency.p99_ns / quiet.latency.p99_ns

    def readings(self) -> list[Reading]:
        """Latency of the runs that count; what was searched before belongs to `forward`."""
        options, size = self.options, self.options["size"]
        at_bar = options["search"] and options["load"] == LOAD and options["subscribers"] == FAN_OUT
        quiet, *busy = self._counted
        found = run_readings(quiet, size, self.floor, BARS if at_bar else None)
        for run in busy:
            found += run_readings(run, size, self.floor)
            found.append(
                Reading(f"{run.name}: p99 to p99 without", self.busy_ratio, "x", Better.LOWER, BUSY_BAR)
            )
        return found

    def table(self) -> ResultTable:
        """A column for each run."""
        rows = run_rows(self.runs, self.options["size"], self.floor)
        before = [""] * (len(self.runs) - len(self.trio))
        rows.append(("Trio thread, cores", *before, *(number(each.busy_share, 2) for each in self.trio)))
        columns = ("", *(run.name for run in self.runs))
        return ResultTable(f"{self.scenario}: {describe_traffic(self.options)}", columns, rows)

    def notes(self) -> list[str]:
        """Who was the limit, the ratio with a busy Trio thread, and the floor."""
        notes = [*run_notes(self.runs), *search_notes(self.trials)]
        if self.options["busy_trio"]:
            busy = self.trio[-1]
            notes.append(
                f"With a busy Trio thread ({busy.answers:,} offers answered) p99 is {self.busy_ratio:.2f} times that without."
            )
        return [*notes, *floor_notes(self.floor), f"{self.pinning.describe().capitalize()}."]

    def plot(self, figure: "Figure") -> None:
        """How latency is distributed, and how it went second by second."""
        distribution, seconds = figure.subplots(1, 2)
        plot_latency(distribution, self._counted, self.floor)
        plot_seconds(seconds, self._counted)
