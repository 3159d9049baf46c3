"""What `relay bench crowd` found, and how it is told."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bench.connections_result import BUSY_SHARE, LATE_SHARE, Percentiles, PhaseCost, plot_curve
from bench.machine import Pinning
from bench.report import ms, number, verdict_line
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENCY_BAR_MS: Final = 100.0


@dataclass(frozen=True)
class CrowdResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    joined: int
    failed: int
    slow: int
    latency: Percentiles  # from whoever asks to every other live member
    asked: dict[str, int]  # events asked for, by what
    asked_late: int
    refused: dict[str, int]  # error replies, by code
    expected: int  # deliveries of what was asked for and not refused
    delivered: int
    events: int  # of all kinds, received by live members; each by its number
    events_lost: int
    events_duplicated: int
    live_lost: int  # connections of live members that ended
    reasons: dict[str, int]
    closed_at_s: list[float] = field(
        repr=False
    )  # WebSockets closed by the relay, since the slow ones went bad
    closed_codes: dict[str, int]
    farewells: list[dict[str, Any]]  # what each slow one read in the end
    cost: PhaseCost
    scenario: str = "crowd"

    @property
    def slow_open(self) -> int:
        """Slow ones that the relay has not closed."""
        return max(0, self.slow - (len(self.closed_at_s) - self.live_lost))

    @property
    def slowest_close_s(self) -> float:
        """When the last one was closed."""
        return max(self.closed_at_s, default=math.nan)

    @property
    def cpu_us_per_event(self) -> float:
        """CPU time of the relay divided by events received, all else it does included."""
        return self.cost.server_cpu_share * self.cost.seconds * 1e6 / self.events if self.events else math.nan

    def failure(self) -> str | None:
        """Say what no machine excuses: an event lost or doubled, a live client closed, a slow one kept."""
        faults = [
            f"{count:,} {what}"
            for count, what in (
                (self.events_lost, "events did not reach a live client"),
                (self.events_duplicated, "events came twice"),
                (self.expected - self.delivered, "deliveries did not come"),
                (self.live_lost, "live clients lost their connection"),
                (self.slow_open, "slow clients were not closed"),
            )
            if count
        ]
        return "; ".join(faults) or None

    def readings(self) -> list[Reading]:
        """Latency, loss, closing."""
        latency = self.latency
        return [
            Reading("event latency p50", latency.p50_ns / 1e6, "ms", Better.LOWER),
            Reading("event latency p99", latency.p99_ns / 1e6, "ms", Better.LOWER, bar=LATENCY_BAR_MS),
            Reading("event latency max", latency.max_ns / 1e6, "ms", Better.LOWER),
            Reading("events lost", self.events_lost, "", Better.LOWER, bar=0),
            Reading("events duplicated", self.events_duplicated, "", Better.LOWER, bar=0),
            Reading("live clients lost", self.live_lost, "", Better.LOWER, bar=0),
            Reading("slow clients not closed", self.slow_open, "", Better.LOWER, bar=0),
            Reading("last slow one closed after", self.slowest_close_s, "s", Better.LOWER),
            Reading("relay CPU", self.cpu_us_per_event, "us/event", Better.LOWER),
        ]

    def table(self) -> ResultTable:
        """One column."""
        options, latency, cost = self.options, self.latency, self.cost
        asked = ", ".join(f"{count:,} {what}" for what, count in sorted(self.asked.items()))
        rows = [
            ("live clients / slow or dead", f"{self.joined - self.slow:,} / {self.slow:,}"),
            ("asked for", asked),
            ("delivered to others", f"{self.delivered:,} of {self.expected:,}"),
            ("event latency p50, ms", ms(latency.p50_ns)),
            ("[bold]event latency p99, ms", f"[bold]{ms(latency.p99_ns)}"),
            ("event latency max, ms", ms(latency.max_ns)),
            ("events received, of all kinds", number(self.events)),
            ("[bold]  lost / duplicated", f"[bold]{self.events_lost:,} / {self.events_duplicated:,}"),
            ("live clients that lost their connection", number(self.live_lost)),
            ("[bold]slow ones closed", f"[bold]{self.slow - self.slow_open:,} of {self.slow:,}"),
            ("  first / last after, s", (f"{number(min(self.closed_at_s, default=math.nan), 1)} / "
             f"{number(self.slowest_close_s, 1)}")),
            ("relay CPU, cores", number(cost.server_cpu_share, 2)),
            ("relay CPU per event received, us", number(self.cpu_us_per_event, 1)),
            ("client busy", f"{cost.client_busy_share:.0%}"),
        ]  # fmt: skip
        title = (
            f"crowd: {options['clients']:,} clients in {options['lobbies']:,} lobbies, {options['slow']:,} of them slow "
            f"or dead; {options['events_per_second']:g} events asked for a second"
        )
        return ResultTable(title, ("", "crowd"), rows)

    def notes(self) -> list[str]:
        """Who was the limit, the verdicts, what slow ones were told."""
        notes = [
            f"[bold red]the client, not the relay, was the limit: {sign}[/]"
            for sign in self._signs_of_the_client()
        ]
        notes += [verdict_line(reading) for reading in self.readings() if reading.met is not None]
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(self.closed_codes.items()))
        notes.append(f"The relay says that it closed: {codes or 'none'}.")
        told = Counter((farewell["slowness"].value, farewell["told"]) for farewell in self.farewells)
        notes += [f"{count:,} x {kind}: {what}" for (kind, what), count in sorted(told.items())]
        notes += [
            f"[yellow]{count:,} connections ended: {reason}[/]" for reason, count in self.reasons.items()
        ]
        notes += [f"[yellow]{count:,} requests refused: {code}[/]" for code, count in self.refused.items()]
        notes.append(f"{self.pinning.describe().capitalize()}.")
        return notes

    def plot(self, figure: "Figure") -> None:
        """How long an event took to arrive, and when the slow ones were closed."""
        arrived, closed = figure.subplots(1, 2)
        plot_curve(arrived, self.latency, "from send() to recv(), ms", "Events")
        at_s = sorted(self.closed_at_s)
        closed.step([0.0, *at_s], range(len(at_s) + 1), where="post")
        closed.axhline(self.slow, linestyle=":")
        closed.set(
            xlabel="since they went bad, s", ylabel="closed by the relay", title="Slow and dead clients"
        )
        closed.grid(visible=True, alpha=0.2)

    def _signs_of_the_client(self) -> list[str]:
        signs = []
        if self.cost.client_busy_share > BUSY_SHARE:
            signs.append(f"its loop was busy {self.cost.client_busy_share:.0%} of the time")
        if self.asked_late > LATE_SHARE * max(sum(self.asked.values()), 1):
            signs.append(f"{self.asked_late:,} events were asked for late")
        return signs
