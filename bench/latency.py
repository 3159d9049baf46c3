"""The scenario `latency`: what a relay adds to the way of a packet, far from its limit, and with a busy Trio thread.

The highest rate is searched as `forward` does it, unless one is given; what counts is a run at a part of it. With
`--busy-trio` the same run is made once more while other clients negotiate without a pause.
"""

from dataclasses import dataclass
from typing import Any

from bench.disturbance import keep_trio_busy
from bench.forward_options import ForwardOptions
from bench.latency_result import BUSY, LatencyResult, TrioThread
from bench.machine import pinned_thread
from bench.progress import ProgressBars
from bench.result import RunResult
from bench.runs import Runs
from bench.stage import Stage, open_stage


@dataclass(frozen=True)
class LatencyOptions:
    """The options of one call."""

    forward: ForwardOptions
    busy_trio: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {**self.forward.describe(), "busy_trio": self.busy_trio}


async def run_latency(options: LatencyOptions, progress: ProgressBars) -> LatencyResult:
    """Carry out the scenario. Raises: as `open_stage` and `Runs` do."""
    forward = options.forward
    trio_thread: list[TrioThread] = []
    async with open_stage(forward, progress) as stage:
        runs = Runs(stage, progress)
        made = []
        rate, name = forward.rate, "run"
        if forward.search:
            made.append(await runs.run_highest())
            rate, name = made[0].rate_per_publisher * forward.load, f"at {forward.load:.0%} of it"
        made.append(await runs.run(name, rate))
        trio_thread.append(_trio_thread(stage, made[-1], 0))
        if options.busy_trio:
            # Beside the relay, not beside the loop: what the clients take of a core is then the Trio thread's to miss,
            # and the packets are timed as undisturbed as before.
            with pinned_thread(forward.relay.pinning.server_cpu):
                async with keep_trio_busy(stage.settings) as disturbance:
                    before = disturbance.answers
                    made.append(await runs.run(BUSY, rate))
                    trio_thread.append(_trio_thread(stage, made[-1], disturbance.answers - before))
    return LatencyResult(
        options=options.describe(),
        pinning=forward.relay.pinning,
        floor=stage.floor,
        runs=tuple(made),
        trio=tuple(trio_thread),
        trials=tuple(runs.trials),
    )


def _trio_thread(stage: Stage, run: RunResult, answers: int) -> TrioThread:
    """The main thread of a process has the process's id."""
    share = run.server.threads_share
    main = f"({stage.server.pid})"
    known = stage.server.pid is not None
    busy = sum(spent for name, spent in share.items() if name.endswith(main)) if known else float("nan")
    return TrioThread(busy, answers)
