"""The scenario `forward`: how many packets a relay carries from publishers to subscribers, how fast, at what cost.

With `--search` the highest rate is found by short trials and confirmed by a run of full length, and one more run is
made at a part of it.
"""

from bench.forward_options import ForwardOptions
from bench.forward_result import ForwardResult
from bench.progress import ProgressBars
from bench.result import RunResult
from bench.runs import Runs
from bench.stage import open_stage


async def run_forward(options: ForwardOptions, progress: ProgressBars) -> ForwardResult:
    """Carry out the scenario. Raises: as `open_stage` and `Runs` do."""
    async with open_stage(options, progress) as stage:
        runs = Runs(stage, progress)
        if options.search:
            highest = await runs.run_highest()
            part = await runs.run(f"at {options.load:.0%} of it", highest.rate_per_publisher * options.load)
            made: tuple[RunResult, ...] = (highest, part)
        else:
            made = (await runs.run("run"),)
    return ForwardResult(
        options=stage.options.describe(),
        pinning=options.relay.pinning,
        peers=stage.options.peers,
        setup_s=stage.setup_s,
        floor=stage.floor,
        runs=made,
        trials=tuple(runs.trials),
    )
