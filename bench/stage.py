"""What the scenarios that send media need before their first run: the floor, a relay, all peers, the compiled loop.

The floor is measured while nothing else runs; then the relay is started (or a running one reached) and the peers
connect. All of it lives as long as the scope.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from bench.descriptors import allow_descriptors
from bench.direct import run_direct, warm_up
from bench.floor import measure_send_floor
from bench.forward_options import ForwardOptions
from bench.generator import Generator, Traffic
from bench.lobby import open_peers, random_lobby
from bench.machine import kept_to_client
from bench.measurement import Bench
from bench.peer import PeerSettings
from bench.progress import ProgressBars
from bench.result import Floor, summarize_latency
from bench.server import RelayServer, open_relay_server
from bench.sockets import receive_runs
from relay.certificate import Certificate

FLOOR_S: Final = 1.0
FLOOR_LOOP_RATE: Final = 5_000.0


@dataclass(frozen=True)
class Stage:
    """Everything is connected, and nothing is sent yet."""

    options: ForwardOptions  # as they were given, scaled to this machine where that was asked for
    floor: Floor
    server: RelayServer
    settings: PeerSettings
    bench: Bench
    setup_s: float  # that all peers took to connect


@asynccontextmanager
async def open_stage(options: ForwardOptions, progress: ProgressBars) -> AsyncGenerator[Stage]:
    """Set the stage. Raises: BenchError, or the errors of `voicebot` when peers cannot connect."""
    pinning = options.relay.pinning
    with progress.phase("load kernels", 1):
        await trio.to_thread.run_sync(warm_up)
    with progress.phase("measure the floor", 1):
        floor = await _measure_floor(options)
    if floor.send is not None:
        options = options.fitted(floor.send.delivered_per_s)
    allow_descriptors(options.peers)
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, options.peers))
        owned.enter_context(kept_to_client(pinning))
        settings = _peer_settings(options, server)
        began_s = trio.current_time()
        with progress.phase("connect peers", options.peers) as phase:
            peers = await owned.enter_async_context(
                open_peers(settings, options.publishers, options.subscribers, phase)
            )
        setup_s = trio.current_time() - began_s
        if options.gro:
            for peer in peers.subscribers:
                receive_runs(peer.socket)
        generator = owned.enter_context(
            Generator(
                [peer.as_sender() for peer in peers.publishers],
                [peer.as_receiver() for peer in peers.subscribers],
                pinning.client_cpu,
            )
        )
        bench = Bench(generator, server, peers, options.relay.spin_ns)
        yield Stage(options, floor, server, settings, bench, setup_s)


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
