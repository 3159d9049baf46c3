"""The adapter around trio-websocket; nothing else in the project's server touches that library.

It adds what the library leaves to its user: a bounded outgoing queue per client, a limit on how long a write
may block, keepalive, one message size limit with a clear error, an orderly end (last words, close code,
bounded wait) however the end comes about, and the exception groups and state errors of the library mapped to
one reason.

``serve_websocket`` runs one connection in one nursery: the library's reader, our sender, our keepalive, and
the caller's handler. Any of them may end the connection by naming a close code; the first name wins, the
others are cancelled.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import LocalProtocolError as WsLocalProtocolError
from wsproto.utilities import RemoteProtocolError as WsRemoteProtocolError

from signaling.messages import CloseCode, Closing, ErrorCode, ErrorReply, encode_server
from signaling.outbox import Outbox

#: The library's reader hands messages over through a queue and answers pings in the same task: with a queue
#: of one, a handler that works for a moment would hold the pongs up. Sixteen is a burst of trickled
#: candidates.
MESSAGE_QUEUE_SIZE = 16
RECEIVE_BUFFER_BYTES = 16 * 1024
#: A reason must fit the close frame's 125 bytes beside the code (RFC 6455 section 5.5).
MAX_REASON_BYTES = 123
#: The library closes by itself (without an error frame) beyond this multiple of the limit; below it we answer
#: first.
LIBRARY_LIMIT_FACTOR = 2
ABNORMAL = 1006


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What one connection may use, and how patient the server is."""

    max_message_bytes: int
    send_queue_bytes: int
    keepalive_seconds: float = 4.0
    send_timeout_seconds: float = 10.0
    handshake_seconds: float = 5.0
    #: How long the end may take: the frame being written, the last words, the client's close frame.
    close_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended; ``by_client`` says whose close code it is."""

    code: int
    reason: str
    by_client: bool


class Disconnected(Exception):  # noqa: N818 - an ending, not an error
    """The connection is over; nothing more will be received."""


class WebSocket:
    """One open connection, as a handler sees it."""

    def __init__(
        self, connection: WebSocketConnection, stream: trio.abc.HalfCloseableStream, limits: WebSocketLimits
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._limits = limits
        self._handler_scope = trio.CancelScope()
        self._sender_done = trio.Event()
        self._writing = False
        self._ended: Ended | None = None
        self._closed_by_library = False
        self._outbox = Outbox(
            max_bytes=limits.send_queue_bytes,
            on_overflow=lambda: self.close(
                CloseCode.TRY_LATER, "too slow: the outgoing queue is full", discard=True
            ),
        )

    @property
    def ended(self) -> Ended | None:
        """How the connection ended, or None while it is open."""
        return self._ended

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises: Disconnected when there is none any more, for whatever reason.
        """
        try:
            message: str | bytes = await self._connection.get_message()
        except ConnectionClosed:
            self._note_remote_end()
            raise Disconnected from None
        if self._too_large(message):
            limit = self._limits.max_message_bytes
            text = f"the message has {len(message)} characters; the limit is {limit} bytes"
            self.send(encode_server(ErrorReply(code=ErrorCode.TOO_LARGE, error=text)))
            self.close(CloseCode.TOO_LARGE, f"message exceeds {limit} bytes")
            raise Disconnected
        return message

    def send(self, text: str) -> None:
        """Queue a frame; never waits. A client that does not keep up is closed with 1013."""
        self._outbox.put(text)

    def close(self, code: int, reason: str, *, discard: bool = False) -> None:
        """End the connection from our side: last words, close frame. Only the first call counts."""
        if self._ended is not None:
            return
        self._ended = Ended(int(code), reason, by_client=False)
        final = None if code == CloseCode.NORMAL else encode_server(Closing(reason=reason))
        self._outbox.end(final, discard=discard)
        self._handler_scope.cancel()

    async def _handle(self, handler: Callable[["WebSocket"], Awaitable[None]]) -> None:
        with self._handler_scope, suppress(Disconnected):
            await handler(self)
            self.close(CloseCode.NORMAL, "")

    async def _finish(self) -> None:
        """Let the sender finish, then do the closing handshake; all of it within ``close_seconds``."""
        ended = self._ended
        assert ended is not None
        with trio.move_on_after(self._limits.close_seconds):
            await self._sender_done.wait()
            reason = ended.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            await self._connection.aclose(
                ended.code if ended.code != ABNORMAL else CloseCode.NORMAL, reason or None
            )

    async def _run_sender(self) -> None:
        while (text := await self._outbox.take()) is not None:
            self._writing = True
            with trio.move_on_after(self._limits.send_timeout_seconds) as scope:
                try:
                    await self._connection.send_message(text)
                except ConnectionClosed:
                    break  # the client's goodbye crossed this frame: `receive` hears it, with its close code
            if scope.cancelled_caught:
                # A frame has been cut in the middle: nothing sensible can follow it, so the end is abrupt.
                self.close(CloseCode.TRY_LATER, "too slow: a write did not finish in time", discard=True)
                return
            self._writing = False
        self._sender_done.set()

    async def _run_keepalive(self) -> None:
        while True:
            await trio.sleep(self._limits.keepalive_seconds)
            with trio.move_on_after(self._limits.keepalive_seconds) as scope:
                try:
                    await self._connection.ping()
                except ConnectionClosed:
                    return
            if scope.cancelled_caught:
                if self._writing:
                    self.close(CloseCode.TRY_LATER, "too slow: nothing was read for seconds", discard=True)
                else:
                    self.close(CloseCode.KEEPALIVE_TIMEOUT, "no pong in time", discard=True)
                return

    def _note_remote_end(self) -> None:
        if self._ended is None:
            closed = self._connection.closed
            code = ABNORMAL if closed is None else int(closed.code)
            reason = (closed.reason or "") if closed is not None else ""
            # The library closes over-long messages by itself; every other code in `closed` came from the
            # client.
            self._closed_by_library = reason.startswith("Exceeded maximum message size")
            self._ended = Ended(code, reason, by_client=not self._closed_by_library)
            self._outbox.end(discard=True)

    def _too_large(self, message: str | bytes) -> bool:
        limit = self._limits.max_message_bytes
        if isinstance(message, bytes) or len(message) > limit or len(message) * 4 <= limit:
            return len(message) > limit
        return len(message.encode()) > limit


