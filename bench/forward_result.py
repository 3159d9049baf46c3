"""What `relay bench forward` found, and how it is told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.machine import Pinning
from bench.plot import plot_cpu, plot_latency, plot_throughput
from bench.presets import PRESETS
from bench.result import Floor, RunResult, Trial
from bench.run_report import (
    describe_traffic,
    floor_notes,
    run_notes,
    run_readings,
    run_rows,
    search_notes,
)
from bench.scenario import Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL_BARS: Final = {"delivered": 500_000.0, "of the bare sendmmsg rate": 0.65}
"""Of the highest rate with packets of 120 bytes on one core, DESIGN section 10."""
LARGE_BARS: Final = {"delivered RTP": 5.0}
"""Likewise with 1,200 bytes of video."""


@dataclass(frozen=True)
class ForwardResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    peers: int
    setup_s: float
    floor: Floor
    runs: tuple[RunResult, ...]
    trials: tuple[Trial, ...] = ()
    scenario: str = "forward"

    def readings(self) -> list[Reading]:
        """Throughput, latency and cost of each run; the bars are for the highest rate."""
        size, highest = self.options["size"], self.runs[0]
        found = run_readings(highest, size, self.floor, self._bars())
        return found + [each for run in self.runs[1:] for each in run_readings(run, size, self.floor)]

    def _bars(self) -> dict[str, float]:
        options = self.options
        if not options["search"] or options["profile"] != "AEAD_AES_128_GCM" or options["workers"] != 1:
            return {}
        of_size = {("audio", 120): SMALL_BARS, ("video", 1_200): LARGE_BARS}
        return of_size.get((options["kind"], options["size"]), {})

    def table(self) -> ResultTable:
        """A column for each run."""
        columns = ("", *(run.name for run in self.runs))
        rows = run_rows(self.runs, self.options["size"], self.floor)
        return ResultTable(f"{self.scenario}: {describe_traffic(self.options)}", columns, rows)

    def notes(self) -> list[str]:
        """Who was the limit, what is mirrored, and the floor."""
        return [
            *run_notes(self.runs),
            *search_notes(self.trials),
            *self._preset_notes(),
            *floor_notes(self.floor),
            f"{self.pinning.describe().capitalize()}.",
            f"{self.peers} peers connected in {self.setup_s:.1f} s.",
        ]

    def _preset_notes(self) -> list[str]:
        options = self.options
        if options["preset"] is None:
            return []
        preset = PRESETS[options["preset"]]
        mirrored = f"Preset {preset.name} mirrors {preset.mirrors} ({preset.source})"
        subscribers = f"{options['subscribers']:,} of {preset.subscribers:,} subscribers"
        return [f"{mirrored}; here at scale {options['scale']:.3g}: {subscribers}."]

    def plot(self, figure: "Figure") -> None:
        """How latency is distributed, what was delivered, and what a packet cost."""
        figure.set_size_inches(16, 5)
        latency, throughput, cpu = figure.subplots(1, 3)
        plot_latency(latency, self.runs, self.floor)
        plot_throughput(throughput, self.runs, self.trials, self.floor)
        plot_cpu(cpu, self.runs, self.trials)
