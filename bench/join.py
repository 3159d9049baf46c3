"""The scenario `join`: how long it takes from opening a WebSocket to the first packet, and what the others notice.

Order of events: background media starts and is measured while nobody comes; then clients arrive at `--rate`, each as
by a clock of its own (Poisson); then, with `--storm`, that many at once. Whoever has heard the first packet leaves.
"""

import os
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import accumulate, repeat
from typing import Final

import trio

from bench.background import Background, open_background
from bench.descriptors import allow_descriptors
from bench.direct import warm_up
from bench.join_options import JoinOptions
from bench.join_result import Arrivals, JoinResult, summarize_arrivals
from bench.joiner import Attempts, try_join
from bench.lobby import random_lobby
from bench.machine import kept_to_client
from bench.options import RelayOptions
from bench.payload import PayloadKind
from bench.peer import PeerSettings
from bench.process import sample_process, usage_between
from bench.progress import Phase, ProgressBars
from bench.server import RelayServer, open_relay_server
from media.srtp import SrtpProfile
from relay.certificate import Certificate

TELL_INTERVAL_S: Final = 1.0


async def run_join(options: JoinOptions, progress: ProgressBars) -> JoinResult:
    """Carry out the scenario. Raises: BenchError, or the errors of `voicebot` when background peers cannot connect."""
    allow_descriptors(options.peers)
    pinning = options.relay.pinning
    with progress.phase("load kernels", 1):
        await trio.to_thread.run_sync(warm_up)
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, options.peers))
        owned.enter_context(kept_to_client(pinning))
        with progress.phase("connect background peers", 1 + options.background + options.lobbies) as phase:
            background = await owned.enter_async_context(
                open_background(
                    peer_settings(options.relay, options.profile, server),
                    subscribers=options.background,
                    rate=options.packet_rate,
                    lobbies=options.lobbies,
                    cpu=pinning.client_cpu,
                    connecting=phase,
                )
            )
        arrivals = await _Door(options, server, background, progress).receive()
    return JoinResult(
        options=options.describe(),
        pinning=pinning,
        arrivals=arrivals,
        background_lost=background.result.lost,
        background_expected=background.result.expected,
    )


def peer_settings(relay: RelayOptions, profile: SrtpProfile, server: RelayServer) -> PeerSettings:
    """Return what peers of a scenario with voices have in common."""
    return PeerSettings(
        url=server.url,
        lobby=random_lobby(),
        kind=PayloadKind.AUDIO,
        profile=profile,
        certificate=Certificate.generate(),
        allow_address=relay.allows_address,
    )


class _Door:
    """Lets clients in, group after group, and measures each."""

    def __init__(
        self, options: JoinOptions, server: RelayServer, background: Background, progress: ProgressBars
    ) -> None:
        self._options = options
        self._server = server
        self._background = background
        self._progress = progress
        self._came = 0

    async def receive(self) -> tuple[Arrivals, ...]:
        """Nobody, then clients at the rate, then all at once."""
        options = self._options
        await self._let_in(
            "warm-up", repeat(0.0, len(self._background.lobbies)), len(self._background.lobbies)
        )
        quiet = await self._let_in("quiet", iter(()), 0)
        groups = [quiet]
        gaps = _gaps(options)
        name = f"{options.rate:g} joins/s"
        groups.append(await self._let_in(name, gaps, options.joins, quiet))
        if options.storm:
            groups.append(await self._let_in("storm", repeat(0.0, options.storm), options.storm, quiet))
        return tuple(groups)

    async def _let_in(
        self, name: str, gaps: Iterator[float], count: int, quiet: Arrivals | None = None
    ) -> Arrivals:
        attempts = Attempts()
        with self._progress.phase(name, max(count, 1)) as phase:
            watch = self._background.watch()
            relay_before, own_before = await self._server.sample(), sample_process(os.getpid())
            if count:
                await self._arrive(gaps, attempts, phase, count)
            else:
                await trio.sleep(self._options.quiet_s)
            relay = usage_between(relay_before, await self._server.sample())
            own = usage_between(own_before, sample_process(os.getpid()))
            window = watch.window(name)
        return summarize_arrivals(name, attempts, window, relay, own, quiet)

    async def _arrive(self, gaps: Iterator[float], attempts: Attempts, phase: Phase, count: int) -> None:
        """Start every attempt when it is due, whatever has become of those before; return when all have ended."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell, phase, attempts, count)
            async with trio.open_nursery() as clients:
                for due in accumulate(gaps):
                    await trio.sleep_until(began + due)
                    lobby = self._background.lobbies[self._came % len(self._background.lobbies)]
                    self._came += 1
                    clients.start_soon(
                        try_join, lobby.settings, f"joiner {self._came}", lobby.track_id, attempts
                    )
            nursery.cancel_scope.cancel()


def _gaps(options: JoinOptions) -> Iterator[float]:
    """Seconds between arrivals."""
    dice = random.Random(options.seed)  # noqa: S311 - a schedule, not a secret
    for _ in range(options.joins):
        yield 1 / options.rate if options.even else dice.expovariate(options.rate)


async def _tell(phase: Phase, attempts: Attempts, count: int) -> None:
    while True:
        phase(attempts.made, f"{len(attempts.joined)} of {count} in")
        await trio.sleep(TELL_INTERVAL_S)
