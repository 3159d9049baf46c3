"""The one TCP port: accepts connections, peeks at each request's head, hands the connection to whom it is for.

Every connection lives in one supervised task and is always in one of three groups, each of them bounded, so
that a flood of one kind cannot starve the others:

- *pending*: its head has not arrived. At most ``MAX_PENDING``; a newcomer evicts the oldest, and none may
  stay longer than ``HEAD_SECONDS``. So half-open connections and slow-loris cost a slot for seconds at most.
- *web*: HTTP, at most ``MAX_WEB``; above it 503.
- *websockets*: at most ``max_connections``; above it the upgrade is accepted and closed with 1013, so that
  browsers see why.
"""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import trio

from signaling.counters import Counters
from signaling.courier import Courier
from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.peeked_stream import PeekedStream
from signaling.request_head import (
    MAX_HEAD_BYTES,
    Destination,
    RequestHead,
    head_is_complete,
    origin_is_allowed,
    parse_head,
)
from signaling.supervisor import supervise
from signaling.web_server import WebServer
from signaling.websocket import Ended, WebSocket, WebSocketLimits, serve_websocket

HEAD_SECONDS = 5.0
MAX_PENDING = 256
MAX_WEB = 256
#: How many clients at once may be told that the server is full.
MAX_REFUSING = 64
STOP_REASON = "the server is restarting or shutting down: reconnect and resume"

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

_log = get_logger(__name__)

WebSocketHandler = Callable[[WebSocket], Awaitable[None]]


class FrontDoor:
    """See the module."""

    def __init__(
        self,
        *,
        web_server: WebServer,
        handle_websocket: WebSocketHandler,
        limits: WebSocketLimits,
        keepalive_seconds: float,
        max_connections: int,
        allowed_origins: tuple[str, ...],
        counters: Counters,
    ) -> None:
        self._web_server = web_server
        self._handle_websocket = handle_websocket
        self._limits = limits
        self._courier = Courier(keepalive_seconds=keepalive_seconds)
        self._max_connections = max_connections
        self._allowed_origins = allowed_origins
        self._counters = counters
        self._streams: set[trio.SocketStream] = set()
        self._pending: dict[trio.SocketStream, trio.CancelScope] = {}
        self._sockets: set[WebSocket] = set()
        self._refusing = 0
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
        for scope in self._pending.values():
            scope.cancel()
        for socket in tuple(self._sockets):
            socket.close(CloseCode.GOING_AWAY, STOP_REASON)
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
            await supervise("connection", self._counters.failures, partial(self._serve_one, stream))
        finally:
            await trio.aclose_forcefully(stream)
            self._streams.discard(stream)
            if self._stopping and not self._streams:
                self._all_closed.set()

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        received = await self._read_head(stream)
        if not received:
            return
        head = parse_head(received)
        if head.destination is Destination.WEBSOCKET and self._may_connect(head):
            await self._serve_websocket(PeekedStream(stream, received))
            return
        peeked = PeekedStream(stream, received, send_timeout_seconds=self._limits.send_timeout_seconds)
        if self._counters.web < MAX_WEB:
            self._counters.web += 1
            try:
                await self._web_server.serve(peeked)
            finally:
                self._counters.web -= 1
        else:
            self._counters.refused["web_full"] += 1
            await self._answer_busy(peeked)

    async def _read_head(self, stream: trio.SocketStream) -> bytes:
        """Return the bytes up to the end of the head, or as many as we look at; nothing when it did not come."""
        if len(self._pending) >= MAX_PENDING:
            self._counters.refused["pending_evicted"] += 1
            self._pending.pop(next(iter(self._pending))).cancel()
        received = bytearray()
        with trio.move_on_after(HEAD_SECONDS) as scope:
            self._pending[stream] = scope
            self._counters.pending += 1
            try:
                while not head_is_complete(received):
                    piece = await stream.receive_some(MAX_HEAD_BYTES)
                    if not piece:
                        return b""
                    received += piece
            except trio.BrokenResourceError:
                return b""
            finally:
                evicted = self._pending.pop(stream, None) is None
                self._counters.pending -= 1
        if scope.cancelled_caught:
            self._counters.refused["head_timeout"] += not evicted
            return b""
        return bytes(received)

    def _may_connect(self, head: RequestHead) -> bool:
        if origin_is_allowed(head, self._allowed_origins):
            return True
        # The web application answers this upgrade, with 403.
        self._counters.refused["origin"] += 1
        _log.info("foreign origin refused", origin=(head.origin or "")[:100])
        return False

    async def _serve_websocket(self, stream: PeekedStream) -> None:
        if self._counters.websockets < self._max_connections:
            self._counters.websockets += 1
            try:
                self._note_end(
                    await serve_websocket(stream, self._run_websocket, self._limits, self._courier)
                )
            finally:
                self._counters.websockets -= 1
            return
        self._counters.refused["websockets_full"] += 1
        if self._refusing >= MAX_REFUSING:
            await self._answer_busy(stream)
            return
        self._refusing += 1
        try:
            self._note_end(await serve_websocket(stream, _refuse, self._limits, self._courier))
        finally:
            self._refusing -= 1

    async def _run_websocket(self, socket: WebSocket) -> None:
        self._sockets.add(socket)
        if self._stopping:
            socket.close(CloseCode.GOING_AWAY, STOP_REASON)
        try:
            await self._handle_websocket(socket)
        finally:
            self._sockets.discard(socket)

    def _note_end(self, ended: Ended) -> None:
        self._counters.websockets_closed[
            "client" if ended.by_client else CloseCode(ended.code).name.lower()
        ] += 1
        _log.info(
            "websocket ended",
            code=ended.code,
            reason=ended.reason[:200],
            by="client" if ended.by_client else "server",
        )

    async def _answer_busy(self, stream: PeekedStream) -> None:
        try:
            await stream.send_all(_BUSY)
            await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def _refuse(socket: WebSocket) -> None:
    socket.close(CloseCode.TRY_LATER, "the server is full")
    await trio.lowlevel.checkpoint()
