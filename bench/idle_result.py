"""What `relay bench idle` found, and how it is told."""

from dataclasses import dataclass
from typing import Any, Final

from bench.machine import Pinning
from bench.report import number
from bench.scenario import Better, Reading, ResultTable

BAR_SHARE: Final = 0.2  # of one core, for BAR_PEERS; less in proportion for fewer
BAR_PEERS: Final = 5_000
BUSY_SHARE: Final = 0.9


@dataclass(frozen=True)
class IdleResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    connected: int  # peers the relay still had at the end
    setup_s: float
    relay_share: float  # cores' worth
    threads_share: dict[str, float]
    client_share: float
    empty_bytes: int  # resident, before anybody came
    full_bytes: int
    pid: int | None
    checks: int
    answered: int
    unanswered: int
    reports: int
    pings: int
    closed: int
    scenario: str = "idle"

    @property
    def bytes_per_peer(self) -> float:
        """Memory of the whole relay, WebSocket included."""
        return (self.full_bytes - self.empty_bytes) / int(self.options["peers"])

    @property
    def main_share(self) -> float:
        """The thread that runs Trio: WebSockets above all."""
        return sum(share for name, share in self.threads_share.items() if name.endswith(f"({self.pid})"))

    def readings(self) -> list[Reading]:
        """What they cost, and whether all were kept."""
        peers = int(self.options["peers"])
        bar = BAR_SHARE * peers / BAR_PEERS
        return [
            Reading("relay CPU", self.relay_share, "cores", Better.LOWER, bar),
            Reading("memory per peer", self.bytes_per_peer / 1024, "KiB", Better.LOWER),
            Reading("peers lost", peers - self.connected, "", Better.LOWER, 0),
            Reading("consent checks unanswered", self.unanswered, "", Better.LOWER),
        ]

    def table(self) -> ResultTable:
        """One column."""
        options = self.options
        rows = [
            ("peers still connected", number(self.connected)),
            ("[bold]relay CPU, cores", f"[bold]{self.relay_share:.3f}"),
            ("  of it the Trio thread", f"{self.main_share:.3f}" if self.pid else "-"),
            ("  per 1,000 peers", f"{self.relay_share * 1000 / int(options['peers']):.3f}"),
            ("[bold]relay memory per peer, KiB", f"[bold]{self.bytes_per_peer / 1024:.1f}"),
            ("relay memory empty / full, MiB", f"{self.empty_bytes >> 20:,} / {self.full_bytes >> 20:,}"),
            ("consent checks/s", number(self.checks / float(options["duration_s"]))),
            ("  unanswered", f"{self.unanswered:,} of {self.answered + self.unanswered:,}"),
            ("receiver reports/s", number(self.reports / float(options["duration_s"]))),
            ("WebSocket pings answered/s", number(self.pings / float(options["duration_s"]))),
            ("client CPU, cores", f"{self.client_share:.3f}"),
        ]
        title = (
            f"idle: {int(options['peers']):,} peers in lobbies of {options['lobby_size']}, a consent check every "
            f"{options['consent_s']:g} s"
        )
        return ResultTable(title, ("", "idle"), rows)

    def notes(self) -> list[str]:
        """Who was the limit, and how long it took to connect."""
        notes = []
        if self.client_share > BUSY_SHARE:
            notes.append(
                "[bold red]the generator, not the relay, was the limit: its core was busy "
                f"{self.client_share:.0%} of the time[/]"
            )
        if self.closed:
            notes.append(f"[yellow]the relay closed {self.closed:,} WebSockets[/]")
        notes.append(
            f"All were connected in {self.setup_s:.1f} s. {self.pinning.describe().capitalize()}. The relay's "
            "memory and CPU include its WebSockets, which it pings every 4 s."
        )
        return notes
