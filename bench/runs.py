"""The runs of one command over connected peers: at a given rate, or at the highest that is carried without loss."""

import math
from dataclasses import replace
from functools import partial
from typing import Final

from bench.errors import BenchError
from bench.forward_options import MAX_OFFERED_PER_S
from bench.generator import Run, Traffic
from bench.progress import Phase, ProgressBars
from bench.result import Limit, RunResult, Trial
from bench.search import search_highest_rate
from bench.stage import Stage
from bench.tables import Counter

TRIAL_RAMP_S: Final = 0.3
TRIAL_S: Final = 1.5
KEPT_SHARE: Final = 0.9
"""Of the rate asked for that must come: where packets leave late, none need be lost, and the rate is still not carried."""
CONFIRM_FACTORS: Final = (1.0, 0.97, 0.94, 0.88, 0.76, 0.5)  # of the rate found, until a run confirms one


class Search:
    """The trials of one search. It may need several stages: a trial in which the relay ends peers takes one with it."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.attempt: tuple[float, float] | None = None
        """The trial under way: rate of each publisher, and what all subscribers together should get a second."""

    def fail_attempt(self, reason: str) -> bool:
        """Count the trial under way as failed because peers were lost. False when there is none."""
        if self.attempt is None:
            return False
        rate, offered = self.attempt
        nothing, lost, unknown = 0.0, 0, math.nan
        self.trials.append(Trial(rate, offered, nothing, lost, unknown, unknown, False, Limit.RELAY, reason))
        self.attempt = None
        return True


class Runs:
    """Makes runs on a stage, and remembers the trials of a search."""

    def __init__(self, stage: Stage, progress: ProgressBars, search: Search | None = None) -> None:
        """`search`: one to go on with, that has lost its former stage."""
        self._options = stage.options
        self._bench = stage.bench
        self._progress = progress
        self._made = search or Search()
        self._repeated = 0

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Of the search, in order."""
        return tuple(self._made.trials)

    async def run(self, name: str, rate: float | None = None) -> RunResult:
        """Make one run of full length, at the rate asked for or at another."""
        asked = self._options.traffic
        return await self._run(name, asked if rate is None else replace(asked, rate=rate))

    async def run_highest(self) -> RunResult:
        """Find the highest rate without loss by short trials, and confirm it by a run of full length.

        It is tried a little lower each time until it is good; the last one counts as it is. Raises: BenchError when
        not even the first rate is carried.
        """
        rate = await self._search()
        for factor in CONFIRM_FACTORS:
            run = await self.run("highest without loss", rate * factor)
            if self._is_good(run):
                return run
        return replace(run, name="not confirmed")

    async def _search(self) -> float:
        options = self._options
        ceiling = MAX_OFFERED_PER_S / (options.publishers * options.subscribers)
        with self._progress.phase("search", 1) as phase:
            found = await search_highest_rate(options.rate, ceiling, partial(self._try, phase))
        if found.best == 0:
            raise BenchError(
                f"even {options.rate:g} packets/s from each publisher were not carried without loss; "
                f"start lower with --rate. {self._describe_last_trial()}"
            )
        return found.best

    async def _try(self, phase: Phase, rate: float) -> bool:
        if self._repeated < len(self.trials):
            self._repeated += 1
            return self.trials[self._repeated - 1].good  # the search is the same again up to here
        length_s = min(TRIAL_S, self._options.duration_s)
        traffic = replace(self._options.traffic, rate=rate, ramp_s=TRIAL_RAMP_S, duration_s=length_s)
        self._made.attempt = (rate, rate * self._options.publishers * self._options.subscribers)
        run = await self._bench.measure("trial", traffic, lambda _run: None)
        self._made.attempt = None
        trial = Trial(
            rate_per_publisher=rate,
            offered_per_s=run.offered_per_s,
            delivered_per_s=run.delivered_per_s,
            lost=run.counts.lost,
            p99_ns=run.latency.p99_ns,
            cpu_ns_per_packet=run.server.cpu_ns_per_packet,
            good=self._is_good(run),
            limit=run.limit,
        )
        self._made.trials.append(trial)
        self._repeated += 1
        phase(
            min(0.99, len(self.trials) / 20),
            f"{run.offered_per_s:,.0f} packets/s: {'good' if trial.good else 'not'}",
        )
        return trial.good

    def _is_good(self, run: RunResult) -> bool:
        return carries(run, self._options.max_latency_ms)

    async def _run(self, name: str, traffic: Traffic) -> RunResult:
        total_s = traffic.ramp_s + traffic.duration_s
        offered = traffic.rate * self._options.publishers * self._options.subscribers
        with self._progress.phase(f"{name}: {offered:,.0f} packets/s", total_s) as phase:
            seconds = 0

            def tell(run: Run) -> None:
                nonlocal seconds
                seconds += 1
                phase(min(seconds, total_s), f"{run.count(Counter.DELIVERED):,} delivered")

            return await self._bench.measure(name, traffic, tell)

    def _describe_last_trial(self) -> str:
        last = self.trials[-1]
        if last.peers_lost:
            return f"In the last trial {last.peers_lost}."
        by = {Limit.GENERATOR: "the generator was the limit", Limit.RELAY: "the relay lost packets"}
        return f"In the last trial {by.get(last.limit, f'p99 was {last.p99_ns / 1e6:.1f} ms')}."


def carries(run: RunResult, max_latency_ms: float) -> bool:
    """Whether all of it came, soon enough, and at the rate asked for rather than at the generator's own."""
    in_time = run.latency.p99_ns <= max_latency_ms * 1e6
    return run.lossless and in_time and run.delivered_per_s >= KEPT_SHARE * run.offered_per_s
