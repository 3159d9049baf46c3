"""The scenario `churn`: peers come, publish, subscribe and leave in every way there is; the relay must keep nothing.

Order of events: background media starts; visitors come for a while, so that caches and allocators are warm; everybody
leaves, and what the relay holds is read. Then visitors come for `--duration`, everybody leaves, and what it holds is
read again: it must be the same. Background media must have lost nothing.
"""

import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from bench.background import Background, Window, open_background
from bench.churn_options import ChurnOptions
from bench.churn_result import ChurnResult
from bench.descriptors import allow_descriptors
from bench.direct import warm_up
from bench.join import peer_settings
from bench.machine import kept_to_client
from bench.occupancy import Occupancy, grown_between, read_occupancy
from bench.progress import Phase, ProgressBars
from bench.server import RelayServer, open_relay_server
from bench.visits import Tally, plan_visit, visit

SETTINGS: Final = {"resume_seconds": "1", "keepalive_seconds": "1"}
"""Of a relay that is started here: how long it waits for those who may come back, and to notice who fell silent."""

WARM_UP_S: Final = 10.0
SETTLE_TIMEOUT_S: Final = 60.0  # of a relay with its usual settings: consent 30 s, resuming 30 s
SETTLE_POLL_S: Final = 0.25
TELL_INTERVAL_S: Final = 1.0


@dataclass
class Churn:
    """A relay with background media, and visitors on demand. Made by `open_churn`."""

    options: ChurnOptions
    server: RelayServer
    background: Background
    tally: Tally
    dice: random.Random

    async def let_visitors_come(self, duration_s: float, phase: Phase) -> None:
        """Let them come for so long; return when the last one has left."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell, began, phase)
            async with trio.open_nursery() as visitors:
                at = began
                while (at := at + self.dice.expovariate(self.options.rate)) < began + duration_s:
                    await trio.sleep_until(at)
                    lobby = self.dice.choice(self.background.lobbies)
                    plan = plan_visit(self.dice, self.options.stay_s)
                    visitors.start_soon(visit, lobby, plan, self.dice, self.tally)
                await trio.sleep_until(began + duration_s)
            nursery.cancel_scope.cancel()

    async def occupancy(self) -> Occupancy:
        """Return what the relay holds now."""
        return read_occupancy(await self.server.info())

    async def settle(self, before: Occupancy | None = None) -> Occupancy:
        """Wait until nobody is left but the background, and no more is held than `before`; give up after a minute."""
        staying = 1 + self.options.background + self.options.lobbies
        held = await self.occupancy()
        with trio.move_on_after(SETTLE_TIMEOUT_S):
            while held.peers > staying or (before is not None and grown_between(before, held)):
                await trio.sleep(SETTLE_POLL_S)
                held = await self.occupancy()
        return held

    async def _tell(self, began: float, phase: Phase) -> None:
        while True:
            phase(
                trio.current_time() - began, f"{self.tally.inside} inside, {self.tally.left.total():,} left"
            )
            await trio.sleep(TELL_INTERVAL_S)


@asynccontextmanager
async def open_churn(options: ChurnOptions, progress: ProgressBars) -> AsyncGenerator[Churn]:
    """Start the relay, the background and a first lot of visitors. Raises: BenchError."""
    allow_descriptors(options.peers)
    pinning = options.relay.pinning
    with progress.phase("load kernels", 1):
        await trio.to_thread.run_sync(warm_up)
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(
                open_relay_server(options.relay, options.peers, SETTINGS)
            )
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
        churn = Churn(options, server, background, Tally(), random.Random(options.seed))  # noqa: S311 - a schedule
        warm_up_s = min(WARM_UP_S, options.duration_s)
        with progress.phase("warm up", warm_up_s) as phase:
            await churn.let_visitors_come(warm_up_s, phase)
        yield churn


async def run_churn(options: ChurnOptions, progress: ProgressBars) -> ChurnResult:
    """Carry out the scenario. Raises: BenchError."""
    described = options.describe()
    async with open_churn(options, progress) as churn:
        with progress.phase("settle", 1):
            before = await churn.settle()
        churn.tally = Tally()
        watch = churn.background.watch()
        with progress.phase("churn", options.duration_s) as phase:
            await churn.let_visitors_come(options.duration_s, phase)
        window = watch.window("churn")
        with progress.phase("settle", 1):
            after = await churn.settle(before)
    return churn_result(churn, described, before, after, window)


def churn_result(
    churn: Churn, described: dict[str, Any], before: Occupancy, after: Occupancy, window: Window
) -> ChurnResult:
    """Put together what was found; only when the background has ended."""
    return ChurnResult(
        options=described,
        left=dict(churn.tally.left),
        failures=dict(churn.tally.failures),
        before=before,
        after=after,
        background=window,
        background_lost=churn.background.result.lost,
        background_expected=churn.background.result.expected,
    )
