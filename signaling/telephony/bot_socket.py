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

from signaling.logs import get_logger
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
from signaling.reception import printable
from signaling.version import SERVER_NAME, server_version
from signaling.websocket import ABNORMAL, Disconnected

#: What is read of an answer that opens no WebSocket.
MAX_ANSWER_BYTES = 64 * 1024
#: Close codes of a bot that has said what it had to say.
CONTENT_CODES = frozenset({1000, 1001, 1005})

_log = get_logger(__name__)
_SCHEMES = {"ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class BotSocketLimits:
    """How patient we are with a bot, and how much we take."""

    #: Resolving, TCP, TLS and the opening handshake of one attempt, together.
    connect_seconds: float = 4.0
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
#: Shorter than a bot of the bots' API may take to join.
RETRIES = RetryPolicy(attempts=3, base_seconds=0.25, cap_seconds=1.0, deadline_seconds=8.0)


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
            websocket, transport = await retry(attempt, self.retries, random=self.random)
        except (OutboundError, GaveUpError) as error:
            raise BotUnreachableError(str(error)) from None
        socket = BotSocket(websocket, transport, self.limits)
        nursery.start_soon(socket.write)
        return socket

    async def _attempt(
        self, nursery: trio.Nursery, target: httpx.URL, trusted: bool, headers: Mapping[str, str]
    ) -> tuple[WebSocketConnection, "_Transport"]:
        where, seconds = origin_of(target), self.limits.connect_seconds
        transport: _Transport | None = None
        websocket: WebSocketConnection | None = None
        try:
            with trio.move_on_after(seconds):
                transport = _Transport(await self._connect(target, trusted))
                await nursery.start(transport.run)
                websocket = await self._shake_hands(transport, target, headers)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise UnreachableError(f"{where}: {_speaking(error)}") from error
        finally:
            if websocket is None and transport is not None:
                await transport.end()
        if websocket is not None:
            assert transport is not None
            transport.opened = True
            return websocket, transport
        if transport is not None and isinstance(transport.fault, ConnectionRejected):
            raise _refusal(where, transport.fault)
        if transport is not None and transport.over:
            raise UnreachableError(f"{where} broke the opening handshake off")
        raise UnreachableError(f"{where} did not open a WebSocket within {seconds:g} s")

    async def _connect(self, target: httpx.URL, trusted: bool) -> httpcore.AsyncNetworkStream:
        secure, seconds = target.scheme == "https", self.limits.connect_seconds
        network = OutboundNetwork(self.resolve, public_only=not trusted)
        stream = await network.connect_tcp(target.host, target.port or (443 if secure else 80), seconds)
        if not secure:
            return stream
        try:
            if self.ssl_context is None:
                # Reading all the certificates takes some ten milliseconds, once.
                self.ssl_context = await trio.to_thread.run_sync(httpx.create_ssl_context)
            return await stream.start_tls(self.ssl_context, target.host, seconds)
        except BaseException:
            with trio.move_on_after(0, shield=True):
                await stream.aclose()
            raise

    async def _shake_hands(
        self, transport: "_Transport", target: httpx.URL, headers: Mapping[str, str]
    ) -> WebSocketConnection | None:
        """Return None when the bot refuses, or ends the connection: the library itself would wait for ever."""
        sent = {"User-Agent": f"{SERVER_NAME}/{server_version()}", **headers}
        with transport.opening:
            return await wrap_client_stream(
                transport.nursery,
                cast("trio.SocketStream", transport),  # annotated too narrowly: any stream will do
                target.netloc.decode("ascii"),
                target.raw_path.decode("ascii"),
                extra_headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                max_message_size=self.limits.max_message_bytes,
                message_queue_size=self.limits.messages,
            )
        return None


class BotSocket:
    """An open WebSocket; a ``Socket`` of ``calls.py``. ``write`` runs in the nursery it was dialed in."""

    def __init__(
        self, websocket: WebSocketConnection, transport: "_Transport", limits: BotSocketLimits
    ) -> None:
        self._websocket = websocket
        self._transport = transport
        self._limits = limits
        self._waiting: deque[str] = deque()
        self._wake = trio.Event()
        self._receiving = trio.CancelScope()
        self._closing = (int(CloseCode.NORMAL), "")
        self._written = trio.Event()
        self.queued_bytes = 0
        #: Why nothing more will be received; None while more may.
        self.ended: str | None = None
        #: Whether that was not as either side wanted it.
        self.failed = False

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises: Disconnected.
        """
        if self.ended is None:
            try:
                with trio.CancelScope() as self._receiving:
                    received: str | bytes = await self._websocket.get_message()
                    return received
            except ConnectionClosed as closed:
                self._note_goodbye(closed)
        raise Disconnected

    def send(self, text: str) -> None:
        """Queue a text message; never waits. A bot that does not keep up is closed."""
        if self.ended is not None:
            return
        self._waiting.append(text)
        self.queued_bytes += len(text)
        self._wake.set()
        if self.queued_bytes > self._limits.send_queue_bytes:
            self._waiting.clear()
            self.close(CloseCode.TRY_LATER, "too slow: the outgoing queue is full")
            self.failed = True

    def close(self, code: int, reason: str) -> None:
        """End the connection when what is queued has been written; only the first call counts."""
        if self.ended is None:
            self._closing = (int(code), reason)
            self._end(reason, failed=False)

    async def aclose(self) -> None:
        """Say goodbye, within bounds; also when cancelled. To be called once, whatever happens."""
        self.close(CloseCode.NORMAL, "")
        with trio.move_on_after(self._limits.close_seconds, shield=True), suppress(ConnectionClosed):
            await self._written.wait()
            await self._websocket.aclose(*self._closing)
        await self._transport.end()

    async def write(self) -> None:
        """Write what is queued until the connection is to end and nothing is left."""
        try:
            while self._waiting or self.ended is None:
                if not self._waiting:
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                text = self._waiting.popleft()
                with trio.move_on_after(self._limits.send_seconds) as patience:
                    await self._websocket.send_message(text)
                if patience.cancelled_caught:
                    # A frame has been cut in the middle: nothing sensible can follow it.
                    self._end("too slow: a message was not taken in time", failed=True)
                    await self._transport.end()
                    return
                self.queued_bytes -= len(text)
        except ConnectionClosed as closed:
            self._note_goodbye(closed)
        finally:
            self._written.set()

    def _note_goodbye(self, closed: ConnectionClosed) -> None:
        reason = closed.reason
        if reason is None or reason.code == ABNORMAL:
            self._end("the connection broke", failed=True)
            return
        said = f": {printable(reason.reason)}" if reason.reason else ""
        self._end(
            f"the bot closed the connection ({reason.code}{said})", failed=reason.code not in CONTENT_CODES
        )

    def _end(self, reason: str, *, failed: bool) -> None:
        if self.ended is None:
            self.ended = reason or "it was closed"
            self.failed = failed
            self._wake.set()
            self._receiving.cancel()


class _Transport(trio.abc.Stream):
    """A stream of httpcore's as Trio has them, and the nursery of the library that reads it.

    What the library raises stays in here, and so does a cancellation from outside, until ``end``: goodbyes have to be read.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._scope = trio.CancelScope(shield=True)
        self.nursery: trio.Nursery
        #: What the opening handshake is waited for in.
        self.opening = trio.CancelScope()
        #: Set by who waits for it: whether it is a WebSocket now.
        self.opened = False
        self._opening_bytes = 0
        #: Whether nothing more will be received.
        self.over = False
        self.fault: Exception | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the nursery open until ``end``."""
        try:
            with self._scope:
                async with trio.open_nursery() as self.nursery:
                    task_status.started()
                    await trio.sleep_forever()
        except* Exception as faults:  # noqa: BLE001 - whatever a bot's bytes do to the library, it is this bot's affair
            self.fault = _first(faults)
            if not isinstance(self.fault, ConnectionRejected):
                # Of bytes that are no HTTP the library makes a fault of its own; it is not ours to trace.
                _log.info("a bot's connection failed", fault=printable(repr(self.fault)))
            await trio.aclose_forcefully(self)
        finally:
            self._note_over()

    async def end(self) -> None:
        """Close at once."""
        self._scope.cancel()
        await trio.aclose_forcefully(self)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See ``trio.abc.ReceiveStream``."""
        try:
            received = await self._stream.read(max_bytes or 65536)
        except httpcore.NetworkError as error:
            self._note_over()
            raise trio.BrokenResourceError from error
        if not self.opened:
            # Of an answer that refuses, the library keeps the whole body.
            self._opening_bytes += len(received)
            if self._opening_bytes > MAX_ANSWER_BYTES:
                received = b""
        if not received:
            self._note_over()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See ``trio.abc.SendStream``."""
        try:
            await self._stream.write(bytes(data))
        except httpcore.NetworkError as error:
            self._note_over()
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """See ``trio.abc.SendStream``; of the interface, and never used."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See ``trio.abc.AsyncResource``."""
        await self._stream.aclose()

    def _note_over(self) -> None:
        self.over = True
        self.opening.cancel()


def _speaking(error: BaseException) -> str:
    """Return what the error says; if that is nothing, what the first of its causes says that speaks."""
    fault: BaseException | None = error
    while fault is not None:
        if str(fault):
            return str(fault)
        # httpcore raises its errors `from` others, and some `from None`.
        fault = fault.__cause__ or fault.__context__
    return "no connection in time" if isinstance(error, httpcore.TimeoutException) else "no connection"


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    fault: BaseException = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    assert isinstance(fault, Exception)
    return fault


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
