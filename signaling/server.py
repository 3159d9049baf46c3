"""The composition: every part of the service made from its settings and given what it needs. Nothing is global.

    store ── access ──┐
    relay ── sessions ┼─ connections ── front door
               └─ lobbies ── bus ── event log, event store, webhooks, event feed

``run_server`` is one scope: inside it the service runs, leaving it ends everything in the reverse order.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

import relay
from signaling.access import make_access, token_key_of
from signaling.address_limits import AddressLimits
from signaling.admission import LobbyGate
from signaling.auth import TokenKey
from signaling.bots import BotService, Deadlines, bots_endpoint
from signaling.client_address import parse_networks
from signaling.connection import Connection
from signaling.counters import Counters
from signaling.data_directory import make_data_directory
from signaling.disk import Disk
from signaling.drain import Drain
from signaling.endpoints import Endpoint, Handler, RequestInfo
from signaling.eventing import open_eventing
from signaling.front_door import FrontDoor
from signaling.listeners import open_listener
from signaling.lobbies import Lobbies
from signaling.logs import get_logger
from signaling.loop_lag import LoopLag
from signaling.messages import CloseCode
from signaling.overload import publish_overloads
from signaling.peer_path import Answerer, PeerPath
from signaling.readiness import Readiness
from signaling.replay import REPLAY_CHARACTERS, REPLAY_SECONDS
from signaling.report import Service
from signaling.request_head import WEBSOCKET_PATH
from signaling.sessions import open_sessions
from signaling.settings import MEMORY_DATABASE, Settings
from signaling.speaking import SpeakingMonitor
from signaling.storage import Store
from signaling.storage.opening import open_store
from signaling.storage.retention import Keep
from signaling.supervisor import supervise
from signaling.telephony import OpenLine
from signaling.telephony.bots import TwilioBots
from signaling.telephony.lobby_digits import LobbyDigits
from signaling.telephony.lobby_lines import LobbyLines
from signaling.telephony.routes import telephony_endpoints
from signaling.tracing.tracer import Tracer, open_tracing
from signaling.voices.mix import OpenMix
from signaling.web_app import make_web_app
from signaling.web_server import WebServer
from signaling.webhooks.endpoint import webhook_endpoints
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
    bot_deadlines: Deadlines | None = None,
    open_mix: OpenMix | None = None,
    open_line: OpenLine | None = None,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[RunningServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``stop`` is set, then end in an orderly way within ``settings.stop_seconds``.

    Cancelling ends it at once. A store and a token key that are given stand for those of the settings; an answerer
    stands for the bots of lobbies; ``open_mix`` makes their mixers instead of the relay, and ``open_line`` the lines of
    telephone calls instead of the lobbies.

    Raises, in exception groups: ListenError, relay.LocalProtocolError when a port or an address cannot be used,
    StoreOpenError, DataDirectoryError, TracingError, AdminTokenError, TokenKeyError, WebhookConfigurationError.
    """
    counters = Counters()
    async with (
        open_listener(settings.host, settings.port) as listener,
        open_tracing(settings.otlp_endpoint) as tracer,
        _store_of(settings, store, tracer) as kept,
        relay.open_relay(_relay_config(settings)) as router,
    ):
        snapshot = await kept.load()
        key = await trio.to_thread.run_sync(token_key_of, settings) if token_key is None else token_key
        access = make_access(settings, store=kept, snapshot=snapshot, token_key=key)
        speaking = SpeakingMonitor()
        async with (
            open_eventing(
                store=kept,
                event_seq=snapshot.event_seq,
                admin_gate=access.admin,
                counters=counters,
                feed_limits=_websocket_limits(settings),
                webhooks=webhook_endpoints(settings.webhooks),
                tracer=tracer,
            ) as eventing,
            trio.open_nursery() as nursery,
        ):
            lobbies = Lobbies(
                eventing.bus,
                store=kept,
                usage=access.companies.usage,
                on_audio=speaking.watch,
                open_mix=open_mix or router.open_mix,
                replay_seconds=settings.resume_seconds + REPLAY_SECONDS,
                # Four bytes a character at most: what is replayed fits into half of a client's queue.
                replay_characters=min(REPLAY_CHARACTERS, settings.send_queue_bytes // 8),
            )
            async with open_sessions(
                lobbies=lobbies,
                bus=eventing.bus,
                router=router,
                store=kept,
                usage=access.companies.usage,
                resume_seconds=settings.resume_seconds,
                failures=counters.failures,
                snapshot=snapshot,
            ) as sessions:
                drain, loop_lag = Drain(), LoopLag()
                bots = BotService(
                    lobbies=lobbies,
                    bus=eventing.bus,
                    store=kept,
                    usage=access.companies.usage,
                    drain=drain,
                    failures=counters.failures,
                    deadlines=bot_deadlines,
                )
                service = Service(
                    settings=settings,
                    router=router,
                    bus=eventing.bus,
                    lobbies=lobbies,
                    sessions=sessions,
                    counters=counters,
                    store=kept,
                    access=access,
                    gate=LobbyGate(
                        lobbies=lobbies,
                        names=access.names,
                        passwords=access.passwords,
                        tokens=access.tokens,
                        tickets=bots,
                    ),
                    bots=bots,
                    address_limits=AddressLimits(max_open=settings.max_connections_per_address),
                    webhooks=eventing.webhooks,
                    drain=drain,
                    loop_lag=loop_lag,
                    readiness=Readiness(
                        router_statistics=router.statistics,
                        loop_lag=loop_lag,
                        drain=drain,
                        store_statistics=kept.statistics,
                        disk=None
                        if settings.database_url == MEMORY_DATABASE
                        else Disk(settings.data_dir.absolute()),
                    ),
                    tracer=tracer,
                )
                bots.restore(snapshot.bots)
                peer_path = _peer_path(service, answerer or bots)
                nursery.start_soon(loop_lag.run)
                nursery.start_soon(speaking.run)
                nursery.start_soon(publish_overloads, router, eventing.bus)
                nursery.start_soon(peer_path.run)
                nursery.start_soon(bots.run)
                limits = _websocket_limits(settings)
                clients = Endpoint("clients", WEBSOCKET_PATH.decode(), _connection_handler(service), limits)
                endpoints = [clients, peer_path.endpoint(limits), eventing.feed, _bots_endpoint(service)]
                lines = open_line or LobbyLines(sessions=sessions, lobbies=lobbies, gate=service.gate)
                endpoints += _telephony_endpoints(service, lines)
                if settings.twilio_bots:
                    await nursery.start(_twilio_bots(service, lines).run)
                front_door = _front_door(service, endpoints)
                task_status.started(_running(settings, listener, service))
                await front_door.run(
                    [listener], trio.Event() if stop is None else stop, stop_seconds=settings.stop_seconds
                )
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _store_of(settings: Settings, given: Store | None, tracer: Tracer) -> AsyncIterator[Store]:
    if given is not None:
        yield given
        return
    if settings.database is None:
        await trio.to_thread.run_sync(make_data_directory, settings.data_dir)
    keep = Keep(
        events_days=settings.keep_events_days,
        chat_days=settings.keep_chat_days,
        audit_days=settings.keep_audit_days,
    )
    async with open_store(
        settings.database_url, queue_changes=settings.store_queue_changes, keep=keep, tracer=tracer
    ) as store:
        yield store


def _peer_path(service: Service, answerer: Answerer) -> PeerPath:
    return PeerPath(
        sessions=service.sessions,
        lobbies=service.lobbies,
        gate=service.gate,
        companies=service.access.companies,
        bus=service.bus,
        answerer=answerer,
        drain=service.drain,
        ice_servers=service.settings.ice_servers,
        counters=service.counters,
    )


def _bots_endpoint(service: Service) -> Endpoint:
    return bots_endpoint(
        service.bots,
        gate=service.access.admin,
        companies=service.access.companies,
        counters=service.counters,
        limits=_websocket_limits(service.settings),
    )


def _telephony_endpoints(service: Service, open_line: OpenLine) -> tuple[Endpoint, ...]:
    return telephony_endpoints(
        service.settings,
        open_line,
        drain=service.drain,
        counters=service.counters,
        limits=_websocket_limits(service.settings),
    )


def _twilio_bots(service: Service, open_line: OpenLine) -> TwilioBots:
    return TwilioBots(
        service.bots,
        open_line,
        capacity=service.settings.twilio_bots,
        failures=service.counters.failures,
        digits=LobbyDigits(service.bus),
    )


def _front_door(service: Service, endpoints: list[Endpoint]) -> FrontDoor:
    settings = service.settings
    return FrontDoor(
        web_server=WebServer(make_web_app(service)),
        endpoints=endpoints,
        keepalive_seconds=settings.keepalive_seconds,
        max_connections=settings.max_connections,
        address_limits=service.address_limits,
        allowed_origins=settings.allowed_origins,
        send_timeout_seconds=settings.send_timeout_seconds,
        counters=service.counters,
        trusted_proxies=parse_networks(settings.trusted_proxies),
    )


def _connection_handler(service: Service) -> Handler:
    async def handle(socket: WebSocket, request: RequestInfo) -> None:
        connection = Connection(
            socket,
            sessions=service.sessions,
            store=service.store,
            gate=service.gate,
            usage=service.access.companies.usage,
            counters=service.counters,
            drain=service.drain,
            tracer=service.tracer,
            max_message_bytes=service.settings.max_message_bytes,
            keepalive_seconds=service.settings.keepalive_seconds,
            client_address=request.client_address,
        )
        with service.tracer.span("connection", alone=True, endpoint="clients"):
            if not await supervise("request", service.counters.failures, connection.run):
                socket.close(CloseCode.INTERNAL, "the server failed on this connection")

    return handle


def _relay_config(settings: Settings) -> relay.RelayConfig:
    return relay.RelayConfig(
        host=settings.host,
        udp_port=settings.udp_port,
        workers=settings.workers,
        mixers=settings.mixers,
        public_addresses=settings.public_address,
        max_peers=settings.max_peers,
        max_outbound_streams=settings.max_outbound_streams,
    )


def _websocket_limits(settings: Settings) -> WebSocketLimits:
    return WebSocketLimits(
        max_message_bytes=settings.max_message_bytes,
        send_queue_bytes=settings.send_queue_bytes,
        send_timeout_seconds=settings.send_timeout_seconds,
        compression=settings.compression,
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
