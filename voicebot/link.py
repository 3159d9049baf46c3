"""One WebSocket from opening to loss: requests go out, replies find their requests, events are handed up.

A link never reconnects; that is ``connection``'s business. Its background tasks never raise: whatever happens on the
network ends in ``lost``.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from signaling.messages import (
    SERVER_MESSAGES,
    AudioFrameError,
    AudioFrameWire,
    ClientMessage,
    CloseCode,
    Closing,
    ErrorCode,
    MessageError,
    ServerFrame,
    ServerMessage,
    Welcome,
    decode_audio_frame_untrusted,
    decode_server,
    encode_client,
)
from voicebot.errors import ConnectError, ConnectionLostError, ProtocolError
from voicebot.nursery import open_bare_nursery
from voicebot.replies import REPLIES, OnReply, Waiters
from voicebot.stream import OpenStream, WatchedStream, WebSocketUrl

#: The snapshot of a full lobby or the answer to a browser with hundreds of sections; the library's default is 1 MiB.
MAX_MESSAGE_BYTES = 8 * 2**20
#: Messages between the library's reader and ours. With its default of 1 a busy moment stalls pongs.
MESSAGE_QUEUE_LENGTH = 64
#: Requests waiting to be written. Overflow policy: ``request`` waits.
SEND_QUEUE_LENGTH = 64
#: "We gave up on you", from the range for private use; unlike 1000 it leaves the session alive.
ABANDONED_CLOSE_CODE = 4000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a client waits for what, in seconds."""

    #: TCP, TLS, the opening handshake and ``welcome``, together.
    connect_s: float = 10.0
    #: The reply to a request, unless the caller says otherwise.
    request_s: float = 10.0
    #: One frame written.
    send_s: float = 10.0
    #: A ping is sent this often, and its pong must come within as long again.
    keepalive_s: float = 10.0
    #: The closing handshake.
    close_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a link ended. ``code`` is the server's close code, None when the connection just broke."""

    reason: str
    code: int | None = None

    def error(self) -> ConnectionLostError:
        """Return the error that requests under way end with."""
        return ConnectionLostError(self.reason, code=self.code)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is spoken on a link: the messages that may come, the reply to each request, and whether ``welcome`` comes first."""

    messages: Mapping[str, type[ServerMessage]]
    replies: Mapping[type[ClientMessage], type[ServerMessage]]
    greets: bool


CLIENT_DIALECT = Dialect(SERVER_MESSAGES, REPLIES, greets=True)

Receive = Callable[[ServerFrame], None]
"""Called with every message in the order of arrival. Must neither wait nor raise."""
ReceiveAudio = Callable[[AudioFrameWire], None]
"""Called with every binary frame at its place in that order."""


@asynccontextmanager
async def open_link(
    url: WebSocketUrl,
    open_stream: OpenStream,
    receive: Receive,
    timeouts: Timeouts,
    *,
    dialect: Dialect = CLIENT_DIALECT,
    headers: Sequence[tuple[bytes, bytes]] = (),
    receive_audio: ReceiveAudio | None = None,
) -> AsyncGenerator["Link", None]:
    """Open a WebSocket and wait for ``welcome``; leaving the scope says goodbye (1000) unless the link is lost.

    Raises: ConnectError, before the body runs.
    """
    opened = False
    try:
        with trio.fail_after(timeouts.connect_s) as connecting:
            stream = WatchedStream(await open_stream())
            try:
                async with open_bare_nursery() as nursery, _shielded_nursery(nursery) as transport:
                    websocket = await _shake_hands(transport, stream, url, headers)
                    link = Link(websocket, receive, timeouts, dialect, receive_audio)
                    try:
                        nursery.start_soon(link.read)
                        nursery.start_soon(link.write)
                        nursery.start_soon(link.keep_alive)
                        await link.wait_welcome()
                        connecting.deadline = float("inf")
                        opened = True
                        yield link
                    finally:
                        await link.aclose()
            finally:
                await trio.aclose_forcefully(stream)
    except (
        trio.TooSlowError,
        ConnectionRejected,
        ConnectionLostError,
        OSError,
        trio.BrokenResourceError,
    ) as error:
        if opened:
            raise
        status = error.status_code if isinstance(error, ConnectionRejected) else None
        raise ConnectError(_explain_failure(error, url, timeouts), status=status) from error


def _explain_failure(error: Exception, url: WebSocketUrl, timeouts: Timeouts) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"no welcome from {url.host_header} within {timeouts.connect_s:g} s"
    if isinstance(error, ConnectionRejected):
        return f"{url.host_header} answered HTTP {error.status_code} at {url.resource}"
    # A failed TLS handshake says nothing itself; what it was caused by does.
    return f"cannot connect to {url.host_header}: {str(error) or error.__cause__}"


@asynccontextmanager
async def _shielded_nursery(parent: trio.Nursery) -> AsyncGenerator[trio.Nursery, None]:
    """Open a nursery that a cancellation from outside does not reach before the body has said goodbye."""

    async def hold(task_status: trio.TaskStatus[tuple[trio.Nursery, trio.CancelScope]]) -> None:
        with trio.CancelScope(shield=True) as scope:
            async with open_bare_nursery() as nursery:
                task_status.started((nursery, scope))
                await trio.sleep_forever()

    nursery, scope = await parent.start(hold)
    try:
        yield nursery
    finally:
        scope.cancel()


async def _shake_hands(
    nursery: trio.Nursery, stream: WatchedStream, url: WebSocketUrl, headers: Sequence[tuple[bytes, bytes]]
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
            url.host_header,
            url.resource,
            extra_headers=list(headers),
            max_message_size=MAX_MESSAGE_BYTES,
            message_queue_size=MESSAGE_QUEUE_LENGTH,
        )
    if websocket is None:
        raise ConnectionLostError("it closed the connection during the opening handshake")
    return websocket


class Link:
    """An open WebSocket; made by ``open_link``, which runs ``read``, ``write`` and ``keep_alive``."""

    def __init__(
        self,
        websocket: WebSocketConnection,
        receive: Receive,
        timeouts: Timeouts,
        dialect: Dialect = CLIENT_DIALECT,
        receive_audio: ReceiveAudio | None = None,
    ) -> None:
        self._websocket = websocket
        self._dialect = dialect
        self._receive = receive
        self._receive_audio = receive_audio
        self._timeouts = timeouts
        self._outgoing, self._to_write = trio.open_memory_channel[str | bytes](SEND_QUEUE_LENGTH)
        self._waiters = Waiters(dialect.replies)
        self._welcomed = trio.Event()
        if not dialect.greets:
            self._welcomed.set()
        self._lost = trio.Event()
        self._loss: Loss | None = None
        self._farewell: str | None = None
        self.welcome: Welcome
        #: Frames we could not read, or of a type that a newer server knows; they are skipped.
        self.unreadable_frames = 0

    async def wait_welcome(self) -> None:
        """Wait for the server's first message.

        Raises: ConnectionLostError.
        """
        await self._welcomed.wait()
        if self._loss is not None:
            raise self._loss.error()

    @property
    def lost(self) -> bool:
        """Whether the link has ended."""
        return self._loss is not None

    async def wait_lost(self) -> Loss:
        """Wait until the link is lost, and tell why."""
        await self._lost.wait()
        assert self._loss is not None
        return self._loss

    async def request(self, message: ClientMessage, *, on_reply: OnReply | None = None) -> ServerMessage:
        """Send a request and wait for its reply; a cancelled request may still take effect.

        ``on_reply`` is called with the reply at its place in the order of arrival, if the request was not cancelled before.

        Raises: ProtocolError, ConnectionLostError.
        """
        if self._loss is not None:
            raise self._loss.error()
        with self._waiters.expect(message, on_reply) as waiter:
            await self._put(encode_client(message, waiter.request_id))
            return await waiter.wait_reply()

    async def send(self, message: ClientMessage) -> None:
        """Send a request whose reply nobody waits for: it comes without ``re``, and is handed up like an event.

        Raises: ConnectionLostError.
        """
        await self._put(encode_client(message))

    async def send_audio(self, frame: bytes) -> None:
        """Send a binary frame.

        Raises: ConnectionLostError.
        """
        await self._put(frame)

    async def read(self) -> None:
        """Hand on what arrives until the link is lost."""
        while self._loss is None:
            try:
                frame = await self._websocket.get_message()
            except ConnectionClosed as closed:
                self._lose(self._explain(closed))
            else:
                self._take(frame)

    async def write(self) -> None:
        """Write requests one after another: a frame that is cancelled half-way would break the stream."""
        with self._to_write:
            async for frame in self._to_write:
                with trio.move_on_after(self._timeouts.send_s) as writing:
                    try:
                        await self._websocket.send_message(frame)
                    except ConnectionClosed as closed:
                        self._lose(self._explain(closed))
                        return
                if writing.cancelled_caught:
                    self._lose(Loss(f"the server took no frame for {self._timeouts.send_s:g} s"))
                    return

    async def keep_alive(self) -> None:
        """Ping regularly; a missing pong loses the link."""
        while True:
            await trio.sleep(self._timeouts.keepalive_s)
            with trio.move_on_after(self._timeouts.keepalive_s) as waiting:
                try:
                    await self._websocket.ping()
                except ConnectionClosed as closed:
                    self._lose(self._explain(closed))
                    return
            if waiting.cancelled_caught:
                self._lose(Loss(f"no pong within {self._timeouts.keepalive_s:g} s"))
                return

    async def aclose(self) -> None:
        """Close the WebSocket: politely when it is alive, even when cancelled, and never for long."""
        code = CloseCode.NORMAL if self._loss is None else ABANDONED_CLOSE_CODE
        self._lose(Loss("closed by this client"))
        with trio.move_on_after(self._timeouts.close_s, shield=True):
            await self._websocket.aclose(code)

    async def _put(self, frame: str | bytes) -> None:
        try:
            await self._outgoing.send(frame)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            assert self._loss is not None
            raise self._loss.error() from None

    def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self._take_audio(frame)
            return
        try:
            decoded = decode_server(frame, self._dialect.messages)
        except MessageError as error:
            self.unreadable_frames += 1
            if error.re is not None:
                self._waiters.decide(error.re, ProtocolError(ErrorCode.INVALID_MESSAGE, error.error))
            return
        message = decoded.message
        if isinstance(message, Welcome):
            self.welcome = message
            self._welcomed.set()
        elif isinstance(message, Closing):
            self._farewell = message.reason
        self._receive(decoded)
        if decoded.re is not None:
            self._waiters.decide(decoded.re, message)

    def _take_audio(self, frame: bytes) -> None:
        try:
            wire = decode_audio_frame_untrusted(frame)
        except AudioFrameError:
            self.unreadable_frames += 1
            return
        if self._receive_audio is None:
            self.unreadable_frames += 1
        else:
            self._receive_audio(wire)

    def _explain(self, closed: ConnectionClosed) -> Loss:
        reason = closed.reason
        if reason is None or reason.code == 1006:  # RFC 6455 section 7.1.5: no close frame was received
            return Loss(self._farewell or "the connection broke")
        return Loss(self._farewell or reason.reason or f"the server closed with {reason.code}", reason.code)

    def _lose(self, loss: Loss) -> None:
        if self._loss is not None:
            return
        self._loss = loss
        self._waiters.fail_all(loss.error())
        self._outgoing.close()
        self._welcomed.set()
        self._lost.set()
