"""A WebSocket to a service outside, for the length of a scope: text and bytes both ways, and one way to be lost.

It never reconnects; that is ``recovery``'s business. A service that takes nothing for ``send_s``, or does not answer a ping, is
lost, and so is one that closes.
"""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlencode, urlsplit, urlunsplit

import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from voicebot.nursery import open_bare_nursery
from voicebot.services.api_key import ApiKey
from voicebot.services.errors import ServiceRefusedError, ServiceUnavailableError
from voicebot.stream import OpenStream, WatchedStream, WebSocketUrl, open_tcp

#: A second of 24 kHz audio in base64 is 64 KiB; the events around it are small.
MAX_MESSAGE_BYTES = 4 * 2**20
#: Messages between the library's reader and ours; the service waits when they are not read.
MESSAGE_QUEUE_LENGTH = 64
#: What the kernel takes beyond what is on its way. Its own default would hide minutes of audio from who must drop it.
UNSENT_BYTES = 16 * 1024
#: HTTP statuses with which trying again is of use: timeouts, too many requests, no money, and what is the server's fault.
RETRYABLE_STATUSES = frozenset({402, 408, 425, 429, *range(500, 600)})
#: As much of what a service says of its refusal is passed on.
MAX_REASON_LENGTH = 300


#: What opening may end with. trio-websocket lets the last one out when the other side speaks no HTTP.
_FAILURES = (
    trio.TooSlowError,
    ConnectionRejected,
    ConnectionClosed,
    OSError,
    trio.BrokenResourceError,
    h11.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class SocketTimeouts:
    """How long to wait for a service, in seconds."""

    #: TCP, TLS and the opening handshake, together.
    connect_s: float = 5.0
    #: One message taken.
    send_s: float = 5.0
    #: A ping is sent this often, and its pong must come within as long again.
    keepalive_s: float = 15.0
    #: The closing handshake.
    close_s: float = 1.0


def socket_address(base_url: str, path: str, query: list[tuple[str, str]]) -> str:
    """Return the address of a WebSocket of a service whose base URL is given, as ``http``, ``https``, ``ws`` or ``wss``.

    Raises: ValueError.
    """
    try:
        parts = urlsplit(base_url)
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
        parts.port  # noqa: B018 - raises for one that is none
    except ValueError:
        scheme = None
    if scheme is None or not parts.hostname or parts.username is not None:
        raise ValueError(f"expected a base URL like https://host or wss://host:port/path, not {base_url!r}")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, urlencode(query), ""))


@asynccontextmanager
async def open_service_socket(
    service: str,
    url: str,
    *,
    key: ApiKey | None,
    scheme: str = "Bearer",
    timeouts: SocketTimeouts,
    open_stream: OpenStream | None = None,
) -> AsyncGenerator["ServiceSocket", None]:
    """Open a WebSocket; leaving the scope closes it, politely unless the body failed or was cancelled.

    ``scheme`` is what stands before the key in the header ``Authorization``. ``open_stream`` replaces TCP, for proxies and tests.

    Raises: ServiceRefusedError, ServiceUnavailableError; ValueError for a malformed URL.
    """
    address = WebSocketUrl.parse(url)
    headers = [] if key is None else [(b"authorization", f"{scheme} {key.reveal()}".encode("ascii"))]
    opened = False
    try:
        with trio.fail_after(timeouts.connect_s) as connecting:
            stream = WatchedStream(await (open_stream or partial(_open_tcp, address))())
            try:
                async with open_bare_nursery() as nursery:
                    websocket = await _shake_hands(nursery, stream, address, headers)
                    connecting.deadline = float("inf")
                    opened = True
                    service_socket = ServiceSocket(service, websocket, stream, timeouts)
                    nursery.start_soon(service_socket.keep_alive)
                    yield service_socket
                    with trio.move_on_after(timeouts.close_s):
                        await websocket.aclose()
            finally:
                await trio.aclose_forcefully(stream)
    except (*_FAILURES, ExceptionGroup) as error:
        failure = None if opened else _failure_of(error)
        if failure is None:
            raise
        raise _explain_failure(service, failure, address, key, timeouts) from None


def _failure_of(error: Exception) -> Exception | None:
    """Return what opening failed with. The library's reader may fail beside us, and then there are two."""
    while isinstance(error, ExceptionGroup):
        if error.split(_FAILURES)[1] is not None:
            return None
        error = error.exceptions[0]
    return error


async def _open_tcp(address: WebSocketUrl) -> trio.abc.Stream:
    stream = await open_tcp(address, None)
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return stream


