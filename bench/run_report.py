"""How runs are told, whichever scenario made them: rows of a table, readings, notes."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report import ms, number
from bench.result import Floor, Limit, RunResult, Trial
from bench.scenario import Better, Reading


def describe_traffic(options: Mapping[str, Any]) -> str:
    """Say who sends what to whom."""
    bursts = f" in frames of {options['burst']}" if options["burst"] > 1 else ""
    bursts += " taken in runs" if options["gro"] else ""
    return (
        f"{options['publishers']} publishers x {options['subscribers']} subscribers, {options['kind']}, "
        f"{options['size']}-byte RTP packets{bursts}, SRTP {options['profile']}"
    )


def gbps(run: RunResult, size: int) -> float:
    """Gbit/s of RTP before SRTP: what subscribers can use."""
    return run.delivered_per_s * size * 8 / 1e9


def run_rows(runs: Sequence[RunResult], size: int, floor: Floor) -> list[tuple[str, ...]]:
    """Return the rows of a table that has a column for each run."""
    rows = [
        ("each publisher, packets/s", *(number(run.rate_per_publisher) for run in runs)),
        ("offered, packets/s", *(number(run.offered_per_s) for run in runs)),
        ("[bold]delivered, packets/s", *(f"[bold]{number(run.delivered_per_s)}" for run in runs)),
        ("delivered RTP, Gbit/s", *(number(gbps(run, size), 2) for run in runs)),
        ("lost", *(_loss(run) for run in runs)),
        ("added latency p50, ms", *(ms(run.latency.p50_ns) for run in runs)),
        ("added latency p95, ms", *(ms(run.latency.p95_ns) for run in runs)),
        ("[bold]added latency p99, ms", *(f"[bold]{ms(run.latency.p99_ns)}" for run in runs)),
        ("added latency p99.9, ms", *(ms(run.latency.p999_ns) for run in runs)),
        ("added latency max, ms", *(ms(run.latency.max_ns) for run in runs)),
        (
            "[bold]relay CPU/packet, ns",
            *(f"[bold]{number(run.server.cpu_ns_per_packet)}" for run in runs),
        ),
        ("relay CPU, cores", *(number(run.server.cpu_share, 2) for run in runs)),
        ("relay memory, MiB", *(number(run.server.rss_bytes / 2**20) for run in runs)),
        ("generator loop busy", *(f"{run.generator.busy_share:.0%}" for run in runs)),
        ("sent over 1 ms late", *(number(run.generator.sent_late) for run in runs)),
    ]
    if floor.send is not None:
        best = floor.send.delivered_per_s
        rows.append(("of the bare send rate", *(number(run.delivered_per_s / best, 2) for run in runs)))
    return rows


def run_readings(
    run: RunResult, size: int, floor: Floor, bars: Mapping[str, float | None] | None = None
) -> list[Reading]:
    """Return throughput, latency and cost of one run. `bars`: by what stands behind the colon in a reading's name."""
    latency = run.latency
    found = [
        ("delivered", run.delivered_per_s, "packets/s", Better.HIGHER),
        ("delivered RTP", gbps(run, size), "Gbit/s", Better.HIGHER),
        ("lost", run.counts.lost, "packets", Better.LOWER),
        ("latency p50", latency.p50_ns / 1e6, "ms", Better.LOWER),
        ("latency p99", latency.p99_ns / 1e6, "ms", Better.LOWER),
        ("latency p99.9", latency.p999_ns / 1e6, "ms", Better.LOWER),
        ("relay CPU", run.server.cpu_ns_per_packet, "ns/packet", Better.LOWER),
    ]
    if floor.send is not None:
        ratio = run.delivered_per_s / floor.send.delivered_per_s
        found.append(("of the bare sendmmsg rate", ratio, "", Better.HIGHER))
    held = bars or {}
    return [
        Reading(f"{run.name}: {what}", value, unit, better, held.get(what))
        for what, value, unit, better in found
    ]


def run_notes(runs: Sequence[RunResult]) -> list[str]:
    """Return what a reader must know of runs: who was the limit, packets that came back other than they should."""
    return [note for run in runs for note in _notes_of(run)]


def search_notes(trials: Sequence[Trial]) -> list[str]:
    """Say when the search ended because of the generator (the relay may carry more), and when peers were lost in it."""
    notes = [
        f"[yellow]the trial at {trial.offered_per_s:,.0f} packets/s failed because {trial.peers_lost}; "
        "the search went on with a fresh relay and fresh peers[/]"
        for trial in trials
        if trial.peers_lost
    ]
    best = max((trial.offered_per_s for trial in trials if trial.good), default=0.0)
    failed = [trial for trial in trials if not trial.good and trial.offered_per_s > best]
    if not failed or min(failed, key=lambda trial: trial.offered_per_s).limit is not Limit.GENERATOR:
        return notes
    return [
        *notes,
        "[bold red]the search ended where the generator, not the relay, was the limit: the relay may carry more[/]",
    ]


def floor_notes(floor: Floor) -> list[str]:
    """Say what the machine does without a relay."""
    latency = floor.loop_latency
    p50, p99, worst = (ms(value) for value in (latency.p50_ns, latency.p99_ns, latency.max_ns))
    notes = [f"Floor without a relay, same loop: p50 {p50} ms, p99 {p99} ms, max {worst} ms."]
    if floor.send is not None:
        notes.append(
            f"Bare sendmmsg from the relay's core: {floor.send.delivered_per_s:,.0f} packets/s delivered, "
            f"{floor.send.cpu_ns_per_packet:,.0f} ns each."
        )
    return notes


def _notes_of(run: RunResult) -> list[str]:
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
    shed = sum(count for name, count in run.server.verdicts.items() if name.startswith("route_shed_"))
    if shed:
        notes.append(f"[yellow]{run.name}: the relay was overloaded and shed {shed:,} packets[/]")
    if run.server.receive_drops:
        notes.append(
            f"[yellow]{run.name}: {run.server.receive_drops:,} packets never reached the relay: "
            "its receive buffer was full[/]"
        )
    return notes


def _loss(run: RunResult) -> str:
    lost, expected = run.counts.lost, max(run.counts.expected, 1)
    return "0" if lost == 0 else f"{lost:,} ({lost / expected:.2%})"
