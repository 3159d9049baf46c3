"""The scenario `reconnect`: the TCP connections of all clients are cut at once; sessions, events and media must survive.

Order of events: the relay is started (or a running one reached); in each lobby one client sends audio and the others
receive it, over real ICE, DTLS and SRTP; a witness joins, who has no media and is not cut. All chat. Then every socket
but the witnesses' is closed, half of them by RST and half by FIN, without a word; the witnesses chat on; `--away`
seconds later all reconnect at once and resume. Media runs all the while, and must not notice.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic_ns
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from bench.client_thread import measure_work
from bench.connections_result import PhaseCost, percentiles
from bench.descriptors import allow_descriptors
from bench.direct import warm_up
from bench.errors import BenchError
from bench.generator import Receiver, Sender
from bench.join import peer_settings
from bench.joiner import join_speaking, join_subscribing
from bench.lean_websocket import LeanSession, open_lean_session
from bench.lobby import CONCURRENT_HANDSHAKES, random_lobby
from bench.lobby_media import LobbyMedia, LobbyPeers, MediaCounts, open_lobby_media
from bench.machine import kept_to_client
from bench.offer import PAYLOAD_TYPES
from bench.peer import PeerSettings, open_srtp
from bench.progress import Phase, ProgressBars
from bench.reconnect_options import ReconnectOptions
from bench.reconnect_result import MediaGaps, ReconnectResult
from bench.returners import Returner, Returners
from bench.server import RelayServer, open_relay_server
from media.srtp import SrtpDirection

PATIENCE_S: Final = 120.0  # for the last to be connected
WITNESS_RATE: Final = 200.0
SETTLE_S: Final = 1.0
DRAIN_S: Final = 10.0  # for the last to be back and to have heard everything
CUT_POLL_S: Final = 0.01


@dataclass
class _Lobby:
    """One lobby while its clients come."""

    settings: PeerSettings
    sender: Sender | None = None
    track_id: str = ""
    receivers: list[Receiver] = field(default_factory=list)


async def run_reconnect(options: ReconnectOptions, progress: ProgressBars) -> ReconnectResult:
    """Carry out the scenario. Raises: BenchError."""
    allow_descriptors(options.clients + options.lobbies)
    described, pinning = options.describe(), options.relay.pinning  # before this thread is kept to its cores
    with progress.phase("load kernels", 1):
        await trio.to_thread.run_sync(warm_up)
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(
                open_relay_server(options.relay, 2 * options.clients + options.lobbies)
            )
        owned.enter_context(kept_to_client(pinning))
        sockets = owned.enter_context(ExitStack())
        names = [random_lobby() for _ in range(options.lobbies)]
        clients = owned.enter_context(Returners(urlsplit(server.url), names))
        return await _Run(options, described, server, clients, names, sockets, progress).make()


class _Run:
    """The phases of one command."""

    def __init__(
        self,
        options: ReconnectOptions,
        described: dict[str, Any],
        server: RelayServer,
        clients: Returners,
        names: list[str],
        sockets: ExitStack,
        progress: ProgressBars,
    ) -> None:
        self._options = options
        self._described = described
        self._server = server
        self._clients = clients
        settings = peer_settings(options.relay, options.profile, server)
        self._lobbies = [_Lobby(replace(settings, lobby=name)) for name in names]
        self._sockets = sockets
        self._progress = progress

    async def make(self) -> ReconnectResult:
        """Connect, let media flow, cut, count."""
        options, clients = self._options, self._clients
        await self._connect()
        async with self._media() as media:
            await self._work(partial(clients.listen, SETTLE_S), lambda: None)
            cost, gaps = await self._act(media)
            counts = await media.finish()
        clients.settle_accounts()
        return self._result(cost, gaps, counts, options)

    def _result(
        self, cost: PhaseCost, gaps: MediaGaps, counts: MediaCounts, options: ReconnectOptions
    ) -> ReconnectResult:
        clients, returns, numbers, tally = (
            self._clients,
            self._clients.returns,
            self._clients.numbers,
            self._clients.tally,
        )
        return ReconnectResult(
            options=self._described,
            pinning=options.relay.pinning,
            cut=returns.cut,
            resumed=returns.resumed,
            not_replayed=returns.not_replayed,
            resume=percentiles(returns.resume_ns),
            missed=returns.missed,
            lines=tally.asked,
            lines_late=tally.asked_late,
            refused=dict(returns.refusals),
            events=numbers.events,
            events_lost=numbers.lost,
            events_duplicated=numbers.duplicated,
            latency=percentiles(tally.latency_ns),
            lost=clients.tally.lost,
            reasons=dict(tally.reasons),
            media=counts,
            media_lost=returns.media_lost,
            gaps=gaps,
            cost=cost,
        )

    async def _connect(self) -> None:
        options, tally = self._options, self._clients.tally
        with self._progress.phase(f"{options.clients} clients connect", options.clients) as phase:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._connect_peers, phase)
                await self._work(
                    partial(self._clients.await_adopted, options.clients, PATIENCE_S), lambda: None
                )
        with self._progress.phase("witnesses join", 1):
            await self._work(
                partial(self._clients.open, options.lobbies, WITNESS_RATE, PATIENCE_S), lambda: None
            )
        if tally.joined < options.clients + options.lobbies:
            reasons = "; ".join(tally.reasons) or f"no answer within {PATIENCE_S:g} s"
            raise BenchError(f"only {tally.joined:,} clients and witnesses could join: {reasons}")

    async def _connect_peers(self, phase: Phase) -> None:
        """Connect those who send, then those who receive, a few at a time. Raises: BenchError."""
        lobbies = self._lobbies
        done = 0

        async def connect_some(coming: list[int]) -> None:
            nonlocal done
            while coming:
                index = coming.pop(0)
                self._clients.adopt(await self._connect_one(index))
                done += 1
                phase(done)

        for group in (range(len(lobbies)), range(len(lobbies), self._options.clients)):
            coming = list(group)
            async with trio.open_nursery() as nursery:
                for _ in range(CONCURRENT_HANDSHAKES):
                    nursery.start_soon(connect_some, coming)

    async def _connect_one(self, index: int) -> Returner:
        place = index % len(self._lobbies)
        lobby = self._lobbies[place]
        async with open_lean_session(lobby.settings.url) as session:
            if lobby.sender is None:
                await self._send_media(session, lobby)
            else:
                await self._receive_media(session, lobby, index)
            websocket = self._sockets.enter_context(session.detach())
        token, participant_id = session.welcome["resume_token"], session.joined["participant_id"]
        client = Returner(websocket, place, monotonic_ns(), token, participant_id)
        client.rest, client.seq = session.reader.rest, session.last_seq
        return client

    async def _send_media(self, session: LeanSession, lobby: _Lobby) -> None:
        speaker = await join_speaking(session, lobby.settings, "sender", self._sockets)
        srtp = self._sockets.enter_context(open_srtp(speaker.connected.keys, SrtpDirection.OUTBOUND))
        payload_type = PAYLOAD_TYPES[lobby.settings.kind]
        lobby.sender = speaker.connected.as_peer(srtp, speaker.ssrc, payload_type).as_sender()
        lobby.track_id = speaker.track_id

    async def _receive_media(self, session: LeanSession, lobby: _Lobby, index: int) -> None:
        name = f"receiver {index}"
        connected = await join_subscribing(session, lobby.settings, name, [lobby.track_id], self._sockets)
        srtp = self._sockets.enter_context(open_srtp(connected.keys, SrtpDirection.INBOUND))
        lobby.receivers.append(connected.as_peer(srtp).as_receiver())

    @asynccontextmanager
    async def _media(self) -> AsyncGenerator[LobbyMedia]:
        peers = [
            LobbyPeers(lobby.sender, tuple(lobby.receivers))
            for lobby in self._lobbies
            if lobby.sender is not None
        ]
        options = self._options
        async with open_lobby_media(peers, options.packet_rate, options.relay.pinning.client_cpu) as media:
            yield media

    async def _act(self, media: LobbyMedia) -> tuple[PhaseCost, MediaGaps]:
        options, returns = self._options, self._clients.returns
        before_ns = 0

        async def note_gap_at_cut() -> None:
            nonlocal before_ns
            while not returns.cut_ns:  # noqa: ASYNC110 - the thread that cuts tells nobody
                await trio.sleep(CUT_POLL_S)
            before_ns = media.take_longest_gap_ns()

        title = f"cut {options.clients} after {options.cut_at_s:.1f} s, for {options.away_s:g} s"
        with self._progress.phase(title, options.duration_s) as phase:
            began_ns = monotonic_ns()
            media.take_longest_gap_ns()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(note_gap_at_cut)
                cost = await self._work(
                    partial(
                        self._clients.act,
                        options.messages_per_second,
                        options.duration_s,
                        cut_at_s=options.cut_at_s,
                        away_s=options.away_s,
                        drain_s=DRAIN_S,
                    ),
                    lambda: phase((monotonic_ns() - began_ns) / 1e9, f"{returns.resumed} resumed"),
                )
        return cost, MediaGaps(before_ns, media.take_longest_gap_ns())

    async def _work(self, work: Callable[[], None], tell: Callable[[], None]) -> PhaseCost:
        return await measure_work(
            work,
            clients=self._clients,
            server=self._server,
            client_cpu=self._options.relay.pinning.client_cpu,
            tell=tell,
        )
