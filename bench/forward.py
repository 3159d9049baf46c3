"""The scenario `forward`: how many packets a relay carries from publishers to subscribers, how fast, at what cost.

With `--search` the highest rate is found by short trials and confirmed by a run of full length, and one more run is
made at a part of it.
"""

from typing import Final

from bench.errors import PeerLostError
from bench.forward_options import ForwardOptions
from bench.forward_result import ForwardResult
from bench.progress import ProgressBars
from bench.result import RunResult
from bench.runs import Runs, Search
from bench.stage import open_stage

MAX_STAGES: Final = 5
"""A relay that ends peers this often in one search is broken, and the last error is told."""


async def run_forward(options: ForwardOptions, progress: ProgressBars) -> ForwardResult:
    """Carry out the scenario. A trial of a search in which the relay ends peers has failed, and costs a fresh stage.

    Raises: as `open_stage` and `Runs` do.
    """
    search = Search()
    for _ in range(MAX_STAGES - 1):
        try:
            return await _run_on_stage(options, progress, search)
        except* PeerLostError as group:
            if not search.fail_attempt(_first_reason(group)):
                raise
    return await _run_on_stage(options, progress, search)


def _first_reason(group: BaseException) -> str:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return str(group)


async def _run_on_stage(options: ForwardOptions, progress: ProgressBars, search: Search) -> ForwardResult:
    async with open_stage(options, progress) as stage:
        runs = Runs(stage, progress, search)
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
