"""The scenario `soak`: churn for long, with samples of what the relay holds and of its latency, and their trends."""

from functools import partial
from typing import Final

import trio

from bench.churn import Churn, churn_result, open_churn
from bench.churn_options import ChurnOptions
from bench.progress import Phase, ProgressBars
from bench.soak_result import Sample, SoakResult
from bench.visits import Tally

SAMPLES: Final = 60
MAX_INTERVAL_S: Final = 60.0
MIN_INTERVAL_S: Final = 0.25


async def run_soak(options: ChurnOptions, progress: ProgressBars) -> SoakResult:
    """Carry out the scenario. Raises: BenchError."""
    described = options.describe()
    samples: list[Sample] = []
    async with open_churn(options, progress) as churn:
        with progress.phase("settle", 1):
            before = await churn.settle()
        churn.tally = Tally()
        whole = churn.background.watch()
        with progress.phase("soak", options.duration_s) as phase:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_sample, churn, options.duration_s, samples)
                await churn.let_visitors_come(options.duration_s, partial(_tell, phase, samples))
                nursery.cancel_scope.cancel()
        window = whole.window("soak")
        with progress.phase("settle", 1):
            after = await churn.settle(before)
    return SoakResult(described, churn_result(churn, described, before, after, window), tuple(samples))


async def _sample(churn: Churn, duration_s: float, samples: list[Sample]) -> None:
    """Take samples at even distances until cancelled."""
    interval_s = min(MAX_INTERVAL_S, max(MIN_INTERVAL_S, duration_s / SAMPLES))
    began = trio.current_time()
    watch = churn.background.watch()
    while True:
        await trio.sleep_until(began + (len(samples) + 1) * interval_s)
        occupancy = await churn.occupancy()
        samples.append(Sample(trio.current_time() - began, occupancy, watch.window("").latency.p99_ns))


def _tell(phase: Phase, samples: list[Sample], completed: float, told: str = "") -> None:
    memory = f", {samples[-1].held.resident_bytes >> 20:,} MiB" if samples else ""
    phase(completed, told + memory)
