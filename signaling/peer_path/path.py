"""The peer path as a part of the server: its endpoint, and the task that tells peers what happens in their lobbies."""

from collections.abc import Iterable
from functools import partial

from signaling import events
from signaling.admission import Gate
from signaling.auth import Companies
from signaling.bus import Bus
from signaling.counters import Counters
from signaling.dialect import Dialect
from signaling.drain import Drain
from signaling.endpoints import Endpoint, RefusedWebSocketError, RequestInfo
from signaling.event_handler import run_batch_handler
from signaling.lobbies import Lobbies
from signaling.messages import CloseCode
from signaling.peer_path.address import KEY_PARAMETER, PEER_PARAMETER, PeerAddress, read_address
from signaling.peer_path.answerer import Answerer
from signaling.peer_path.codes import PeerErrorCode
from signaling.peer_path.connection import PeerConnection
from signaling.peer_path.directory import Directory
from signaling.peer_path.hearing import voices_in
from signaling.peer_path.messages import Config, PeerError, encode_reply
from signaling.sessions import Sessions
from signaling.settings import IceServer
from signaling.stamped import Stamped
from signaling.supervisor import supervise
from signaling.websocket import WebSocket, WebSocketLimits

PATTERN = f"/signal/{{{PEER_PARAMETER}}}/{{{KEY_PARAMETER}}}"
#: The name of the endpoint in logs and metrics, and of its subscription to the bus.
NAME = "peers"

#: After these a peer may have to hear somebody else, or nobody.
_CHANGES = (events.TrackStarted, events.TrackEnded, events.ParticipantGone, events.SpeakingChanged)

FLAT = Dialect(
    closing=lambda reason: encode_reply(PeerError(code=PeerErrorCode.CLOSING, error=reason)),
    error=lambda code, text: encode_reply(PeerError(code=code, error=text)),
)


class PeerPath:
    """See the module. ``run`` must run as long as the endpoint is served."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        lobbies: Lobbies,
        gate: Gate,
        companies: Companies,
        bus: Bus,
        answerer: Answerer,
        drain: Drain,
        ice_servers: Iterable[IceServer],
        counters: Counters,
    ) -> None:
        self._sessions = sessions
        self._lobbies = lobbies
        self._gate = gate
        self._companies = companies
        self._bus = bus
        self._answerer = answerer
        self._drain = drain
        self._counters = counters
        self._config = Config(ice_servers=tuple(_shown(each) for each in ice_servers))
        self._directory = Directory()

    def __len__(self) -> int:
        """How many peers are connected."""
        return len(self._directory)

    def endpoint(self, limits: WebSocketLimits) -> Endpoint:
        """Return where peers connect.

        Pages of any origin may: none has the key but from whoever runs the company's pages.
        """
        return Endpoint(
            NAME,
            PATTERN,
            self._serve,
            limits,
            authorize=self._authorize,
            check_origin=False,
            dialect=FLAT,
        )

    async def run(self) -> None:
        """Tell peers what happens in their lobbies, for ever."""
        with self._bus.subscribe(NAME, types=(*_CHANGES, events.LobbyClosed)) as subscription:
            await run_batch_handler(subscription, self._follow, batch_seconds=0)

    async def _authorize(self, request: RequestInfo) -> PeerAddress:
        address = read_address(request, self._companies)
        reason = self._drain.refusal()
        if reason is not None:
            raise RefusedWebSocketError(CloseCode.TRY_LATER, reason)
        return address

    async def _serve(self, socket: WebSocket, request: RequestInfo) -> None:
        assert isinstance(request.principal, PeerAddress)
        connection = PeerConnection(
            socket,
            request.principal,
            sessions=self._sessions,
            gate=self._gate,
            usage=self._companies.usage,
            is_enabled=self._companies.is_enabled,
            directory=self._directory,
            answerer=self._answerer,
            config=self._config,
            counters=self._counters,
            client_address=request.client_address,
            correlation_id=request.correlation_id,
        )
        if not await supervise("peer_request", self._counters.failures, partial(connection.run)):
            socket.close(CloseCode.INTERNAL, "the server failed on this connection")

    async def _follow(self, batch: list[Stamped]) -> None:
        """Look once at each lobby in which something happened."""
        lobby_ids: dict[str, None] = {}
        for stamped in batch:
            assert isinstance(stamped.event, events.LobbyEvent)
            lobby_ids[stamped.event.lobby_id] = None
        for lobby_id in lobby_ids:
            peers = tuple(self._directory.in_lobby(lobby_id))
            lobby = self._lobbies.get(lobby_id)
            if lobby is None:
                for peer in peers:
                    peer.lobby_closed()
                continue
            choosing = [peer for peer in peers if peer.chooses_voices]
            voices = voices_in(lobby) if choosing else None
            for peer in choosing:
                assert voices is not None
                peer.choose_voices(voices)


def _shown(server: IceServer) -> dict[str, object]:
    """Return what a browser calls an ``RTCIceServer``; clients need its credential."""
    shown: dict[str, object] = {"urls": list(server.urls)}
    if server.username is not None:
        shown["username"] = server.username
    if server.credential is not None:
        shown["credential"] = server.credential.get_secret_value()
    return shown
