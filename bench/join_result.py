"""What `relay bench join` found, and how it is told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench.background import Window
from bench.joiner import Attempts
from bench.machine import Pinning
from bench.peer import Milestone
from bench.process import ProcessUsage
from bench.report import ms, number
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR_P50_MS: Final = 50.0  # DESIGN section 10
BAR_P99_MS: Final = 200.0
BAR_STORM_RATIO: Final = 2.0
BAR_RATE: Final = 20.0
BUSY_SHARE: Final = 0.9  # of a core: one thread makes all the joins
NAN: Final = math.nan


@dataclass(frozen=True)
class Spread:
    """Percentiles of a duration, by nearest rank. *Units*: nanoseconds; NaN of nothing."""

    p50_ns: float
    p90_ns: float
    p99_ns: float
    max_ns: float


@dataclass(frozen=True)
class Arrivals:
    """One group of clients, and what went on meanwhile."""

    name: str
    joined: int
    failures: dict[str, int]
    total: Spread
    phases: dict[str, Spread]
    elapsed_s: float
    relay_share: float  # cores' worth
    relay_cpu_ns_per_join: float  # beyond what it used when nobody came; leaving included
    client_share: float
    client_cpu_ns_per_join: float
    background: Window
    totals_ns: list[int] = field(repr=False)


@dataclass(frozen=True)
class JoinResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    arrivals: tuple[Arrivals, ...]
    background_lost: int
    background_expected: int
    scenario: str = "join"

    @property
    def quiet(self) -> Arrivals:
        """When nobody came."""
        return self.arrivals[0]

    @property
    def groups(self) -> tuple[Arrivals, ...]:
        """When somebody came."""
        return self.arrivals[1:]

    def storm_ratio(self, group: Arrivals) -> float:
        """How the background's p99 moved, as a factor."""
        return group.background.latency.p99_ns / self.quiet.background.latency.p99_ns

    def readings(self) -> list[Reading]:
        """How long joins took, what they cost, and how the background's latency moved."""
        found = [Reading("background: lost", self.background_lost, "packets", Better.LOWER, 0)]
        rated = self.options["rate"] <= BAR_RATE
        for group in self.groups:
            at_rate = group.name != "storm" and rated
            total = group.total
            found += [
                Reading(
                    f"{group.name}: p50",
                    total.p50_ns / 1e6,
                    "ms",
                    Better.LOWER,
                    BAR_P50_MS if at_rate else None,
                ),
                Reading(
                    f"{group.name}: p99",
                    total.p99_ns / 1e6,
                    "ms",
                    Better.LOWER,
                    BAR_P99_MS if at_rate else None,
                ),
                Reading(f"{group.name}: failed", sum(group.failures.values()), "joins", Better.LOWER, 0),
                Reading(
                    f"{group.name}: relay CPU", group.relay_cpu_ns_per_join / 1e6, "ms/join", Better.LOWER
                ),
                Reading(
                    f"{group.name}: background p99, against quiet",
                    self.storm_ratio(group),
                    "",
                    Better.LOWER,
                    BAR_STORM_RATIO,
                ),
            ]
        return found

    def table(self) -> ResultTable:
        """A column for each group."""
        options = self.options
        title = (
            f"join: WebSocket open to first packet, {options['lobbies']} lobbies; meanwhile 1 x "
            f"{options['background']} at {options['packet_rate']:g} packets/s"
        )
        return ResultTable(title, ("", *(group.name for group in self.arrivals)), self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        every = self.arrivals

        def background(label: str, what: str) -> tuple[str, ...]:
            return (f"background {label}, ms", *(ms(getattr(one.background.latency, what)) for one in every))

        def spread(label: str, spreads: Sequence[Spread]) -> tuple[str, ...]:
            return (label, *(_spread(each) for each in spreads))

        return [
            ("joined / failed", *(f"{one.joined:,} / {sum(one.failures.values()):,}" for one in every)),
            ("took, s", *(number(one.elapsed_s, 1) for one in every)),
            spread("[bold]join, ms: p50 / p90 / p99 / max", [one.total for one in every]),
            *(spread(f"  {step.value}", [one.phases[step.value] for one in every]) for step in Milestone),
            ("relay CPU per join, ms", *(ms(one.relay_cpu_ns_per_join) for one in every)),
            ("client CPU per join, ms", *(ms(one.client_cpu_ns_per_join) for one in every)),
            (
                "relay / client CPU, cores",
                *(f"{one.relay_share:.2f} / {one.client_share:.2f}" for one in every),
            ),
            background("p50", "p50_ns"),
            background("p99", "p99_ns"),
            background("p99.9", "p999_ns"),
            ("[bold]background p99, against quiet", *(f"[bold]{self.storm_ratio(one):.2f}" for one in every)),
            ("background sent over 1 ms late", *(f"{one.background.sent_late:,}" for one in every)),
        ]

    def notes(self) -> list[str]:
        """Who was the limit, what failed, and what else a reader should know."""
        notes = []
        for group in self.groups:
            if group.client_share > BUSY_SHARE and group.relay_share < group.client_share:
                notes.append(
                    f"[bold red]{group.name}: the generator, not the relay, was the limit: its core was busy "
                    f"{group.client_share:.0%} of the time, the relay's {group.relay_share:.0%}[/]"
                )
            notes += [f"[yellow]{group.name}: {count:,} x {why}[/]" for why, count in group.failures.items()]
        notes += [
            f"[yellow]{group.name}: {group.background.sent_late:,} of {group.background.sent:,} background packets "
            "left late: the generator shares its core with the joins, and adds to those latencies[/]"
            for group in self.arrivals
            if group.background.disturbed
        ]
        lost = f"{self.background_lost:,} of {self.background_expected:,}"
        notes.append(f"Background: {lost} packets lost. {self.pinning.describe().capitalize()}.")
        notes.append(
            f"Of the last step, up to {1e3 / 50:.0f} ms are waiting for the publisher's next packet (50 a second)."
        )
        return notes

    def plot(self, figure: "Figure") -> None:
        """How long the joins took, and the phases of the middle one."""
        distribution, phases = figure.subplots(1, 2)
        for group in self.groups:
            if group.totals_ns:
                totals = np.sort(group.totals_ns) / 1e6
                distribution.step(totals, np.arange(1, totals.size + 1) / totals.size, label=group.name)
        distribution.set(xlabel="WebSocket open to first packet, ms", ylabel="share of joins", title="Joins")
        distribution.grid(visible=True, alpha=0.2)
        distribution.legend()
        bottom = [0.0] * len(self.groups)
        for step in Milestone:
            heights = [np.nan_to_num(group.phases[step.value].p50_ns) / 1e6 for group in self.groups]
            phases.bar([group.name for group in self.groups], heights, bottom=bottom, label=step.value)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        phases.set(ylabel="ms", title="Phases, median of each")
        phases.legend()


def summarize_arrivals(
    name: str,
    attempts: Attempts,
    background: Window,
    relay: ProcessUsage,
    client: ProcessUsage,
    quiet: Arrivals | None,
) -> Arrivals:
    """Put a group's figures together; `quiet` says what the background alone costs."""
    joined = attempts.joined

    def per_join(usage: ProcessUsage, idle_share: float) -> float:
        return (usage.cpu_ns - idle_share * usage.elapsed_ns) / len(joined) if joined else NAN

    return Arrivals(
        name=name,
        joined=len(joined),
        failures=dict(attempts.failures),
        total=spread_of([attempt.total_ns for attempt in joined]),
        phases={step.value: spread_of([attempt.phase_ns(step) for attempt in joined]) for step in Milestone},
        elapsed_s=relay.elapsed_ns / 1e9,
        relay_share=relay.cpu_share,
        relay_cpu_ns_per_join=per_join(relay, quiet.relay_share if quiet else 0),
        client_share=client.cpu_share,
        client_cpu_ns_per_join=per_join(client, quiet.client_share if quiet else 0),
        background=background,
        totals_ns=[attempt.total_ns for attempt in joined],
    )


def spread_of(values_ns: Sequence[int]) -> Spread:
    """Return the percentiles of these durations."""
    if not values_ns:
        return Spread(NAN, NAN, NAN, NAN)
    p50, p90, p99, most = np.percentile(values_ns, [50, 90, 99, 100], method="inverted_cdf")
    return Spread(float(p50), float(p90), float(p99), float(most))


def _spread(spread: Spread) -> str:
    values = (spread.p50_ns, spread.p90_ns, spread.p99_ns, spread.max_ns)
    return " / ".join(number(value / 1e6, 1) for value in values) if not math.isnan(spread.p50_ns) else "-"
