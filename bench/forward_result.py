"""What `relay bench forward` found, and how it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.machine import Pinning
from bench.plot import plot_cpu, plot_latency, plot_throughput
from bench.presets import PRESETS, Preset
from bench.report import ms, number
from bench.result import Floor, Latency, Limit, RunResult, Trial
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ForwardResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    peers: int
    setup_s: float
    floor: Floor | None
    runs: tuple[RunResult, ...]
    trials: tuple[Trial, ...] = ()
    scenario: str = "forward"

    def readings(self) -> list[Reading]:
        """Throughput, latency and cost of each run."""
        return [reading for run in self.runs for reading in self._readings_of(run)]

    def _readings_of(self, run: RunResult) -> list[Reading]:
        latency = run.latency
        found = [
            Reading(f"{run.name}: delivered", run.delivered_per_s, "packets/s", Better.HIGHER),
            Reading(f"{run.name}: delivered RTP", self._gbps(run), "Gbit/s", Better.HIGHER),
            Reading(f"{run.name}: lost", run.counts.lost, "packets", Better.LOWER),
            Reading(f"{run.name}: latency p50", latency.p50_ns / 1e6, "ms", Better.LOWER),
            Reading(f"{run.name}: latency p99", latency.p99_ns / 1e6, "ms", Better.LOWER),
            Reading(f"{run.name}: latency p99.9", latency.p999_ns / 1e6, "ms", Better.LOWER),
            Reading(f"{run.name}: relay CPU", run.server.cpu_ns_per_packet, "ns/packet", Better.LOWER),
        ]
        if self.floor is not None and self.floor.send is not None:
            ratio = run.delivered_per_s / self.floor.send.delivered_per_s
            found.append(Reading(f"{run.name}: of the bare sendmmsg rate", ratio, "", Better.HIGHER))
        return found

    def _gbps(self, run: RunResult) -> float:
        """RTP before SRTP: what a subscriber can use."""
        return run.delivered_per_s * self.options["size"] * 8 / 1e9

    def table(self) -> ResultTable:
        """A column for each run."""
        runs, floor = self.runs, self.floor
        rows = [
            ("rate of each publisher, packets/s", *(number(run.rate_per_publisher) for run in runs)),
            ("offered to subscribers, packets/s", *(number(run.offered_per_s) for run in runs)),
            ("[bold]delivered, packets/s", *(f"[bold]{number(run.delivered_per_s)}" for run in runs)),
            ("delivered RTP, Gbit/s", *(number(self._gbps(run), 2) for run in runs)),
            ("lost", *(_loss(run) for run in runs)),
            ("added latency p50, ms", *(ms(run.latency.p50_ns) for run in runs)),
            ("added latency p95, ms", *(ms(run.latency.p95_ns) for run in runs)),
            ("[bold]added latency p99, ms", *(f"[bold]{ms(run.latency.p99_ns)}" for run in runs)),
            ("added latency p99.9, ms", *(ms(run.latency.p999_ns) for run in runs)),
            ("added latency max, ms", *(ms(run.latency.max_ns) for run in runs)),
            (
                "[bold]relay CPU per packet, ns",
                *(f"[bold]{number(run.server.cpu_ns_per_packet)}" for run in runs),
            ),
            ("relay CPU, cores", *(number(run.server.cpu_share, 2) for run in runs)),
            ("relay memory, MiB", *(number(run.server.rss_bytes / 2**20) for run in runs)),
            ("generator loop busy", *(f"{run.generator.busy_share:.0%}" for run in runs)),
            ("sent over 1 ms late", *(number(run.generator.sent_late) for run in runs)),
        ]
        if floor is not None and floor.send is not None:
            best = floor.send.delivered_per_s
            rows.append(
                ("of the bare sendmmsg rate", *(number(run.delivered_per_s / best, 2) for run in runs))
            )
        return ResultTable(
            f"{self.scenario}: {describe_traffic(self.options)}", ("", *(run.name for run in runs)), rows
        )

    def notes(self) -> list[str]:
        """Who was the limit, what else happened to packets, and the floor."""
        notes = [note for run in self.runs for note in notes_of(run)]
        if note := note_of_search(self.trials):
            notes.append(note)
        if self.options["preset"] is not None:
            notes.append(_note_of_preset(PRESETS[self.options["preset"]], self.options))
        floor = self.floor
        if floor is not None:
            notes.append(f"Floor without a relay, same loop: {_floor_latency(floor.loop_latency)}.")
            if floor.send is not None:
                notes.append(
                    f"Bare sendmmsg from the relay's core: {floor.send.delivered_per_s:,.0f} packets/s delivered, "
                    f"{floor.send.cpu_ns_per_packet:,.0f} ns each."
                )
        notes.append(f"{self.pinning.describe().capitalize()}.")
        notes.append(f"{self.peers} peers connected in {self.setup_s:.1f} s.")
        return notes

    def plot(self, figure: "Figure") -> None:
        """How latency is distributed, what was delivered, and what a packet cost."""
        figure.set_size_inches(16, 5)
        latency, throughput, cpu = figure.subplots(1, 3)
        plot_latency(latency, self.runs, self.floor)
        plot_throughput(throughput, self.runs, self.trials, self.floor)
        plot_cpu(cpu, self.runs, self.trials)


def notes_of(run: RunResult) -> list[str]:
    """What a reader must know of one run: its limit, and packets that came back other than they should."""
    notes = []
    if run.limit is not Limit.NONE:
        style = "bold red" if run.limit is Limit.GENERATOR else "yellow"
        notes.append(f"[{style}]{run.name}: {run.limit_reason}[/]")
    odd = {
        "duplicated": run.counts.duplicated,
        "reordered": run.counts.reordered,
        "corrupt": run.counts.corrupt,
        "not decryptable": run.counts.unprotect_failed,
    }
    if any(odd.values()):
        told = ", ".join(f"{count:,} {what}" for what, count in odd.items() if count)
        notes.append(f"[yellow]{run.name}: {told}[/]")
    if run.server.receive_drops:
        notes.append(
            f"[yellow]{run.name}: {run.server.receive_drops:,} packets never reached the relay: "
            "its receive buffer was full[/]"
        )
    return notes


def describe_traffic(options: Mapping[str, Any]) -> str:
    """Say who sends what to whom."""
    bursts = f" in frames of {options['burst']}" if options["burst"] > 1 else ""
    return (
        f"{options['publishers']} publishers x {options['subscribers']} subscribers, {options['kind']}, "
        f"{options['size']}-byte RTP packets{bursts}, SRTP {options['profile']}"
    )


def note_of_search(trials: Sequence[Trial]) -> str | None:
    """Say so when the search ended because of the generator: the relay may carry more than was found."""
    best = max((trial.offered_per_s for trial in trials if trial.good), default=0.0)
    failed = [trial for trial in trials if not trial.good and trial.offered_per_s > best]
    if not failed or min(failed, key=lambda trial: trial.offered_per_s).limit is not Limit.GENERATOR:
        return None
    return "[bold red]the search ended where the generator, not the relay, was the limit: the relay may carry more[/]"


def _note_of_preset(preset: Preset, options: Mapping[str, Any]) -> str:
    return (
        f"Preset {preset.name} mirrors {preset.mirrors} ({preset.source}); here at scale {options['scale']:.3g}: "
        f"{options['subscribers']:,} of {preset.subscribers:,} subscribers."
    )


def _floor_latency(latency: Latency) -> str:
    return f"p50 {ms(latency.p50_ns)} ms, p99 {ms(latency.p99_ns)} ms, max {ms(latency.max_ns)} ms"


def _loss(run: RunResult) -> str:
    lost, expected = run.counts.lost, max(run.counts.expected, 1)
    return "0" if lost == 0 else f"{lost:,} ({lost / expected:.2%})"
