"""The picture of a result: how latency is distributed, and what was delivered second by second.

matplotlib is an extra and slow to import: it is looked for only when a picture is asked for, and early enough that a
long run is not lost for the want of it.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BenchError
from bench.result import ForwardResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#2563eb", "#ea580c", "#16a34a", "#9333ea")


def require_matplotlib() -> None:
    """Raise BenchError, naming the extra to install, when there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchError("--plot needs matplotlib: install it with `pip install 'trio-relay[bench]'`")


def plot_forward(result: ForwardResult, path: Path) -> None:
    """Write a PNG. Raises BenchError as `require_matplotlib` does."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    latency, throughput = figure.subplots(1, 2)
    _plot_latency(latency, result)
    _plot_throughput(throughput, result)
    options = result.options
    figure.suptitle(
        f"relay bench forward: {options['publishers']} x {options['subscribers']} {options['kind']}, "
        f"{options['size']} B, {options['profile']}, {result.machine.cpu}, commit {result.machine.commit}",
        fontsize=10,
    )
    figure.savefig(path, format="png", dpi=120)


def _plot_latency(axes: "Axes", result: ForwardResult) -> None:
    """Share of packets slower than x: straight lines here are what averages hide."""
    for color, run in zip(COLORS, result.runs, strict=False):
        if run.histogram_ns:
            values, counts = np.array(run.histogram_ns).T
            slower = 1 - np.cumsum(counts) / counts.sum()
            axes.step(values / 1e6, np.maximum(slower, 0.1 / counts.sum()), color=color, label=run.name)
    if result.floor is not None:
        axes.axvline(
            result.floor.loop_latency.p50_ns / 1e6,
            color="#6b7280",
            linestyle=":",
            label="floor, p50: no relay",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="one-way latency, ms",
        ylabel="share of packets slower",
        title="Latency",
    )
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()


def _plot_throughput(axes: "Axes", result: ForwardResult) -> None:
    for color, run in zip(COLORS, result.runs, strict=False):
        delivered = np.array(run.seconds["delivered"])
        axes.plot(np.arange(delivered.size) + 0.5, delivered / 1e3, color=color, marker=".", label=run.name)
    if result.floor is not None and result.floor.send is not None:
        axes.axhline(
            result.floor.send.delivered_per_s / 1e3,
            color="#6b7280",
            linestyle=":",
            label="floor: bare sendmmsg",
        )
    axes.set(
        xlabel="second, ramp included",
        ylabel="thousand packets delivered",
        title="Throughput",
        ylim=(0, None),
    )
    axes.grid(visible=True, alpha=0.2)
    axes.legend()
