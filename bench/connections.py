"""The scenario `connections`: thousands of WebSocket sessions in lobbies, idle and then chatting.

Order of events: the relay is started (or a running one reached) and its memory noted; all connections are opened at a
steady rate and join; they stay idle for a while, in which the relay's memory and CPU are read; then lines of chat are
said, and each line is timed from the speaker's `send` to the `recv` of every participant of its lobby. All the while a
second client asks for `/api/system/health` and `/metrics`, as a load balancer would.
"""

import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from time import monotonic_ns
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from bench.chatters import Chatters
from bench.client_thread import measure_work
from bench.connections_result import (
    ConnectionsResult,
    Fanout,
    IdleCost,
    PhaseCost,
    Setup,
    percentiles,
)
from bench.descriptors import allow_descriptors
from bench.errors import BenchError
from bench.lobby import random_lobby
from bench.machine import Pinning, kept_to_client
from bench.options import RelayOptions, check_ranges
from bench.progress import ProgressBars
from bench.server import RelayServer, open_relay_server

SETTLE_S: Final = 1.0  # after the last join, before the idle time: what the joins left over is worked off
PATIENCE_S: Final = 30.0  # for the last connections to have joined
DRAIN_S: Final = 10.0  # for the last lines to arrive
PROBE_INTERVAL_S: Final = 0.5
PROBE_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class ConnectionsOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    connections: int = 10_000
    lobby_size: int = 1_000
    rate: float = 500.0
    idle_s: float = 10.0
    duration_s: float = 30.0
    messages_per_second: float = 5.0
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--connections", self.connections, 1, 1_000_000),
                ("--lobby-size", self.lobby_size, 1, self.connections),
                ("--rate", self.rate, 0.1, 100_000),
                ("--idle", self.idle_s, 0.1, 86_400),
                ("--duration", self.duration_s, 0.1, 86_400),
                # A participant may say two lines a second in the long run.
                ("--messages-per-second", self.messages_per_second, 0.01, self.connections),
            ]
        )
        if self.relay.url is not None and urlsplit(self.relay.url).scheme != "ws":
            raise BenchError(
                "--url must begin with ws:// for this scenario: its thin clients speak no TLS; "
                "aim at the port behind the TLS proxy"
            )

    @property
    def lobbies(self) -> int:
        """How many lobbies it takes."""
        return -(-self.connections // self.lobby_size)

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "connections": self.connections,
            "lobby_size": self.lobby_size,
            "rate": self.rate,
            "idle_s": self.idle_s,
            "duration_s": self.duration_s,
            "messages_per_second": self.messages_per_second,
            **self.relay.describe(),
        }


async def run_connections(options: ConnectionsOptions, progress: ProgressBars) -> ConnectionsResult:
    """Carry out the scenario. Raises: BenchError."""
    allow_descriptors(options.connections, per_peer=1)
    described, pinning = options.describe(), options.relay.pinning  # before this thread is kept to its cores
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, options.connections))
        owned.enter_context(kept_to_client(pinning))
        lobbies = [random_lobby() for _ in range(options.lobbies)]
        crowd = owned.enter_context(Chatters(urlsplit(server.url), lobbies))
        return await _Run(options, described, pinning, server, crowd, progress).make()


