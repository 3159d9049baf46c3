"""The composition: every part of the service made from its settings and given what it needs. Nothing is global.

    relay ── sessions ── connections ── front door
               └─ lobbies ── bus ── event log

``run_server`` is one scope: inside it the service runs, leaving it ends everything in the reverse order.
"""

import os
from dataclasses import dataclass

import trio

import relay
from signaling.address_limits import AddressLimits
from signaling.admission import Gate, LobbyGate
from signaling.auth import Companies, GuardedPasswords, Passwords, ProtectedNames, TokenKey, Tokens
from signaling.bus import Bus
from signaling.connection import Connection
from signaling.counters import Counters
from signaling.endpoints import Endpoint, Handler, RequestInfo
from signaling.event_log import log_events
from signaling.front_door import FrontDoor
from signaling.listeners import open_listener
from signaling.lobbies import Lobbies
from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.overload import publish_overloads
from signaling.peer_path import Answerer, NobodyAnswers, PeerPath
from signaling.replay import REPLAY_CHARACTERS, REPLAY_SECONDS
from signaling.report import Service
from signaling.request_head import WEBSOCKET_PATH
from signaling.sessions import Sessions, open_sessions
from signaling.settings import Settings
from signaling.speaking import SpeakingMonitor
from signaling.storage import Store
from signaling.storage.memory import MemoryStore
from signaling.supervisor import supervise
from signaling.web_app import make_web_app
from signaling.web_server import WebServer
from signaling.websocket import WebSocket, WebSocketLimits

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a started server can be reached."""

    url: str
    pid: int
    port: int
    udp_ports: tuple[int, ...]
    #: What clients are told to send media to.
    addresses: tuple[str, ...]
    service: Service


async def run_server(
    settings: Settings,
    *,
    store: Store | None = None,
    token_key: TokenKey | None = None,
    answerer: Answerer | None = None,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[RunningServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``stop`` is set, then end in an orderly way within ``settings.stop_seconds``.

    Cancelling ends it at once. Without a store, nothing outlives the server; without an
    answerer, no bot answers those who write to one.

    Raises: ListenError, relay.LocalProtocolError when a port or an address cannot be used.
    """
    listener = open_listener(settings.host, settings.port)
    async with listener, relay.open_relay(_relay_config(settings)) as router:
        bus = Bus()
        counters = Counters()
        speaking = SpeakingMonitor()
        kept = MemoryStore() if store is None else store
        snapshot = await kept.load()
        passwords = GuardedPasswords(Passwords())
        companies = Companies(store=kept, records=snapshot.companies)
        names = ProtectedNames(store=kept, guarded=passwords, records=snapshot.names)
        lobbies = Lobbies(
            bus,
            store=kept,
            usage=companies.usage,
            on_audio=speaking.watch,
            replay_seconds=settings.resume_seconds + REPLAY_SECONDS,
            # Four bytes a character at most: what is replayed fits into half of a client's queue.
            replay_characters=min(REPLAY_CHARACTERS, settings.send_queue_bytes // 8),
        )
        gate = LobbyGate(
            lobbies=lobbies,
            names=names,
            passwords=passwords,
            tokens=Tokens(token_key, is_company=companies.is_enabled),
        )
        with bus.subscribe("event_log") as logged:
            async with (
                trio.open_nursery() as nursery,
                open_sessions(
                    lobbies=lobbies,
                    bus=bus,
                    router=router,
                    store=kept,
                    usage=companies.usage,
                    resume_seconds=settings.resume_seconds,
                    failures=counters.failures,
                    snapshot=snapshot,
                ) as sessions,
            ):
                service = Service(router, bus, lobbies, sessions, counters, names, companies)
                nursery.start_soon(log_events, logged)
                nursery.start_soon(speaking.run)
                nursery.start_soon(publish_overloads, router, bus)
                peer_path = PeerPath(
                    sessions=sessions,
                    lobbies=lobbies,
                    gate=gate,
                    companies=companies,
                    bus=bus,
                    answerer=NobodyAnswers() if answerer is None else answerer,
                    ice_servers=settings.ice_servers,
                    counters=counters,
                )
                nursery.start_soon(peer_path.run)
                front_door = FrontDoor(
                    web_server=WebServer(make_web_app(service)),
                    endpoints=[
                        Endpoint(
                            "clients",
                            WEBSOCKET_PATH.decode(),
                            _connection_handler(settings, sessions, counters, kept, gate, companies),
                            _websocket_limits(settings),
                        ),
                        peer_path.endpoint(_websocket_limits(settings)),
                    ],
                    keepalive_seconds=settings.keepalive_seconds,
                    max_connections=settings.max_connections,
                    address_limits=AddressLimits(),
                    allowed_origins=settings.allowed_origins,
                    send_timeout_seconds=settings.send_timeout_seconds,
                    counters=counters,
                )
                task_status.started(_running(settings, listener, service))
                await front_door.run(
                    [listener], trio.Event() if stop is None else stop, stop_seconds=settings.stop_seconds
                )
                nursery.cancel_scope.cancel()


def _connection_handler(
    settings: Settings,
    sessions: Sessions,
    counters: Counters,
    store: Store,
    gate: Gate,
    companies: Companies,
) -> Handler:
    async def handle(socket: WebSocket, request: RequestInfo) -> None:
        connection = Connection(
            socket,
            sessions=sessions,
            store=store,
            gate=gate,
            usage=companies.usage,
            counters=counters,
            max_message_bytes=settings.max_message_bytes,
            keepalive_seconds=settings.keepalive_seconds,
            client_address=request.client_address,
        )
        if not await supervise("request", counters.failures, connection.run):
            socket.close(CloseCode.INTERNAL, "the server failed on this connection")

    return handle


def _relay_config(settings: Settings) -> relay.RelayConfig:
    return relay.RelayConfig(
        host=settings.host,
        udp_port=settings.udp_port,
        workers=settings.workers,
        public_addresses=settings.public_address,
        max_peers=settings.max_peers,
        max_outbound_streams=settings.max_outbound_streams,
    )


def _websocket_limits(settings: Settings) -> WebSocketLimits:
    return WebSocketLimits(
        max_message_bytes=settings.max_message_bytes,
        send_queue_bytes=settings.send_queue_bytes,
        send_timeout_seconds=settings.send_timeout_seconds,
    )


def _running(settings: Settings, listener: trio.SocketListener, service: Service) -> RunningServer:
    port = listener.socket.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104 - a comparison
    shown = f"[{host}]" if ":" in host else host
    running = RunningServer(
        url=f"http://{shown}:{port}",
        pid=os.getpid(),
        port=port,
        udp_ports=service.router.udp_ports,
        addresses=service.router.addresses,
        service=service,
    )
    _log.info("serving", url=running.url, udp_ports=running.udp_ports, addresses=running.addresses)
    return running