async def _shake_hands(
    nursery: trio.Nursery, stream: WatchedStream, address: WebSocketUrl, headers: list[tuple[bytes, bytes]]
) -> WebSocketConnection:
    websocket: WebSocketConnection | None = None
    with trio.CancelScope() as attempt:

        async def give_up() -> None:
            await stream.ended.wait()
            attempt.cancel()

        nursery.start_soon(give_up)
        websocket = await wrap_client_stream(
            nursery,
            cast("trio.SocketStream", stream),  # annotated too narrowly: any stream will do
            address.host_header,
            address.resource,
            extra_headers=headers,
            max_message_size=MAX_MESSAGE_BYTES,
            message_queue_size=MESSAGE_QUEUE_LENGTH,
        )
    if websocket is None:
        raise ConnectionResetError("it closed the connection during the opening handshake")
    return websocket


def _explain_failure(
    service: str, error: Exception, address: WebSocketUrl, key: ApiKey | None, timeouts: SocketTimeouts
) -> ServiceRefusedError | ServiceUnavailableError:
    host = address.host_header
    if isinstance(error, ConnectionRejected):
        said = (error.body or b"").decode(errors="replace").strip()
        said = (said if key is None else key.redact(said))[:MAX_REASON_LENGTH]
        text = f"answered HTTP {error.status_code} at {host}" + (f": {said}" if said else "")
        if error.status_code in RETRYABLE_STATUSES:
            return ServiceUnavailableError(service, text, code=error.status_code)
        return ServiceRefusedError(service, text, status=error.status_code)
    if isinstance(error, trio.TooSlowError):
        return ServiceUnavailableError(
            service, f"cannot be reached: {host} did not answer within {timeouts.connect_s:g} s"
        )
    if isinstance(error, h11.LocalProtocolError):
        return ServiceUnavailableError(service, f"cannot be reached: {host} speaks no HTTP")
    # A failed TLS handshake says nothing itself; what it was caused by does.
    cause = str(error) or error.__cause__ or type(error).__name__
    return ServiceUnavailableError(service, f"cannot be reached at {host}: {cause}")


class ServiceSocket:
    """An open WebSocket; made by ``open_service_socket``, which runs ``keep_alive``."""

    def __init__(
        self, service: str, websocket: WebSocketConnection, stream: trio.abc.Stream, timeouts: SocketTimeouts
    ) -> None:
        self._service = service
        self._websocket = websocket
        self._stream = stream
        self._timeouts = timeouts
        self._loss: ServiceUnavailableError | None = None

    async def send(self, message: str | bytes) -> None:
        """Send one message, text or binary.

        Raises: ServiceUnavailableError.
        """
        if self._loss is not None:
            raise self._loss
        with trio.move_on_after(self._timeouts.send_s) as sending:
            try:
                await self._websocket.send_message(message)
            except ConnectionClosed as closed:
                raise self._lose(self._explain(closed)) from None
        if sending.cancelled_caught:
            # A frame that is cancelled half-way breaks the stream.
            raise await self.abort(f"took nothing for {self._timeouts.send_s:g} s")

    async def abort(self, text: str) -> ServiceUnavailableError:
        """Break the connection; whoever sends and receives on it is told why. Returns what they are told."""
        loss = self._lose(text)
        await trio.aclose_forcefully(self._stream)
        return loss

    async def receive(self) -> str | bytes:
        """Wait for a message.

        Raises: ServiceUnavailableError, with the close code if there was one.
        """
        try:
            return await self._websocket.get_message()
        except ConnectionClosed as closed:
            code = None if closed.reason is None else closed.reason.code
            raise self._lose(self._explain(closed), code) from None

    async def keep_alive(self) -> None:
        """Ping regularly; a missing pong loses the connection."""
        while True:
            await trio.sleep(self._timeouts.keepalive_s)
            with trio.move_on_after(self._timeouts.keepalive_s) as waiting:
                try:
                    await self._websocket.ping()
                except ConnectionClosed:
                    return  # who receives is told
            if waiting.cancelled_caught:
                await self.abort(f"sent no pong within {self._timeouts.keepalive_s:g} s")
                return

    def _lose(self, text: str, code: int | None = None) -> ServiceUnavailableError:
        if self._loss is None:
            self._loss = ServiceUnavailableError(self._service, text, code=code)
        return self._loss

    def _explain(self, closed: ConnectionClosed) -> str:
        reason = closed.reason
        if reason is None or reason.code == 1006:  # RFC 6455 section 7.1.5: no close frame was received
            return "broke the connection"
        return f"closed the connection: {(reason.reason or f'code {reason.code}')[:MAX_REASON_LENGTH]}"
