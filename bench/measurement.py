"""One run at one rate over connected peers, with what it cost the relay and the generator measured beside it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

import trio

from bench.generator import Generator, Run, Traffic
from bench.lobby import Peers
from bench.process import ProcessUsage, sample_process, usage_between
from bench.result import GeneratorCost, RunResult, server_cost, summarize_run
from bench.server import RelayServer
from bench.sockets import UdpDrops, read_udp_drops
from bench.tables import Counter

Progress = Callable[[Run], None]
"""Told about once a second, so that drawing the progress does not disturb what is measured."""

PROGRESS_INTERVAL_S: Final = 1.0


@dataclass(frozen=True)
class Bench:
    """What all runs of one command share."""

    generator: Generator
    server: RelayServer
    peers: Peers
    spin_ns: int

    async def measure(self, name: str, traffic: Traffic, progress: Progress) -> RunResult:
        """Make one run. Raises what `RelayServer.sample` does."""
        await self.server.wait_recovered()  # from the run before
        inodes = [peer.socket_inode for peer in self.peers.all]
        verdicts_before = await self.server.verdicts()
        own_before, drops_before = sample_process(os.getpid()), read_udp_drops()
        async with self.generator.run(traffic, self.spin_ns) as run:
            usage, delivered = await self._watch(run, progress)
            loop = await run.result()
        own, drops = usage_between(own_before, sample_process(os.getpid())), read_udp_drops()
        verdicts = _difference(verdicts_before, await self.server.verdicts())
        server = server_cost(usage, delivered, self._relay_drops(drops_before, drops), verdicts)
        generator = GeneratorCost(
            busy_share=loop.busy_share,
            cpu_share=own.cpu_share,
            sent_late=loop.counters[Counter.LATE],
            lateness_max_ns=loop.counters[Counter.LATENESS_MAX_NS],
            send_failed=loop.counters[Counter.SEND_FAILED],
            receive_drops=drops.of_inodes(inodes) - drops_before.of_inodes(inodes),
        )
        return summarize_run(
            name,
            loop,
            publishers=len(self.peers.publishers),
            subscribers=len(self.peers.subscribers),
            server=server,
            generator=generator,
        )

    async def _watch(self, run: Run, progress: Progress) -> tuple[ProcessUsage, int]:
        """Sample the relay at the end of the ramp and at the end of the sending; count deliveries in between."""
        steady_at = trio.current_time() + (run.started_ns - monotonic_ns()) / 1e9 + run.traffic.ramp_s
        await _wait_until(steady_at, run, progress)
        before, delivered_before = await self.server.sample(), run.count(Counter.DELIVERED)
        await _wait_until(steady_at + run.traffic.duration_s, run, progress)
        after, delivered = await self.server.sample(), run.count(Counter.DELIVERED)
        return usage_between(before, after), delivered - delivered_before

    def _relay_drops(self, before: UdpDrops, after: UdpDrops) -> int | None:
        if self.server.pid is None:
            return None
        return after.of_ports(self.server.udp_ports) - before.of_ports(self.server.udp_ports)


async def _wait_until(deadline: float, run: Run, progress: Progress) -> None:
    while (left := deadline - trio.current_time()) > 0:
        await trio.sleep(min(left, PROGRESS_INTERVAL_S))
        progress(run)


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {
        name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)
    }
