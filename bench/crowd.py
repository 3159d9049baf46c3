"""The scenario `crowd`: many clients in many lobbies, some of them slow or dead, and what the others notice of it.

Order of events: the relay is started (or a running one reached); in each lobby one client publishes a track, so that
there is something to mute; all others join by thin clients. Then some stop reading or vanish, each kind in turn
(`slowness.py`), while the others chat, take new names and mute. Every event they hear is checked by its number and
timed. Meanwhile the relay's metrics say whom it closes. In the end the slow ones read what was kept for them, and find
out whether they were told why they were closed.
"""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, replace
from functools import partial
from time import monotonic_ns
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from bench.client_thread import measure_work
from bench.closings import Closings
from bench.connections_result import PhaseCost, percentiles
from bench.crowd_members import CrowdMembers, Member
from bench.crowd_options import CrowdOptions
from bench.crowd_result import CrowdResult
from bench.descriptors import allow_descriptors
from bench.errors import BenchError
from bench.join import peer_settings
from bench.joiner import join_speaking
from bench.lean_websocket import open_lean_session
from bench.lobby import CONCURRENT_HANDSHAKES, random_lobby
from bench.machine import kept_to_client
from bench.peer import PeerSettings
from bench.progress import Phase, ProgressBars
from bench.server import RelayServer, open_relay_server

PATIENCE_S: Final = 60.0  # for the last to have joined
SETTLE_S: Final = 1.0
DRAIN_S: Final = 10.0  # for the last events to arrive
CLOSE_PATIENCE_S: Final = 30.0  # after that, for the last slow one to be closed
HEAR_OUT_S: Final = 5.0  # for a slow one to read what is there
CHECK_INTERVAL_S: Final = 0.2


async def run_crowd(options: CrowdOptions, progress: ProgressBars) -> CrowdResult:
    """Carry out the scenario. Raises: BenchError."""
    allow_descriptors(options.clients + options.lobbies)
    described, pinning = options.describe(), options.relay.pinning  # before this thread is kept to its cores
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, options.clients))
        owned.enter_context(kept_to_client(pinning))
        lobbies = [random_lobby() for _ in range(options.lobbies)]
        sockets = owned.enter_context(ExitStack())
        members = owned.enter_context(CrowdMembers(urlsplit(server.url), lobbies, options.slow))
        run = _Run(options, described, server, members, lobbies, sockets, progress)
        return await run.make()


class _Run:
    """The phases of one command."""

    def __init__(
        self,
        options: CrowdOptions,
        described: dict[str, Any],
        server: RelayServer,
        members: CrowdMembers,
        lobbies: list[str],
        sockets: ExitStack,
        progress: ProgressBars,
    ) -> None:
        self._options = options
        self._described = described
        self._server = server
        self._members = members
        self._lobbies = lobbies
        self._sockets = sockets
        self._progress = progress

    async def make(self) -> CrowdResult:
        """Join, act, let the slow ones read."""
        options, tally, counts = self._options, self._members.tally, self._members.counts
        await self._join()
        joined = tally.joined
        closings = Closings()
        async with trio.open_nursery() as nursery:
            await nursery.start(closings.watch, self._server.info_url.removesuffix("/api/system/info"))
            cost = await self._act()
            slow = len(self._members.slow)
            await self._wait_closed(closings, slow)
            nursery.cancel_scope.cancel()
        self._members.settle_accounts()
        lost = tally.lost
        with self._progress.phase("let the slow ones read", 1):
            await self._work(partial(self._members.hear_out, HEAR_OUT_S), lambda: None)
        return CrowdResult(
            options=self._described,
            pinning=options.relay.pinning,
            joined=joined,
            failed=options.clients - joined,
            slow=slow,
            latency=percentiles(tally.latency_ns),
            asked=dict(counts.done),
            asked_late=tally.asked_late,
            refused=dict(counts.refusals),
            expected=tally.expected,
            delivered=tally.delivered,
            events=self._members.numbers.events,
            events_lost=self._members.numbers.lost,
            events_duplicated=self._members.numbers.duplicated,
            live_lost=lost,
            reasons=dict(tally.reasons),
            closed_at_s=closings.at_s,
            closed_codes=dict(closings.codes),
            farewells=[asdict(farewell) for farewell in counts.farewells],
            cost=cost,
        )

    async def _join(self) -> None:
        options, tally = self._options, self._members.tally
        with self._progress.phase(f"{options.lobbies} clients publish", options.lobbies) as phase:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._publish, phase)
                await self._work(
                    partial(self._members.await_adopted, options.lobbies, PATIENCE_S), lambda: None
                )
        others = options.clients - options.lobbies
        with self._progress.phase(f"{others:,} others join", options.clients) as phase:
            await self._work(
                partial(self._members.open, others, options.join_rate, PATIENCE_S),
                lambda: phase(tally.joined, f"{tally.joined:,} joined, {tally.failed:,} failed"),
            )
            await self._work(partial(self._members.listen, SETTLE_S), lambda: None)
        if tally.failed or tally.joined < options.clients:
            reasons = "; ".join(tally.reasons) or f"no answer within {PATIENCE_S:g} s"
            raise BenchError(f"only {tally.joined:,} of {options.clients:,} clients could join: {reasons}")

    async def _publish(self, phase: Phase) -> None:
        """Let one client of each lobby publish a track, a few at a time. Raises: BenchError."""
        settings = peer_settings(self._options.relay, self._options.profile, self._server)
        coming = iter(enumerate(self._lobbies))
        done = 0

        async def publish_some(coming: Iterator[tuple[int, str]]) -> None:
            nonlocal done
            for index, lobby in coming:
                self._members.adopt(await self._publish_one(replace(settings, lobby=lobby), index))
                done += 1
                phase(done)

        async with trio.open_nursery() as nursery:
            for _ in range(CONCURRENT_HANDSHAKES):
                nursery.start_soon(publish_some, coming)

    async def _publish_one(self, settings: PeerSettings, index: int) -> Member:
        async with open_lean_session(settings.url) as session:
            speaker = await join_speaking(session, settings, f"publisher {index}", self._sockets)
            websocket = self._sockets.enter_context(session.detach())
        member = Member(websocket, index, monotonic_ns(), None)
        member.rest = session.reader.rest
        member.seq = session.last_seq
        member.track_id = speaker.track_id
        member.media, member.consent = speaker.connected.socket, speaker.connected.consent
        return member

    async def _act(self) -> PhaseCost:
        options, tally = self._options, self._members.tally
        title = f"{options.events_per_second:g} events/s, {options.slow} slow"
        with self._progress.phase(title, options.duration_s) as phase:
            began_ns = monotonic_ns()
            return await self._work(
                partial(self._members.act, options.events_per_second, options.duration_s, DRAIN_S),
                lambda: phase((monotonic_ns() - began_ns) / 1e9, f"{tally.delivered:,} delivered"),
            )

    async def _wait_closed(self, closings: Closings, slow: int) -> None:
        """Go on answering pings until the relay has closed all slow ones, or for as long as is reasonable."""
        with self._progress.phase("wait for the last slow one to be closed", 1):
            deadline_ns = monotonic_ns() + int(CLOSE_PATIENCE_S * 1e9)
            while len(closings.at_s) < slow and monotonic_ns() < deadline_ns:
                await self._work(partial(self._members.listen, CHECK_INTERVAL_S), lambda: None)

    async def _work(self, work: Callable[[], None], tell: Callable[[], None]) -> PhaseCost:
        return await measure_work(
            work,
            clients=self._members,
            server=self._server,
            client_cpu=self._options.relay.pinning.client_cpu,
            tell=tell,
        )
