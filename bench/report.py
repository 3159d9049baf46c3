"""The result on a terminal: one table, and below it what a reader should know before quoting a figure from it."""

import math

from rich.console import Console
from rich.table import Table

from bench.result import ForwardResult, Latency, Limit, RunResult


def print_forward(console: Console, result: ForwardResult) -> None:
    """Print the table and its notes."""
    table = Table(title=_title(result), title_justify="left", show_lines=False)
    table.add_column("")
    for run in result.runs:
        table.add_column(run.name, justify="right")
    for label, cells in _rows(result):
        table.add_row(label, *cells)
    console.print(table)
    for note in _notes(result):
        console.print(note, highlight=False)


def _title(result: ForwardResult) -> str:
    options = result.options
    return (
        f"forward: {options['publishers']} publishers x {options['subscribers']} subscribers, {options['kind']}, "
        f"{options['size']}-byte RTP packets, SRTP {options['profile']}"
    )


def _rows(result: ForwardResult) -> list[tuple[str, list[str]]]:
    runs = result.runs
    rows = [
        ("rate of each publisher, packets/s", [f"{run.rate_per_publisher:,.0f}" for run in runs]),
        ("offered to subscribers, packets/s", [f"{run.offered_per_s:,.0f}" for run in runs]),
        ("[bold]delivered, packets/s", [f"[bold]{run.delivered_per_s:,.0f}" for run in runs]),
        ("lost", [_loss(run) for run in runs]),
        ("added latency p50, ms", [_ms(run.latency.p50_ns) for run in runs]),
        ("added latency p95, ms", [_ms(run.latency.p95_ns) for run in runs]),
        ("[bold]added latency p99, ms", [f"[bold]{_ms(run.latency.p99_ns)}" for run in runs]),
        ("added latency p99.9, ms", [_ms(run.latency.p999_ns) for run in runs]),
        ("added latency max, ms", [_ms(run.latency.max_ns) for run in runs]),
        ("[bold]relay CPU per packet, ns", [f"[bold]{_server(run, 'cpu_ns_per_packet')}" for run in runs]),
        ("relay CPU, cores", [_server(run, "cpu_share") for run in runs]),
        ("relay memory, MiB", [_server(run, "rss_bytes") for run in runs]),
        ("generator loop busy", [f"{run.generator.busy_share:.0%}" for run in runs]),
        ("sent over 1 ms late", [f"{run.generator.sent_late:,}" for run in runs]),
    ]
    floor = result.floor
    if floor is not None and floor.send is not None:
        best = floor.send.delivered_per_s
        rows.append(("of the bare sendmmsg rate", [f"{run.delivered_per_s / best:.2f}" for run in runs]))
    return rows


def _notes(result: ForwardResult) -> list[str]:
    notes = []
    for run in result.runs:
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
    floor = result.floor
    if floor is not None:
        notes.append(f"Floor without a relay, same loop: {_floor_latency(floor.loop_latency)}.")
        if floor.send is not None:
            notes.append(
                f"Bare sendmmsg from the relay's core: {floor.send.delivered_per_s:,.0f} packets/s delivered, "
                f"{floor.send.cpu_ns_per_packet:,.0f} ns each."
            )
    machine = result.machine
    notes.append(
        f"{result.pinning.describe().capitalize()}. {machine.cpu}, {machine.cores} cores, {machine.kernel}, "
        f"{machine.python}, numba {machine.numba}, commit {machine.commit}."
    )
    notes.append(f"{result.peers} peers connected in {result.setup_s:.1f} s.")
    return notes


def _floor_latency(latency: Latency) -> str:
    return f"p50 {_ms(latency.p50_ns)} ms, p99 {_ms(latency.p99_ns)} ms, max {_ms(latency.max_ns)} ms"


def _loss(run: RunResult) -> str:
    lost, expected = run.counts.lost, max(run.counts.expected, 1)
    return "0" if lost == 0 else f"{lost:,} ({lost / expected:.2%})"


def _ms(value_ns: float) -> str:
    return "-" if math.isnan(value_ns) else f"{value_ns / 1e6:.3f}"


def _server(run: RunResult, what: str) -> str:
    value = getattr(run.server, what)
    if math.isnan(value):
        return "-"
    if what == "rss_bytes":
        return f"{value / 2**20:,.0f}"
    return f"{value:,.0f}" if what == "cpu_ns_per_packet" else f"{value:.2f}"
