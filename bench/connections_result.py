"""What `relay bench connections` found, and how it is told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench.machine import Pinning
from bench.report import ms, number
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FANOUT_BAR_MS: Final = 100.0
BUSY_SHARE: Final = 0.9  # of the client's time: its own queue is part of every latency then
LATE_SHARE: Final = 0.05  # of the lines: the schedule was not kept
CURVE_POINTS: Final = 500


@dataclass(frozen=True)
class Percentiles:
    """Of some times; NaN when there were none."""

    count: int
    p50_ns: float
    p99_ns: float
    max_ns: float
    curve_ns: list[float] = field(repr=False)  # quantiles in even steps, from the least to the greatest


@dataclass(frozen=True)
class PhaseCost:
    """What one phase cost the relay's process, and how busy the client was."""

    seconds: float
    server_cpu_share: float  # cores' worth
    server_rss_bytes: int
    client_busy_share: float


@dataclass(frozen=True)
class Setup:
    """Opening all connections."""

    joined: int
    failed: int
    per_second: float
    upgraded: Percentiles  # from connect() to the welcome
    joined_after: Percentiles  # from connect() to the reply to `join`
    cost: PhaseCost


@dataclass(frozen=True)
class IdleCost:
    """All connections open, nobody says anything."""

    connections: int
    bytes_per_connection: float  # resident memory of the relay, above that with no connection
    pings_per_second: float  # of the server, each answered
    cost: PhaseCost


@dataclass(frozen=True)
class Fanout:
    """Lines of chat, and how long each took to reach everybody in its lobby."""

    lines: int
    lines_late: int  # sent behind the schedule
    refused: int  # error replies of the server
    expected: int  # lines, times those in the lobby when each was said
    delivered: int
    latency: Percentiles  # from the speaker's send() to each recv()
    cost: PhaseCost

    @property
    def cpu_us_per_delivery(self) -> float:
        """CPU time of the relay's process divided by deliveries, keepalive included."""
        if not self.delivered:
            return math.nan
        return self.cost.server_cpu_share * self.cost.seconds * 1e6 / self.delivered


