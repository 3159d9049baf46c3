"""Pictures of results: how latency is distributed, what was delivered at which load, what a packet cost.

matplotlib is an extra and slow to import: it is looked for only when a picture is asked for, and early enough that a
long run is not lost for the want of it.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from bench.errors import BenchError
from bench.result import Floor, RunResult, Trial
from bench.scenario import PlottedResult, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS: Final = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#dc2626", "#0891b2")
GREY: Final = "#6b7280"


def require_matplotlib() -> None:
    """Raise BenchError, naming the extra to install, when there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchError("--plot needs matplotlib: install it with `pip install 'trio-relay[bench]'`")


def draw(record: Record, path: Path) -> None:
    """Write a PNG of a result that can be drawn. Raises BenchError as `require_matplotlib` does."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    assert isinstance(record.result, PlottedResult)
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    record.result.plot(figure)
    machine = record.machine
    title = f"{record.result.table().title}\n{machine.cpu}, {machine.cores} cores, commit {machine.commit}"
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, format="png", dpi=120)


def plot_latency(axes: "Axes", runs: Sequence[RunResult], floor: Floor | None) -> None:
    """Share of packets slower than x: straight lines here are what averages hide."""
    for color, run in zip(COLORS, runs, strict=False):
        if run.histogram_ns:
            values, counts = np.array(run.histogram_ns).T
            slower = 1 - np.cumsum(counts) / counts.sum()
            axes.step(values / 1e6, np.maximum(slower, 0.1 / counts.sum()), color=color, label=run.name)
    if floor is not None:
        p50_ms = floor.loop_latency.p50_ns / 1e6
        axes.axvline(p50_ms, color=GREY, linestyle=":", label="floor, p50: no relay")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="one-way latency, ms",
        ylabel="share of packets slower",
        title="Latency",
    )
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()


def plot_throughput(
    axes: "Axes", runs: Sequence[RunResult], trials: Sequence[Trial], floor: Floor | None
) -> None:
    """Delivered against offered: where the points leave the diagonal, packets were lost."""
    for good, color, label in ((True, COLORS[2], "trial, good"), (False, COLORS[4], "trial, not good")):
        chosen = [trial for trial in trials if trial.good is good]
        if chosen:
            offered = [trial.offered_per_s / 1e3 for trial in chosen]
            delivered = [trial.delivered_per_s / 1e3 for trial in chosen]
            axes.scatter(offered, delivered, color=color, marker="x", label=label)
    for color, run in zip(COLORS, runs, strict=False):
        axes.scatter(run.offered_per_s / 1e3, run.delivered_per_s / 1e3, color=color, label=run.name)
    highest = max([run.offered_per_s for run in runs] + [trial.offered_per_s for trial in trials]) / 1e3
    axes.plot([0, highest], [0, highest], color=GREY, linewidth=0.8, label="everything delivered")
    if floor is not None and floor.send is not None:
        bare = floor.send.delivered_per_s / 1e3
        axes.axhline(bare, color=GREY, linestyle=":", label="floor: bare sendmmsg")
    axes.set(
        xlabel="offered, thousand packets/s",
        ylabel="delivered, thousand packets/s",
        title="Throughput against load",
        xlim=(0, None),
        ylim=(0, None),
    )
    axes.grid(visible=True, alpha=0.2)
    axes.legend()


def plot_cpu(axes: "Axes", runs: Sequence[RunResult], trials: Sequence[Trial]) -> None:
    """CPU time of the relay for each packet delivered, against what was delivered."""
    axes.scatter(
        [trial.delivered_per_s / 1e3 for trial in trials],
        [trial.cpu_ns_per_packet / 1e3 for trial in trials],
        color=GREY,
        marker="x",
        label="trials",
    )
    for color, run in zip(COLORS, runs, strict=False):
        cost_us = run.server.cpu_ns_per_packet / 1e3
        axes.scatter(run.delivered_per_s / 1e3, cost_us, color=color, label=run.name)
    axes.set(
        xlabel="delivered, thousand packets/s",
        ylabel="relay CPU per packet, us",
        title="CPU per packet",
        xlim=(0, None),
        ylim=(0, None),
    )
    axes.grid(visible=True, alpha=0.2)
    axes.legend()


def plot_seconds(axes: "Axes", runs: Sequence[RunResult]) -> None:
    """Mean and maximum of the latency in each second: whether a bad percentile is one stall or many."""
    for color, run in zip(COLORS, runs, strict=False):
        mean, worst = (np.array(run.seconds[name]) / 1e6 for name in ("latency_mean_ns", "latency_max_ns"))
        second = np.arange(mean.size) + 0.5
        axes.plot(second, worst, color=color, marker=".", label=f"{run.name}, max")
        axes.plot(second, mean, color=color, linestyle="--", label=f"{run.name}, mean")
    axes.set(xlabel="second, ramp included", ylabel="one-way latency, ms", yscale="log", title="Over time")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
