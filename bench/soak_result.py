"""What `relay bench soak` found, and how it is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.churn_result import ChurnResult
from bench.occupancy import Occupancy, memory_allowance
from bench.report import number
from bench.scenario import Better, Reading, ResultTable
from bench.trend import Trend, trend_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Sample:
    """The relay at one moment, visitors inside."""

    at_s: float
    held: Occupancy
    p99_ns: float  # of background media since the sample before


@dataclass(frozen=True)
class Series:
    """One quantity over time; `allowance` is the growth that is not yet called one, given its mean."""

    name: str
    unit: str
    value: Callable[[Sample], float]
    allowance: Callable[[float], float]


SERIES: Final = (
    Series(
        "memory",
        "MiB",
        lambda sample: sample.held.resident_bytes / MIB,
        lambda mean: memory_allowance(mean * MIB) / MIB,
    ),
    # Visitors come at random: what they hold scatters by the root of their number.
    Series("table rows", "", lambda sample: sample.held.total_rows, lambda mean: 10 + 0.1 * mean),
    Series("descriptors", "", lambda sample: sample.held.descriptors, lambda mean: 10 + 0.1 * mean),
    Series("threads", "", lambda sample: sample.held.threads, lambda _mean: 1),
    Series("background p99", "ms", lambda sample: sample.p99_ns / 1e6, lambda mean: mean),
)


@dataclass(frozen=True)
class SoakResult:
    """Everything about one call."""

    options: dict[str, Any]
    churn: ChurnResult  # before and after, everybody gone
    samples: tuple[Sample, ...]
    scenario: str = "soak"

    def trends(self) -> dict[str, Trend]:
        """How each quantity moved, visitors coming and going."""
        at_s = [sample.at_s for sample in self.samples]
        return {
            series.name: trend_of(at_s, [series.value(sample) for sample in self.samples])
            for series in SERIES
        }

    def rising(self) -> list[str]:
        """Which quantities are not flat."""
        trends = self.trends()
        return [
            series.name
            for series in SERIES
            if trends[series.name].rises_by(series.allowance(trends[series.name].mean))
        ]

    def failure(self) -> str | None:
        """Say what rises, and what was left when all had gone."""
        trends = self.trends()
        faults = [
            f"{series.name} rises by {trends[series.name].per_hour:,.1f} {series.unit}".rstrip() + " an hour"
            for series in SERIES
            if series.name in self.rising()
        ]
        left = self.churn.failure()
        return "; ".join([*faults, *([left] if left else [])]) or None

    def readings(self) -> list[Reading]:
        """The slopes, and what churn says."""
        trends = self.trends()
        slopes = [
            Reading(f"{one.name} slope", trends[one.name].per_hour, f"{one.unit}/hour", Better.LOWER)
            for one in SERIES
        ]
        return [
            Reading("series that rise", len(self.rising()), "", Better.LOWER, 0),
            *slopes,
            *self.churn.readings(),
        ]

    def table(self) -> ResultTable:
        """A row for each quantity."""
        trends, rising = self.trends(), self.rising()
        rows = []
        for series in SERIES:
            trend = trends[series.name]
            values = [series.value(sample) for sample in self.samples]
            label = f"{series.name}, {series.unit}" if series.unit else series.name
            rows.append(
                (
                    label,
                    number(values[0], 1) if values else "-",
                    number(trend.mean, 1),
                    number(values[-1], 1) if values else "-",
                    f"{number(trend.per_hour, 2)} ± {number(trend.error_per_hour, 2)}",
                    "[bold red]rises[/]" if series.name in rising else "flat",
                )
            )
        options = self.options
        title = (
            f"soak: {options['rate']:g} visitors/s for {options['duration_s']:g} s, who stay "
            f"{options['stay_s']:g} s; {len(self.samples)} samples"
        )
        return ResultTable(title, ("", "first", "mean", "last", "slope per hour", ""), rows)

    def notes(self) -> list[str]:
        """What churn says, and how to read the slopes."""
        return [
            *self.churn.notes(),
            "Slopes are of the last four fifths, with their standard error; of a run of seconds they say nothing yet.",
        ]

    def plot(self, figure: "Figure") -> None:
        """Each quantity over time."""
        figure.set_size_inches(12, 2.2 * len(SERIES))
        at_min = [sample.at_s / 60 for sample in self.samples]
        trends = self.trends()
        for axes, series in zip(figure.subplots(len(SERIES), 1, sharex=True), SERIES, strict=True):
            trend = trends[series.name]
            axes.plot(at_min, [series.value(sample) for sample in self.samples], marker=".", color="#2563eb")
            axes.set_ylabel(f"{series.name} {series.unit}".strip())
            axes.set_title(f"{trend.per_hour:+,.2f} {series.unit} per hour", fontsize=8, loc="right")
            axes.set_ylim(bottom=0)
            axes.grid(visible=True, alpha=0.2)
        axes.set_xlabel("minutes")