@dataclass(frozen=True)
class ConnectionsResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    setup: Setup
    idle: IdleCost
    fanout: Fanout
    health: Percentiles  # time to answer /api/system/health and /metrics, in all phases
    health_unanswered: int
    lost: int  # connections that ended after they had joined
    reasons: dict[str, int]  # of failures and losses
    scenario: str = "connections"

    def readings(self) -> list[Reading]:
        """Setup, memory, fan-out."""
        setup, idle, fanout = self.setup, self.idle, self.fanout
        return [
            Reading("connections failed or lost", setup.failed + self.lost, "", Better.LOWER, bar=0),
            Reading("joined p99", setup.joined_after.p99_ns / 1e6, "ms", Better.LOWER),
            Reading("memory", idle.bytes_per_connection / 1024, "KiB/connection", Better.LOWER),
            Reading("idle relay CPU", idle.cost.server_cpu_share, "cores", Better.LOWER),
            Reading("fan-out p50", fanout.latency.p50_ns / 1e6, "ms", Better.LOWER),
            Reading("fan-out p99", fanout.latency.p99_ns / 1e6, "ms", Better.LOWER, bar=FANOUT_BAR_MS),
            Reading("lines not delivered", fanout.expected - fanout.delivered, "", Better.LOWER, bar=0),
            Reading("relay CPU", fanout.cpu_us_per_delivery, "us/delivery", Better.LOWER),
            Reading("health p99", self.health.p99_ns / 1e6, "ms", Better.LOWER),
        ]

    def table(self) -> ResultTable:
        """A column for each phase."""
        options, setup, idle, fanout = self.options, self.setup, self.idle, self.fanout
        title = (
            f"connections: {options['connections']:,} WebSocket sessions at {options['rate']:g}/s, in lobbies of "
            f"{options['lobby_size']:,}; {options['messages_per_second']:g} lines of chat a second"
        )
        costs = (setup.cost, idle.cost, fanout.cost)
        rows = [
            ("connections", number(setup.joined), number(idle.connections), number(fanout.lines) + " lines"),
            ("failed", number(setup.failed), number(self.lost), number(fanout.refused)),
            (
                "a second",
                number(setup.per_second),
                number(idle.pings_per_second) + " pings",
                _per_second(fanout),
            ),
            ("delivered", "", "", f"{fanout.delivered:,} of {fanout.expected:,}"),
            ("p50, ms", ms(setup.joined_after.p50_ns), "", ms(fanout.latency.p50_ns)),
            ("[bold]p99, ms", ms(setup.joined_after.p99_ns), "", f"[bold]{ms(fanout.latency.p99_ns)}"),
            ("max, ms", ms(setup.joined_after.max_ns), "", ms(fanout.latency.max_ns)),
            (
                "[bold]relay memory, KiB per connection",
                "",
                f"[bold]{idle.bytes_per_connection / 1024:.1f}",
                "",
            ),
            ("relay memory, MiB", *(number(cost.server_rss_bytes / 2**20) for cost in costs)),
            ("relay CPU, cores", *(number(cost.server_cpu_share, 2) for cost in costs)),
            ("relay CPU per delivery, us", "", "", number(fanout.cpu_us_per_delivery, 1)),
            ("client busy", *(f"{cost.client_busy_share:.0%}" for cost in costs)),
        ]
        return ResultTable(title, ("", "open and join", "idle", "chat"), rows)

    def notes(self) -> list[str]:
        """Who was the limit, what went wrong, and how the web side fared."""
        notes = [f"[bold red]{sign}[/]" for sign in self._signs_of_the_client()]
        notes.extend(
            f"[yellow]{count:,} connections ended: {reason}[/]" for reason, count in self.reasons.items()
        )
        if self.fanout.delivered < self.fanout.expected:
            missing = self.fanout.expected - self.fanout.delivered
            notes.append(f"[yellow]{missing:,} deliveries did not come[/]")
        if self.health_unanswered:
            notes.append(
                f"[bold red]{self.health_unanswered} requests for health or metrics were not answered[/]"
            )
        notes.append(
            f"/api/system/health and /metrics were asked {self.health.count} times in all phases: p50 "
            f"{ms(self.health.p50_ns)} ms, p99 {ms(self.health.p99_ns)} ms, max {ms(self.health.max_ns)} ms."
        )
        notes.append(f"{self.pinning.describe().capitalize()}.")
        return notes

    def plot(self, figure: "Figure") -> None:
        """How long joining took, and how long a line took to arrive."""
        joined, arrived = figure.subplots(1, 2)
        plot_curve(joined, self.setup.joined_after, "from connect() to joined, ms", "Joining")
        plot_curve(arrived, self.fanout.latency, "from send() to recv(), ms", "Fan-out")

    def _signs_of_the_client(self) -> list[str]:
        signs = []
        for name, cost in (("open", self.setup.cost), ("chat", self.fanout.cost)):
            if cost.client_busy_share > BUSY_SHARE:
                signs.append(f"{name}: its loop was busy {cost.client_busy_share:.0%} of the time")
        if self.fanout.lines_late > LATE_SHARE * max(self.fanout.lines, 1):
            signs.append(f"chat: {self.fanout.lines_late:,} of {self.fanout.lines:,} lines were sent late")
        return [f"the client, not the relay, was the limit: {sign}" for sign in signs]


def percentiles(times_ns: Sequence[int]) -> Percentiles:
    """Summarize times."""
    if not times_ns:
        return Percentiles(0, math.nan, math.nan, math.nan, [])
    values = np.asarray(times_ns, np.int64)
    p50, p99 = np.percentile(values, (50, 99))
    curve = np.quantile(values, np.linspace(0, 1, min(CURVE_POINTS, values.size)))
    return Percentiles(
        values.size, float(p50), float(p99), float(values.max()), [float(each) for each in curve]
    )


def _per_second(fanout: Fanout) -> str:
    return number(fanout.delivered / fanout.cost.seconds) + " deliveries"


def plot_curve(axes: "Axes", times: Percentiles, label: str, title: str) -> None:
    """Share of all that took longer than x."""
    if times.curve_ns:
        values = np.array(times.curve_ns) / 1e6
        axes.step(values, np.linspace(1, 1 / max(times.count, 1), values.size))
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="share that took longer", title=title)
    axes.grid(visible=True, which="both", alpha=0.2)
