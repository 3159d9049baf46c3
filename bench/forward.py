"""The scenario `forward`: how many packets a relay carries from publishers to subscribers, how fast, at what cost.

Order of events: the bare send call and the loop's own latency are measured while nothing else runs; the relay is
started (or a running one reached); all peers connect; then the runs. With `--search` the highest rate is found by
short trials and confirmed by a run of full length, and one more run is made at a part of it.
"""

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from bench.descriptors import allow_descriptors
from bench.direct import run_direct, warm_up
from bench.errors import BenchError
from bench.floor import measure_send_floor
from bench.forward_options import MAX_OFFERED_PER_S, ForwardOptions
from bench.forward_result import ForwardResult
from bench.generator import Generator, Run, Traffic
from bench.lobby import open_peers, random_lobby
from bench.machine import keep_to_client
from bench.measurement import Bench
from bench.peer import PeerSettings
from bench.progress import Phase, ProgressBars
from bench.result import Floor, Limit, RunResult, Trial, summarize_latency
from bench.search import search_highest_rate
from bench.server import RelayServer, open_relay_server
from bench.tables import Counter
from relay.certificate import Certificate

FLOOR_S: Final = 1.0
FLOOR_LOOP_RATE: Final = 5_000.0
TRIAL_RAMP_S: Final = 0.3
TRIAL_S: Final = 1.5
CONFIRM_FACTORS: Final = (1.0, 0.97, 0.94, 0.88, 0.76, 0.5)  # of the rate found, until a run confirms one


async def run_forward(options: ForwardOptions, progress: ProgressBars) -> ForwardResult:
    """Carry out the scenario. Raises: BenchError, or the errors of `voicebot` when peers cannot connect."""
    allow_descriptors(options.peers)
    pinning = options.relay.pinning
    with progress.phase("load kernels", 1):
        await trio.to_thread.run_sync(warm_up)
    with progress.phase("measure the floor", 1):
        floor = await _measure_floor(options)
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, options.peers))
        keep_to_client(pinning)
        began_s = trio.current_time()
        with progress.phase("connect peers", options.peers) as phase:
            peers = await owned.enter_async_context(
                open_peers(_peer_settings(options, server), options.publishers, options.subscribers, phase)
            )
        setup_s = trio.current_time() - began_s
        generator = owned.enter_context(
            Generator(
                [peer.as_sender() for peer in peers.publishers],
                [peer.as_receiver() for peer in peers.subscribers],
                pinning.client_cpu,
            )
        )
        runs = _Runs(options, Bench(generator, server, peers, options.relay.spin_ns), progress)
        made = await runs.make()
    return ForwardResult(
        options=options.describe(),
        pinning=pinning,
        peers=len(peers.all),
        setup_s=setup_s,
        floor=floor,
        runs=made,
        trials=tuple(runs.trials),
    )


async def _measure_floor(options: ForwardOptions) -> Floor:
    """Measure the loop without a relay, and the bare send call where a second core can receive."""
    pinning = options.relay.pinning
    traffic = Traffic(FLOOR_LOOP_RATE, options.size, 0, FLOOR_S, options.kind)
    loop = await run_direct(traffic, options.profile, cpu=pinning.client_cpu, spin_ns=options.relay.spin_ns)
    send = None
    if pinning.client_cpu is not None:
        send = await measure_send_floor(options.subscribers, options.size, pinning, FLOOR_S)
    return Floor(send, summarize_latency(loop))


def _peer_settings(options: ForwardOptions, server: RelayServer) -> PeerSettings:
    return PeerSettings(
        url=server.url,
        lobby=random_lobby(),
        kind=options.kind,
        profile=options.profile,
        certificate=Certificate.generate(),
        allow_address=options.relay.allows_address,
    )


class _Runs:
    """The runs of one command over connected peers."""

    def __init__(self, options: ForwardOptions, bench: Bench, progress: ProgressBars) -> None:
        self._options = options
        self._bench = bench
        self._progress = progress
        self.trials: list[Trial] = []

    async def make(self) -> tuple[RunResult, ...]:
        """Make the one run that was asked for, or search, confirm, and run at a part of what was found."""
        if not self._options.search:
            return (await self._run("run", self._options.traffic),)
        confirmed = await self._confirm(await self._search())
        rate = confirmed.rate_per_publisher * self._options.load
        part = await self._run(
            f"at {self._options.load:.0%} of it", replace(self._options.traffic, rate=rate)
        )
        return confirmed, part

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
        length_s = min(TRIAL_S, self._options.duration_s)
        traffic = replace(self._options.traffic, rate=rate, ramp_s=TRIAL_RAMP_S, duration_s=length_s)
        run = await self._bench.measure("trial", traffic, lambda _run: None)
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
        self.trials.append(trial)
        phase(
            min(0.99, len(self.trials) / 20),
            f"{run.offered_per_s:,.0f} packets/s: {'good' if trial.good else 'not'}",
        )
        return trial.good

    async def _confirm(self, rate: float) -> RunResult:
        """Run at full length, a little lower each time until it is good; the last one counts as it is."""
        for factor in CONFIRM_FACTORS:
            run = await self._run("highest without loss", replace(self._options.traffic, rate=rate * factor))
            if self._is_good(run):
                return run
        return replace(run, name="not confirmed")

    def _is_good(self, run: RunResult) -> bool:
        return run.lossless and run.latency.p99_ns <= self._options.max_latency_ms * 1e6

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
        by = {Limit.GENERATOR: "the generator was the limit", Limit.RELAY: "the relay lost packets"}
        return f"In the last trial {by.get(last.limit, f'p99 was {last.p99_ns / 1e6:.1f} ms')}."