async def serve_websocket(
    stream: trio.abc.HalfCloseableStream,
    handler: Callable[[WebSocket], Awaitable[None]],
    limits: WebSocketLimits,
) -> Ended:
    """Upgrade the stream, run the handler on it, and close it; return how it ended.

    Errors of the handler itself pass through (as the nursery's exception group).
    """
    socket: WebSocket | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(limits.handshake_seconds):
                request = await wrap_server_stream(
                    nursery,
                    stream,
                    message_queue_size=MESSAGE_QUEUE_SIZE,
                    max_message_size=limits.max_message_bytes * LIBRARY_LIMIT_FACTOR,
                    receive_buffer_size=RECEIVE_BUFFER_BYTES,
                )
                socket = WebSocket(await request.accept(), stream, limits)
            if socket is not None:
                nursery.start_soon(socket._run_sender)  # noqa: SLF001 - one module
                nursery.start_soon(socket._run_keepalive)  # noqa: SLF001
                await socket._handle(handler)  # noqa: SLF001
                await socket._finish()  # noqa: SLF001
            nursery.cancel_scope.cancel()
    except* ConnectionClosed:
        # The stream broke under the sender, the reader or the keepalive.
        pass
    except* (WsLocalProtocolError, WsRemoteProtocolError):
        # wsproto refuses, for example, the pong to a ping that crossed our close frame.
        pass
    finally:
        await trio.aclose_forcefully(stream)
    if socket is None:
        return Ended(ABNORMAL, "the handshake did not finish", by_client=True)
    return socket.ended or Ended(ABNORMAL, "the connection broke", by_client=True)
