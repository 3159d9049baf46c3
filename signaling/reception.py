"""Taking a WebSocket in: is there a place, may it come in, then the upgrade, and what is said at the end.

Places are bounded in all, for each endpoint and for each client address. Who finds none is let in all the same, if not
too many are, to be closed at once with 1013 and the reason, for of an HTTP answer a page in a browser sees nothing.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import trio

from signaling.address_limits import AddressLimits
from signaling.counters import Counters
from signaling.courier import Courier
from signaling.endpoints import Endpoint, RefusedUpgradeError, RefusedWebSocketError, RequestInfo
from signaling.http_refusal import refuse_http
from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.peeked_stream import PeekedStream
from signaling.websocket import Ended, WebSocket, serve_websocket

STOP_REASON = "the server is restarting or shutting down: reconnect and resume"
RETRY_SECONDS = 5

_log = get_logger(__name__)


class NoPlaceError(Exception):
    """There is no place; ``counter`` is what the refusal counts as."""

    def __init__(self, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.counter = counter
        self.reason = reason


class Reception:
    """See the module."""

    def __init__(
        self,
        *,
        courier: Courier,
        counters: Counters,
        addresses: AddressLimits,
        max_connections: int,
        max_refusing: int,
    ) -> None:
        self._courier = courier
        self._counters = counters
        self._addresses = addresses
        self._max_connections = max_connections
        self._max_refusing = max_refusing
        self._open: Counter[str] = Counter()
        self._sockets: set[WebSocket] = set()
        self._refusing = 0
        self._stopping = False

    async def serve(self, stream: PeekedStream, endpoint: Endpoint, request: RequestInfo) -> None:
        """Serve one client to its end; closes the stream."""
        try:
            with self._place(endpoint, request.client_address):
                await self._admit(stream, endpoint, request)
        except NoPlaceError as error:
            self._counters.refused[error.counter] += 1
            status = 503 if error.counter.endswith("_full") else 429
            await self.turn_away(stream, endpoint, status, error.reason)

    async def turn_away(self, stream: PeekedStream, endpoint: Endpoint, status: int, reason: str) -> None:
        """Close with 1013 and the reason; with this HTTP status when too many are being told already."""
        if self._refusing >= self._max_refusing:
            await refuse_http(stream, status, reason, headers={"Retry-After": str(RETRY_SECONDS)})
            return
        self._refusing += 1
        try:
            await self._run(stream, endpoint, partial(_close, code=CloseCode.TRY_LATER, reason=reason))
        finally:
            self._refusing -= 1

    def stop(self) -> None:
        """Close all with 1001, and those that are still to come."""
        self._stopping = True
        for socket in tuple(self._sockets):
            socket.close(CloseCode.GOING_AWAY, STOP_REASON)

    @contextmanager
    def _place(self, endpoint: Endpoint, address: str) -> Iterator[None]:
        """Hold a place for the length of a scope.

        Raises: NoPlaceError.
        """
        counters, taken = self._counters, self._open[endpoint.name]
        if endpoint.max_connections is not None and taken >= endpoint.max_connections:
            raise NoPlaceError("endpoint_full", "no more connections are taken here")
        if counters.websockets >= self._max_connections and taken >= endpoint.reserved:
            raise NoPlaceError("websockets_full", "the server is full")
        if not self._addresses.open(address):
            reason = f"{self._addresses.max_open} connections are open from this address, which is the limit"
            raise NoPlaceError("address_websockets", reason)
        counters.websockets += 1
        self._open[endpoint.name] += 1
        try:
            yield
        finally:
            counters.websockets -= 1
            self._open[endpoint.name] -= 1
            self._addresses.close(address)

    async def _admit(self, stream: PeekedStream, endpoint: Endpoint, request: RequestInfo) -> None:
        if endpoint.authorize is not None:
            try:
                request = await _authorized(endpoint, request)
            except RefusedUpgradeError as error:
                self._note_refusal(endpoint, request, error.status)
                await refuse_http(stream, error.status, error.detail, headers=error.headers)
                return
            except RefusedWebSocketError as error:
                self._note_refusal(endpoint, request, error.code)
                await self._run(stream, endpoint, partial(_close, code=error.code, reason=error.reason))
                return
        await self._run(stream, endpoint, partial(self._handle, endpoint, request))

    async def _run(
        self, stream: PeekedStream, endpoint: Endpoint, handler: Callable[[WebSocket], Awaitable[None]]
    ) -> None:
        ended = await serve_websocket(
            stream, handler, endpoint.limits, self._courier, dialect=endpoint.dialect
        )
        self._note_end(endpoint, ended)

    async def _handle(self, endpoint: Endpoint, request: RequestInfo, socket: WebSocket) -> None:
        self._sockets.add(socket)
        if self._stopping:
            socket.close(CloseCode.GOING_AWAY, STOP_REASON)
        try:
            await endpoint.handler(socket, request)
        finally:
            self._sockets.discard(socket)

    def _note_refusal(self, endpoint: Endpoint, request: RequestInfo, code: int) -> None:
        self._counters.refused["unauthorized"] += 1
        _log.info("websocket refused", endpoint=endpoint.name, code=code, client=request.client_address)

    def _note_end(self, endpoint: Endpoint, ended: Ended) -> None:
        self._counters.websockets_closed["client" if ended.by_client else _code_name(ended.code)] += 1
        _log.info(
            "websocket ended",
            endpoint=endpoint.name,
            code=ended.code,
            reason=printable(ended.reason),
            by="client" if ended.by_client else "server",
        )


def printable(text_untrusted: str) -> str:
    """Return what may be written to a log of what a client sent: a bounded part of it, in which nothing is a control character."""
    return text_untrusted[:200].encode("unicode_escape").decode("ascii")


async def _authorized(endpoint: Endpoint, request: RequestInfo) -> RequestInfo:
    """Return the request with whom it comes from.

    Raises: RefusedUpgradeError, RefusedWebSocketError.
    """
    assert endpoint.authorize is not None
    with trio.move_on_after(endpoint.limits.handshake_seconds):
        return replace(request, principal=await endpoint.authorize(request))
    raise RefusedUpgradeError(503, "it takes too long to find out who you are: try again in a while")


async def _close(socket: WebSocket, *, code: int, reason: str) -> None:
    socket.close(code, reason)
    await trio.lowlevel.checkpoint()


def _code_name(code: int) -> str:
    try:
        return CloseCode(code).name.lower()
    except ValueError:
        return str(code)
