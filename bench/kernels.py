"""The scenario `kernels`: nanoseconds a packet takes in each kernel, and in the same thing written in Python.

Kernel and twin take turns, so that a machine that slows down slows both; the median of the repeats counts. Time is CPU
time of the thread: what other programs take of the core is not in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import thread_time_ns
from typing import TYPE_CHECKING, Any

import trio

from bench.errors import BenchError
from bench.kernel_cases import Case, Prepare, open_cases
from bench.options import check_ranges
from bench.progress import Phase, ProgressBars
from bench.report import number
from bench.scenario import Better, Reading, ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class KernelsOptions:
    """The options of one call."""

    repeats: int = 15
    only: str = ""

    def __post_init__(self) -> None:
        check_ranges([("--repeats", self.repeats, 1, 1_000)])

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {"repeats": self.repeats, "only": self.only}


@dataclass(frozen=True)
class KernelTime:
    """One kernel and its twin. *Units*: nanoseconds per packet."""

    name: str
    kernel_ns: float
    twin_ns: float
    spread: float  # of the kernel's repeats: (slowest - fastest) / median

    @property
    def ratio(self) -> float:
        """How many times the twin takes."""
        return self.twin_ns / self.kernel_ns


@dataclass(frozen=True)
class KernelsResult:
    """Everything about one call."""

    options: dict[str, Any]
    times: tuple[KernelTime, ...]
    scenario: str = field(default="kernels")

    def readings(self) -> list[Reading]:
        """Nanoseconds of each kernel."""
        return [Reading(time.name, time.kernel_ns, "ns", Better.LOWER) for time in self.times]

    def table(self) -> ResultTable:
        """A row for each kernel."""
        rows = [
            (
                time.name,
                number(time.kernel_ns, 1),
                number(time.twin_ns),
                f"[bold]{number(time.ratio)}",
                f"{time.spread:.0%}",
            )
            for time in self.times
        ]
        columns = ("", "kernel, ns", "Python, ns", "times faster", "spread")
        return ResultTable("kernels: time per packet, one thread", columns, rows)

    def notes(self) -> list[str]:
        """What the columns are."""
        return [
            "Python: the same thing with struct, dicts and pylibsrtp (bench/naive.py).",
            "Spread: slowest less fastest repeat, over the median; above 20 % the machine was not quiet.",
        ]

    def plot(self, figure: "Figure") -> None:
        """Both times of each kernel."""
        axes = figure.subplots()
        places = range(len(self.times))
        axes.barh(
            [place - 0.2 for place in places], [time.kernel_ns for time in self.times], 0.4, label="kernel"
        )
        axes.barh(
            [place + 0.2 for place in places], [time.twin_ns for time in self.times], 0.4, label="Python"
        )
        axes.set(xscale="log", xlabel="ns per packet", yticks=list(places))
        axes.set_yticklabels([time.name for time in self.times])
        axes.invert_yaxis()
        axes.grid(visible=True, axis="x", which="both", alpha=0.2)
        axes.legend()


async def run_kernels(options: KernelsOptions, progress: ProgressBars) -> KernelsResult:
    """Carry out the scenario. Raises: BenchError."""
    times = []
    with open_cases() as cases:
        chosen = [case for case in cases if options.only in case.name]
        if not chosen:
            names = "; ".join(case.name for case in cases)
            raise BenchError(f"--only is {options.only!r}; no kernel is named so. There are: {names}")
        with progress.phase("kernels", len(chosen)) as phase:
            for done, case in enumerate(chosen):
                times.append(await _measure(case, options.repeats, phase, done))
    return KernelsResult(options=options.describe(), times=tuple(times))


async def _measure(case: Case, repeats: int, phase: Phase, done: int) -> KernelTime:
    phase(done, case.name)
    kernel, twin = [], []
    for repeat in range(repeats + 1):
        await trio.lowlevel.checkpoint()
        measured = (
            _time(case, case.kernel, case.kernel_rounds),
            _time(case, case.twin, case.twin_rounds),
        )
        if repeat > 0:  # the first compiles, and warms the caches
            kernel.append(measured[0])
            twin.append(measured[1])
    middle = median(kernel)
    return KernelTime(case.name, middle, median(twin), (max(kernel) - min(kernel)) / middle)


def _time(case: Case, prepare: Prepare, rounds: int) -> float:
    run: Callable[[], int] = prepare(rounds)
    began = thread_time_ns()
    done = run()
    elapsed = thread_time_ns() - began
    assert done == rounds * case.per_round, case.name
    return elapsed / (rounds * case.per_round)