class _Run:
    """The phases of one command, over one crowd."""

    def __init__(
        self,
        options: ConnectionsOptions,
        described: dict[str, Any],
        pinning: Pinning,
        server: RelayServer,
        crowd: Chatters,
        progress: ProgressBars,
    ) -> None:
        self._options = options
        self._described = described
        self._pinning = pinning
        self._server = server
        self._crowd = crowd
        self._progress = progress
        self._answered_ns: list[int] = []
        self._unanswered = 0

    async def make(self) -> ConnectionsResult:
        """Open, be idle, chat."""
        tally = self._crowd.tally
        empty_bytes = (await self._server.sample()).rss_bytes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_for_health)
            setup = await self._open()
            idle = await self._idle(empty_bytes)
            fanout = await self._chat()
            nursery.cancel_scope.cancel()
        return ConnectionsResult(
            options=self._described,
            pinning=self._pinning,
            setup=setup,
            idle=idle,
            fanout=fanout,
            health=percentiles(self._answered_ns),
            health_unanswered=self._unanswered,
            lost=tally.lost,
            reasons=dict(tally.reasons),
        )

    async def _open(self) -> Setup:
        options, tally = self._options, self._crowd.tally
        with self._progress.phase(f"open {options.connections:,} connections", options.connections) as phase:
            began_ns = monotonic_ns()
            cost = await self._measure(
                partial(self._crowd.open, options.connections, options.rate, PATIENCE_S),
                lambda: phase(tally.joined, f"{tally.joined:,} joined, {tally.failed:,} failed"),
            )
            elapsed_s = (monotonic_ns() - began_ns) / 1e9
        if not tally.joined:
            reasons = "; ".join(tally.reasons) or f"no answer within {PATIENCE_S:g} s"
            raise BenchError(f"none of {tally.opened:,} connections could join: {reasons}")
        return Setup(
            joined=tally.joined,
            failed=options.connections - tally.joined,
            per_second=tally.joined / elapsed_s,
            upgraded=percentiles(tally.upgraded_ns),
            joined_after=percentiles(tally.joined_ns),
            cost=cost,
        )

    async def _idle(self, empty_bytes: int) -> IdleCost:
        tally, seconds = self._crowd.tally, self._options.idle_s
        with self._progress.phase("idle", 1 + seconds) as phase:
            await self._measure(partial(self._crowd.listen, SETTLE_S), lambda: None)
            pings = tally.pings
            began_ns = monotonic_ns()
            cost = await self._measure(
                partial(self._crowd.listen, seconds),
                lambda: phase((monotonic_ns() - began_ns) / 1e9, f"{tally.pings - pings:,} pings answered"),
            )
        return IdleCost(
            connections=tally.joined - tally.lost,
            bytes_per_connection=(cost.server_rss_bytes - empty_bytes) / tally.joined,
            pings_per_second=(tally.pings - pings) / seconds,
            cost=cost,
        )

    async def _chat(self) -> Fanout:
        options, tally = self._options, self._crowd.tally
        with self._progress.phase(
            f"chat, {options.messages_per_second:g} lines/s", options.duration_s
        ) as phase:
            began_ns = monotonic_ns()
            cost = await self._measure(
                partial(self._crowd.chat, options.messages_per_second, options.duration_s, DRAIN_S),
                lambda: phase((monotonic_ns() - began_ns) / 1e9, f"{tally.delivered:,} delivered"),
            )
        return Fanout(
            lines=tally.asked,
            lines_late=tally.asked_late,
            refused=tally.refused,
            expected=tally.expected,
            delivered=tally.delivered,
            latency=percentiles(tally.latency_ns),
            cost=cost,
        )

    async def _measure(self, work: Callable[[], None], tell: Callable[[], None]) -> PhaseCost:
        return await measure_work(
            work, clients=self._crowd, server=self._server, client_cpu=self._pinning.client_cpu, tell=tell
        )

    async def _ask_for_health(self) -> None:
        """Time what a load balancer and a Prometheus would ask for, from beginning to end."""
        base = self._server.info_url.removesuffix("/api/system/info")
        for path in cycle(("/api/system/health", "/metrics")):
            began_ns = monotonic_ns()
            if await trio.to_thread.run_sync(_fetch, base + path, abandon_on_cancel=True):
                self._answered_ns.append(monotonic_ns() - began_ns)
            else:
                self._unanswered += 1
            await trio.sleep(PROBE_INTERVAL_S)


def _fetch(url: str) -> bool:
    """Tell whether there was an answer in time."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as response:  # noqa: S310 - http by construction
            response.read()
    except OSError:
        return False
    return True
