"""What `relay bench reconnect` found, and how it is told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.connections_result import BUSY_SHARE, LATE_SHARE, Percentiles, PhaseCost, plot_curve
from bench.lobby_media import MediaCounts
from bench.machine import Pinning
from bench.report import ms, number, verdict_line
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP_BAR_MS: Final = 100.0  # what a jitter buffer bridges


@dataclass(frozen=True)
class MediaGaps:
    """The longest time any receiver was without a packet, before the cut and from the cut on."""

    before_ns: int
    after_ns: int


@dataclass(frozen=True)
class ReconnectResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    cut: int  # connections
    resumed: int
    not_replayed: int  # resumed with a snapshot instead of the events missed
    resume: Percentiles  # from connect() to the reply to `resume`
    missed: int  # events that happened while they were away, to be replayed
    lines: int
    lines_late: int
    refused: dict[str, int]
    events: int  # received, each by its number
    events_lost: int
    events_duplicated: int
    latency: Percentiles  # of events that were not replayed
    lost: int  # connections that ended without our doing
    reasons: dict[str, int]
    media: MediaCounts
    media_lost: int  # clients whose media the relay had closed
    gaps: MediaGaps
    cost: PhaseCost
    scenario: str = "reconnect"

    def failure(self) -> str | None:
        """Say what was not as if there had been no cut."""
        faults = [
            f"{count:,} {what}"
            for count, what in (
                (self.cut - self.resumed, "sessions were not resumed"),
                (self.not_replayed, "sessions got a snapshot instead of what they had missed"),
                (self.events_lost, "events were missed"),
                (self.events_duplicated, "events came twice"),
                (self.lost, "connections ended by themselves"),
                (self.media_lost, "clients lost their media"),
                (self.media.lost, "media packets were lost"),
            )
            if count
        ]
        return "; ".join(faults) or None

    def readings(self) -> list[Reading]:
        """Resuming, events, media."""
        return [
            Reading("sessions not resumed", self.cut - self.resumed, "", Better.LOWER, bar=0),
            Reading("events missed", self.events_lost, "", Better.LOWER, bar=0),
            Reading("events duplicated", self.events_duplicated, "", Better.LOWER, bar=0),
            Reading("media packets lost", self.media.lost, "", Better.LOWER, bar=0),
            Reading("longest gap in media", self.gaps.after_ns / 1e6, "ms", Better.LOWER, bar=GAP_BAR_MS),
            Reading("resume p50", self.resume.p50_ns / 1e6, "ms", Better.LOWER),
            Reading("resume p99", self.resume.p99_ns / 1e6, "ms", Better.LOWER),
        ]

    def table(self) -> ResultTable:
        """One column."""
        options, media = self.options, self.media
        rows = [
            ("[bold]sessions resumed", f"[bold]{self.resumed:,} of {self.cut:,}"),
            ("resume p50, ms", ms(self.resume.p50_ns)),
            ("[bold]resume p99, ms", f"[bold]{ms(self.resume.p99_ns)}"),
            ("resume max, ms", ms(self.resume.max_ns)),
            ("events replayed", number(self.missed)),
            ("events received, of all kinds", number(self.events)),
            ("[bold]  missed / duplicated", f"[bold]{self.events_lost:,} / {self.events_duplicated:,}"),
            ("event latency p99, ms", ms(self.latency.p99_ns)),
            ("[bold]media packets lost", f"[bold]{media.lost:,} of {media.expected:,}"),
            ("  duplicated", number(media.duplicated)),
            ("longest gap before the cut, ms", ms(self.gaps.before_ns)),
            ("[bold]longest gap from the cut on, ms", f"[bold]{ms(self.gaps.after_ns)}"),
            ("relay CPU, cores", number(self.cost.server_cpu_share, 2)),
            ("client busy", f"{self.cost.client_busy_share:.0%}"),
        ]
        title = (
            f"reconnect: {options['clients']:,} clients with media in {options['lobbies']:,} lobbies, all cut at once "
            f"and away for {options['away_s']:g} s; {options['messages_per_second']:g} lines of chat a second"
        )
        return ResultTable(title, ("", "reconnect"), rows)

    def notes(self) -> list[str]:
        """Who was the limit, the verdicts, what went wrong."""
        notes = [
            f"[bold red]the client, not the relay, was the limit: {sign}[/]"
            for sign in self._signs_of_the_client()
        ]
        notes += [verdict_line(reading) for reading in self.readings() if reading.met is not None]
        notes += [
            f"[yellow]{count:,} connections ended: {reason}[/]" for reason, count in self.reasons.items()
        ]
        notes += [f"[yellow]{count:,} requests refused: {code}[/]" for code, count in self.refused.items()]
        if self.media_lost:
            notes.append(f"[bold red]{self.media_lost:,} clients were told that their media has ended[/]")
        if self.media.sent_late:
            notes.append(f"The generator sent {self.media.sent_late:,} packets over 1 ms late.")
        notes.append(f"{self.pinning.describe().capitalize()}.")
        return notes

    def plot(self, figure: "Figure") -> None:
        """How long resuming took, and how long an event took to arrive."""
        resumed, arrived = figure.subplots(1, 2)
        plot_curve(resumed, self.resume, "from connect() to resumed, ms", "Resuming")
        plot_curve(arrived, self.latency, "from send() to recv(), ms", "Events that were not replayed")

    def _signs_of_the_client(self) -> list[str]:
        signs = []
        if self.cost.client_busy_share > BUSY_SHARE:
            signs.append(f"its loop was busy {self.cost.client_busy_share:.0%} of the time")
        if self.lines_late > LATE_SHARE * max(self.lines, 1):
            signs.append(f"{self.lines_late:,} lines were sent late")
        return signs
