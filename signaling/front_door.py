"""The one TCP port: accepts connections, peeks at each request's head, hands the connection to whom it is for.

Every connection lives in one supervised task and is always in one of three groups, each of them bounded, so
that a flood of one kind cannot starve the others:

- *pending*: its head has not arrived. At most ``MAX_PENDING``; a newcomer evicts the oldest of the address that has
  most, and none may stay longer than ``HEAD_SECONDS`` (``pending_heads.py``).
- *web*: HTTP, at most ``MAX_WEB``; above it 503.
- *websockets*: the upgrades to an endpoint's path (``endpoints.py``, ``reception.py``). Above ``max_connections`` they
  are accepted and closed with 1013, so that browsers see why.
"""

import secrets
from collections.abc import Iterable
from functools import partial

import structlog
import trio

from signaling.address_limits import AddressLimits
from signaling.client_address import Network, client_address
from signaling.counters import Counters
from signaling.courier import Courier
from signaling.endpoints import Endpoint, Routes, request_info
from signaling.http_refusal import refuse_http
from signaling.logs import get_logger
from signaling.peeked_stream import PeekedStream
from signaling.pending_heads import PendingHeads
from signaling.reception import RETRY_SECONDS, Reception, printable
from signaling.request_head import (
    MAX_HEAD_BYTES,
    RequestHead,
    head_is_complete,
    origin_is_allowed,
    parse_head,
)
from signaling.supervisor import supervise
from signaling.web_server import WebServer

HEAD_SECONDS = 5.0
MAX_PENDING = 256
MAX_WEB = 256
#: How many clients at once may be told that the server is full.
MAX_REFUSING = 64

_log = get_logger(__name__)


class FrontDoor:
    """See the module. Proxies in ``trusted_proxies`` are believed whom they speak for."""

    def __init__(
        self,
        *,
        web_server: WebServer,
        endpoints: Iterable[Endpoint],
        keepalive_seconds: float,
        max_connections: int,
        address_limits: AddressLimits,
        allowed_origins: tuple[str, ...],
        send_timeout_seconds: float,
        counters: Counters,
        trusted_proxies: tuple[Network, ...] = (),
    ) -> None:
        self._web_server = web_server
        self._send_timeout_seconds = send_timeout_seconds
        self._routes = Routes(endpoints)
        self._courier = Courier(keepalive_seconds=keepalive_seconds)
        self._addresses = address_limits
        self._reception = Reception(
            courier=self._courier,
            counters=counters,
            addresses=address_limits,
            max_connections=max_connections,
            max_refusing=MAX_REFUSING,
        )
        self._allowed_origins = allowed_origins
        self._trusted_proxies = trusted_proxies
        self._counters = counters
        self._streams: set[trio.SocketStream] = set()
        self._pending = PendingHeads(MAX_PENDING)
        self._stopping = False
        self._all_closed = trio.Event()

    async def run(
        self, listeners: list[trio.SocketListener], stop: trio.Event, *, stop_seconds: float
    ) -> None:
        """Serve until ``stop``, then close every connection within ``stop_seconds``."""
        async with trio.open_nursery() as connections:
            connections.start_soon(self._courier.run)
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(
                        partial(trio.serve_listeners, self._serve, listeners, handler_nursery=connections)
                    )
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                await self._say_goodbye(stop_seconds)
            finally:
                # Hypercorn shields its writes from cancellation; a closed socket ends those too.
                for stream in self._streams:
                    stream.socket.close()
                connections.cancel_scope.cancel()

    async def _say_goodbye(self, stop_seconds: float) -> None:
        self._stopping = True
        self._pending.cancel_all()
        self._reception.stop()
        await self._web_server.stop()
        with trio.move_on_after(stop_seconds):
            if self._streams:
                await self._all_closed.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection_id = f"c-{secrets.token_hex(4)}"
        structlog.contextvars.bind_contextvars(connection=connection_id)
        self._counters.accepted += 1
        self._streams.add(stream)
        try:
            await supervise(
                "connection", self._counters.failures, partial(self._serve_one, stream, connection_id)
            )
        finally:
            await trio.aclose_forcefully(stream)
            self._streams.discard(stream)
            if self._stopping and not self._streams:
                self._all_closed.set()

    async def _serve_one(self, stream: trio.SocketStream, connection_id: str) -> None:
        peer_address = _peer_address(stream)
        received = await self._read_head(stream, peer_address)
        if not received:
            return
        head = parse_head(received)
        address = client_address(head.headers, peer_address, self._trusted_proxies)
        route = self._routes.find(head.path) if head.is_upgrade else None
        within_rate = self._addresses.take_connection(address, trio.current_time())
        if not within_rate:
            self._counters.refused["address_rate"] += 1
        if route is None:
            peeked = PeekedStream(stream, received, send_timeout_seconds=self._send_timeout_seconds)
            await self._serve_web(peeked, within_rate=within_rate)
            return
        peeked = PeekedStream(stream, received)
        endpoint, parameters = route
        if head.fault is not None:
            self._counters.refused["bad_upgrade"] += 1
            await refuse_http(peeked, 400, head.fault)
        elif endpoint.check_origin and not origin_is_allowed(head, self._allowed_origins):
            await self._refuse_origin(peeked, endpoint, head)
        elif not within_rate:
            reason = f"more than {self._addresses.per_second:g} connections a second from this address"
            await self._reception.turn_away(peeked, endpoint, 429, reason)
        else:
            request = request_info(
                endpoint,
                parameters,
                head,
                client_address=address,
                peer_address=peer_address,
                correlation_id=connection_id,
            )
            await self._reception.serve(peeked, endpoint, request)

    async def _read_head(self, stream: trio.SocketStream, peer_address: str) -> bytes:
        """Return the bytes up to the end of the head, or as many as we look at; nothing when it did not come."""
        received = bytearray()
        with self._pending.admit(peer_address) as pending:
            self._counters.refused["pending_evicted"] = self._pending.evicted
            self._counters.pending += 1
            pending.scope.deadline = trio.current_time() + HEAD_SECONDS
            try:
                with pending.scope:
                    while not head_is_complete(received):
                        piece = await stream.receive_some(MAX_HEAD_BYTES)
                        if not piece:
                            return b""
                        received += piece
            except trio.BrokenResourceError:
                return b""
            finally:
                self._counters.pending -= 1
        if pending.scope.cancelled_caught:
            self._counters.refused["head_timeout"] += not (pending.evicted or self._stopping)
            return b""
        return bytes(received)

    async def _serve_web(self, stream: PeekedStream, *, within_rate: bool) -> None:
        retry = {"Retry-After": str(RETRY_SECONDS)}
        if not within_rate:
            await refuse_http(
                stream, 429, "too many connections from this address: wait a moment", headers=retry
            )
        elif self._counters.web >= MAX_WEB:
            self._counters.refused["web_full"] += 1
            await refuse_http(stream, 503, "the server is busy: try again in a moment", headers=retry)
        else:
            self._counters.web += 1
            try:
                await self._web_server.serve(stream)
            finally:
                self._counters.web -= 1

    async def _refuse_origin(self, stream: PeekedStream, endpoint: Endpoint, head: RequestHead) -> None:
        self._counters.refused["origin"] += 1
        _log.info("foreign origin refused", endpoint=endpoint.name, origin=printable(head.origin or ""))
        await refuse_http(
            stream, 403, "pages of this origin may not connect; see the setting allowed_origins"
        )


def _peer_address(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:  # gone already
        return ""
