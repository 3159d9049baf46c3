"""WebSockets that we open: to bots, at URLs that somebody else may have chosen.

The way out is the one of all outbound calls (``signaling/outbound``): the name is resolved here and each address judged, so that
who is not the operator reaches the public Internet only; no redirects, no proxies. Connecting, TLS and the opening handshake
have one deadline. What fails before the WebSocket is open is tried again by the one retry policy, if it may succeed then: no
connection, no answer in time, HTTP 5xx or "come again". Once open it is never replaced: a bot's conversation is gone with it.
"""

import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import cast

import httpcore
import httpx
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from signaling.messages import CloseCode
from signaling.outbound.errors import (
    OutboundError,
    RedirectRefusedError,
    TargetRefusedError,
    UnreachableError,
    status_error,
)
from signaling.outbound.network import OutboundNetwork, Resolve, system_resolver
from signaling.outbound.retry import GaveUpError, RetryPolicy, retry
from signaling.outbound.target import check_url, origin_of
from signaling.version import SERVER_NAME, server_version
from signaling.websocket import Disconnected

_SCHEMES = {"ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class BotSocketLimits:
    """How patient we are with a bot, and how much we take."""

    #: Resolving, TCP, TLS and the opening handshake of one attempt, together.
    connect_seconds: float = 5.0
    #: One message written.
    send_seconds: float = 10.0
    #: What is queued, and the closing handshake.
    close_seconds: float = 1.0
    #: Five minutes of mu-law in base64.
    max_message_bytes: int = 4 * 2**20
    #: Messages between the library's reader and ours; beyond them the bot's sending waits.
    messages: int = 64
    #: What may wait to be written, all kinds of messages: the bot is too slow then.
    send_queue_bytes: int = 256 * 1024


LIMITS = BotSocketLimits()
RETRIES = RetryPolicy(attempts=3, base_seconds=0.25, cap_seconds=2.0, deadline_seconds=12.0)


class BotUnreachableError(Exception):
    """No WebSocket; the text says why, and names no more of the URL than its host."""


@dataclass(slots=True)
class BotDialer:
    """See the module. ``dial`` may be called many times at once."""

    resolve: Resolve = field(default_factory=system_resolver)
    ssl_context: ssl.SSLContext | None = None
    limits: BotSocketLimits = LIMITS
    retries: RetryPolicy = RETRIES
    random: Random = field(default_factory=Random)

    async def dial(
        self, nursery: trio.Nursery, url: str, *, trusted: bool, headers: Mapping[str, str]
    ) -> "BotSocket":
        """Return an open WebSocket, whose tasks are in the nursery; close it before leaving that.

        ``trusted``: the URL is the operator's own choice, so that private addresses are fine.

        Raises: BotUnreachableError.
        """
        try:
            target = check_target(url, trusted=trusted)
            attempt = partial(self._attempt, nursery, target, trusted, headers)
            websocket, stream = await retry(attempt, self.retries, random=self.random)
        except (OutboundError, GaveUpError) as error:
            raise BotUnreachableError(str(error)) from None
        socket = BotSocket(websocket, stream, self.limits)
        nursery.start_soon(socket.write)
        return socket

    async def _attempt(
        self, nursery: trio.Nursery, target: httpx.URL, trusted: bool, headers: Mapping[str, str]
    ) -> tuple[WebSocketConnection, "_NetworkStream"]:
        where, seconds = origin_of(target), self.limits.connect_seconds
        stream: _NetworkStream | None = None
        websocket: WebSocketConnection | None = None
        try:
            with trio.move_on_after(seconds):
                stream = _NetworkStream(await self._connect(target, trusted))
                websocket = await self._shake_hands(nursery, stream, target, headers)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise UnreachableError(f"{where}: {str(error) or 'no connection'}") from error
        except ConnectionRejected as error:
            raise _refusal(where, error) from error
        finally:
            if websocket is None and stream is not None:
                await trio.aclose_forcefully(stream)
        if websocket is None or stream is None:
            if stream is not None and stream.ended.is_set():
                raise UnreachableError(f"{where} closed the connection during the opening handshake")
            raise UnreachableError(f"{where} did not open a WebSocket within {seconds:g} s")
        return websocket, stream

    async def _connect(self, target: httpx.URL, trusted: bool) -> httpcore.AsyncNetworkStream:
        secure, seconds = target.scheme == "https", self.limits.connect_seconds
        network = OutboundNetwork(self.resolve, public_only=not trusted)
        stream = await network.connect_tcp(target.host, target.port or (443 if secure else 80), seconds)
        if not secure:
            return stream
        if self.ssl_context is None:
            # Reading all the certificates takes some ten milliseconds, once.
            self.ssl_context = await trio.to_thread.run_sync(httpx.create_ssl_context)
        try:
            return await stream.start_tls(self.ssl_context, target.host, seconds)
        except BaseException:
            with trio.move_on_after(0, shield=True):
                await stream.aclose()
            raise

    async def _shake_hands(
        self,
        nursery: trio.Nursery,
        stream: "_NetworkStream",
        target: httpx.URL,
        headers: Mapping[str, str],
    ) -> WebSocketConnection | None:
        """Return None when the bot ends the connection in the middle of it; the library would wait for ever."""
        websocket: WebSocketConnection | None = None
        sent = {"User-Agent": f"{SERVER_NAME}/{server_version()}", **headers}
        with trio.CancelScope() as opening:
            stream.on_end(opening)
            websocket = await wrap_client_stream(
                nursery,
                cast("trio.SocketStream", stream),  # annotated too narrowly: any stream will do
                target.netloc.decode("ascii"),
                target.raw_path.decode("ascii"),
                extra_headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                max_message_size=self.limits.max_message_bytes,
                message_queue_size=self.limits.messages,
            )
            stream.on_end(None)
        return websocket


class BotSocket:
    """An open WebSocket; a ``Socket`` of ``calls.py``. ``write`` runs in the nursery it was dialed in."""

    def __init__(
        self, websocket: WebSocketConnection, stream: "_NetworkStream", limits: BotSocketLimits
    ) -> None:
        self._websocket = websocket
        self._stream = stream
        self._limits = limits
        self._waiting: deque[str] = deque()
        self._wake = trio.Event()
        self._ended: str | None = None
        self._closing = (int(CloseCode.NORMAL), "")
        self._written = trio.Event()
        self.queued_bytes = 0

    @property
    def ended(self) -> str:
        """Why nothing more will be received; empty while more may."""
        return self._ended or ""

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises: Disconnected.
        """
        try:
            if self._ended is not None:
                raise Disconnected
            received: str | bytes = await self._websocket.get_message()
        except ConnectionClosed as closed:
            self._end(_goodbye(closed))
            raise Disconnected from None
        return received

    def send(self, text: str) -> None:
        """Queue a text message; never waits. A bot that does not keep up is closed."""
        if self._ended is not None:
            return
        self._waiting.append(text)
        self.queued_bytes += len(text)
        if self.queued_bytes > self._limits.send_queue_bytes:
            self.close(CloseCode.TRY_LATER, "too slow: the outgoing queue is full", discard=True)
        self._wake.set()

    def close(self, code: int, reason: str, *, discard: bool = False) -> None:
        """End the connection when what is queued has been written; only the first call counts."""
        if self._ended is None:
            if discard:
                self._waiting.clear()
            self._closing = (int(code), reason)
            self._end(reason)

    async def aclose(self) -> None:
        """Say goodbye, within bounds; also when cancelled. Called once, at the end."""
        self.close(CloseCode.NORMAL, "")
        with trio.move_on_after(self._limits.close_seconds, shield=True), suppress(ConnectionClosed):
            await self._written.wait()
            await self._websocket.aclose(*self._closing)
        await trio.aclose_forcefully(self._stream)

    async def write(self) -> None:
        """Write what is queued until the connection is to end and nothing is left."""
        try:
            while self._waiting or self._ended is None:
                if not self._waiting:
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                text = self._waiting.popleft()
                with trio.move_on_after(self._limits.send_seconds) as patience:
                    await self._websocket.send_message(text)
                self.queued_bytes -= len(text)
                if patience.cancelled_caught:
                    # A frame has been cut in the middle: nothing sensible can follow it.
                    self._end("too slow: a message was not taken in time")
                    await trio.aclose_forcefully(self._stream)
                    return
        except ConnectionClosed as closed:
            self._end(_goodbye(closed))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end("the connection broke")
        finally:
            self._written.set()

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason or "it was closed"
            self._wake.set()


class _NetworkStream(trio.abc.Stream):
    """A stream of httpcore's as Trio has them; tells a scope when its other end is gone."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._opening: trio.CancelScope | None = None
        self.ended = trio.Event()

    def on_end(self, scope: trio.CancelScope | None) -> None:
        """Cancel this scope when nothing more can be received."""
        self._opening = scope

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            received = await self._stream.read(max_bytes or 65536)
        except httpcore.NetworkError as error:
            self._note_end()
            raise trio.BrokenResourceError from error
        if not received:
            self._note_end()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.write(bytes(data))
        except httpcore.NetworkError as error:
            self._note_end()
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _note_end(self) -> None:
        self.ended.set()
        if self._opening is not None:
            self._opening.cancel()


def check_target(url_untrusted: str, *, trusted: bool) -> httpx.URL:
    """Return the parsed URL of a WebSocket, with the scheme that HTTP calls it by.

    Raises: TargetRefusedError.
    """
    scheme, separator, rest = url_untrusted.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise TargetRefusedError("expected a URL that begins with ws:// or wss:// and names a host")
    return check_url(f"{_SCHEMES[scheme.lower()]}://{rest}", trusted=trusted)


def _refusal(where: str, error: ConnectionRejected) -> OutboundError:
    if 300 <= error.status_code < 400:
        return RedirectRefusedError(where, error.status_code)
    headers = {name.lower(): value.decode("latin-1") for name, value in error.headers or ()}
    return status_error(where, error.status_code, headers.get(b"retry-after"), datetime.now(UTC))


def _goodbye(closed: ConnectionClosed) -> str:
    reason = closed.reason
    if reason is None or reason.code == 1006:
        return "the connection broke"
    said = f": {reason.reason}" if reason.reason else ""
    return f"the bot closed the connection ({reason.code}{said})"
