"""WebSockets of the server (RFC 6455): wsproto tells what the bytes mean, this module moves them over a Trio stream.

Nothing else in the server touches wsproto. What is added to it: a bounded outgoing queue per client, a limit on
how long a write may block, keepalive, one message size limit with a clear error, and an orderly end (last
words, close code, bounded wait) however the end comes about. Streams that can write without waiting are written
to by the server's one ``Courier``; what a client does not take at once, and all other streams (TLS), are left to
a task of the connection's own, which lives no longer than there is something to write. Large frames are compressed
for clients that offer it (``deflate.py``).

``serve_websocket`` runs one connection in one nursery. The caller's handler is its reader: it must keep calling
``receive``, which answers pings and hears the client's goodbye. Anybody may end the connection by naming a close
code; the first name wins, the handler is cancelled.

One connection at rest is one task, blocked in a read: no queue, no reader, no sender, no timer of its own. Cost:
see `connections` in docs/benchmarks.md.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import Extension
from wsproto.utilities import RemoteProtocolError

from signaling.courier import Courier
from signaling.deflate import MessageDeflate
from signaling.dialect import ENVELOPES, Dialect
from signaling.frames import PING, compressed_text_frame, text_frame
from signaling.messages import CloseCode, ErrorCode
from signaling.outbox import Outbox

#: A burst of trickled candidates; the memory is taken for the length of a read only.
RECEIVE_BYTES = 16 * 1024
#: What is said of a connection that ended without a close frame; never sent (RFC 6455 section 7.4.1).
ABNORMAL = 1006


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What one connection may use, and how patient the server is."""

    max_message_bytes: int
    send_queue_bytes: int
    send_timeout_seconds: float = 10.0
    handshake_seconds: float = 5.0
    #: How long the end may take: what is being written, the last words, the client's close frame.
    close_seconds: float = 2.0
    #: Whether to compress, for clients that offer it.
    compression: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended; ``by_client`` says whose close code it is."""

    code: int
    reason: str
    by_client: bool


class Disconnected(Exception):  # noqa: N818 - an ending, not an error
    """The connection is over; nothing more will be received."""


class WebSocket:
    """One open connection, as a handler sees it, and as a client of the courier."""

    __slots__ = (
        "_courier",
        "_dialect",
        "_ended",
        "_flush_requested",
        "_frame",
        "_handler_scope",
        "_heard",
        "_limits",
        "_nursery",
        "_outbox",
        "_parts",
        "_parts_bytes",
        "_pinged",
        "_protocol",
        "_send_nowait",
        "_stream",
        "_writable",
        "_writer_done",
    )

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: Protocol,
        limits: WebSocketLimits,
        courier: Courier,
        nursery: trio.Nursery,
        *,
        frame: Callable[[str], bytes] = text_frame,
        dialect: Dialect = ENVELOPES,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._limits = limits
        self._courier = courier
        self._nursery = nursery
        self._frame = frame
        self._dialect = dialect
        self._handler_scope = trio.CancelScope()
        self._outbox = Outbox(max_bytes=limits.send_queue_bytes, on_overflow=self._overflow)
        self._ended: Ended | None = None
        # Receiving: the pieces of a message whose end has not come.
        self._parts: list[str | bytes] = []
        self._parts_bytes = 0
        # Writing. At any time one of flush and the writer task writes; the event is there while the task is.
        self._send_nowait: Callable[[bytes | memoryview], int] | None = getattr(stream, "send_nowait", None)
        self._flush_requested = False
        self._writer_done: trio.Event | None = None
        self._writable = True
        # Keepalive.
        self._heard = True
        self._pinged = False

    @property
    def ended(self) -> Ended | None:
        """How the connection ended, or None while it is open."""
        return self._ended

    @property
    def queued_bytes(self) -> int:
        """What waits to be written; who has much to send looks here, and lets the client keep up."""
        return self._outbox.queued_bytes

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises: Disconnected when there is none any more, for whatever reason.
        """
        waited = False
        while self._ended is None:
            for event in self._protocol.events():
                message = self._understand(event)
                if message is not None:
                    if not waited:  # a client that sends without pause must not keep others waiting
                        await trio.lowlevel.checkpoint()
                    return message
            data = await self._read()
            waited = True
            if not data:
                self._end(Ended(ABNORMAL, "", by_client=True))
            elif self._ended is None:
                self._heard = True
                self._protocol.receive_data(data)
        raise Disconnected

    def send(self, text: str) -> None:
        """Queue a text frame; never waits. A client that does not keep up is closed with 1013."""
        self._post(self._frame(text))

    def send_sound(self, source: Callable[[], bytes]) -> None:
        """Send the binary messages that ``source`` returns, one a call, as the client can take them; never waits.

        ``source`` returns ``b""`` when there is none, and is not asked again until the next call of this. It must bound what
        it keeps: a client that is too slow for sound is not closed for that, it is asked less often.
        """
        self._outbox.fetch_sound_from(source)
        self._request_flush()

    def close(self, code: int, reason: str, *, discard: bool = False) -> None:
        """End the connection from our side: last words, close frame. Only the first call counts."""
        if self._ended is not None:
            return
        last_words = [] if code == CloseCode.NORMAL else [text_frame(self._dialect.closing(reason))]
        last_words.append(self._protocol.send(CloseConnection(code=int(code), reason=reason or None)))
        self._end(Ended(int(code), reason, by_client=False), *last_words, discard=discard)
        self._handler_scope.cancel()

    # What the courier calls.

    def flush(self) -> None:
        """Write what is queued, as far as the system takes it; the writer task is left the rest."""
        self._flush_requested = False
        if self._writer_done is not None or not self._writable:
            return
        while piece := self._outbox.next_piece():
            try:
                size = 0 if self._send_nowait is None else self._send_nowait(piece)
            except trio.BrokenResourceError:
                self._lose()
                return
            self._outbox.written(size)
            if size < len(piece):
                self._writer_done = trio.Event()
                self._nursery.start_soon(self._write)
                return

    def check(self) -> None:
        """Send a ping; close when nothing has been heard, nor could be written, since the last one."""
        if self._heard or not self._pinged:
            self._heard, self._pinged = False, True
            self._post(PING)
        elif self._outbox.queued_bytes:
            self.close(CloseCode.TRY_LATER, "too slow: nothing was read for seconds", discard=True)
        else:
            self.close(CloseCode.KEEPALIVE_TIMEOUT, "no pong in time", discard=True)

    # The life of a connection, for `serve_websocket`.

    async def run(self, handler: Callable[["WebSocket"], Awaitable[None]]) -> Ended:
        """Run the handler, then let the connection end in order."""
        self._courier.enroll(self)
        try:
            with self._handler_scope, suppress(Disconnected):
                await handler(self)
                self.close(CloseCode.NORMAL, "")
            assert self._ended is not None
            with trio.move_on_after(self._limits.close_seconds):
                await self._finish(self._ended)
        finally:
            self._courier.dismiss(self)
            self._writable = False
        return self._ended

    async def _finish(self, ended: Ended) -> None:
        """Write the last words and, if the end was our wish, wait for the client's close frame."""
        if self._writer_done is not None:
            await self._writer_done.wait()
        if self._writable:
            self._writer_done = trio.Event()
            await self._write()
        while (
            not ended.by_client and self._writable and self._protocol.state is ConnectionState.LOCAL_CLOSING
        ):
            data = await self._read()
            if not data:
                return
            self._protocol.receive_data(data)
            for _ in self._protocol.events():
                pass

    async def _write(self) -> None:
        """Write all that is queued, and what is queued meanwhile."""
        assert self._writer_done is not None
        try:
            while piece := self._outbox.next_piece():
                with trio.move_on_after(self._limits.send_timeout_seconds) as patience:
                    await self._stream.send_all(piece)
                if patience.cancelled_caught:
                    # A frame has been cut in the middle: nothing sensible can follow it.
                    self._writable = False
                    self.close(CloseCode.TRY_LATER, "too slow: a write did not finish in time", discard=True)
                    return
                self._outbox.written(len(piece))
                self._heard = True  # whoever reads is alive, though the pong be queued behind a long message
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()
        finally:
            self._writer_done.set()
            self._writer_done = None

    async def _read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _post(self, frame: bytes) -> None:
        self._outbox.put(frame)
        self._request_flush()

    def _request_flush(self) -> None:
        if not self._flush_requested:
            self._flush_requested = True
            self._courier.request_flush(self)

    def _overflow(self) -> None:
        self.close(CloseCode.TRY_LATER, "too slow: the outgoing queue is full", discard=True)

    def _lose(self) -> None:
        """Note that the stream broke under a write; the reader may not hear of it."""
        self._writable = False
        self._end(Ended(ABNORMAL, "the connection broke", by_client=True))
        self._handler_scope.cancel()

    def _end(self, ended: Ended, *last_words: bytes, discard: bool = True) -> None:
        if self._ended is None:
            self._ended = ended
            self._outbox.end(*last_words, discard=discard)
            self._request_flush()
            self._courier.dismiss(self)

    def _understand(self, event: Event) -> str | bytes | None:
        """Do what a frame asks for; return the message that it completes.

        Raises: Disconnected when it ends the connection.
        """
        if isinstance(event, TextMessage):
            return self._collect(event.data, finished=event.message_finished)
        if isinstance(event, BytesMessage):
            return self._collect(bytes(event.data), finished=event.message_finished)
        if isinstance(event, Ping):
            self._post(self._protocol.send(event.response()))
        elif isinstance(event, CloseConnection):
            # The client's goodbye, or wsproto's verdict on bytes that are no frames: either is answered.
            answer = self._protocol.send(event.response())
            self._end(Ended(int(event.code), event.reason or "", by_client=True), answer)
            raise Disconnected
        return None

    def _collect(self, data: str | bytes, *, finished: bool) -> str | bytes | None:
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        self._parts_bytes += size
        if self._parts_bytes > self._limits.max_message_bytes:
            self._refuse_too_large()
        if finished and not self._parts:
            self._parts_bytes = 0
            return data
        if data:  # fragments may be empty, as many as a client likes
            self._parts.append(data)
        if not finished:
            return None
        whole = type(data)().join(self._parts)  # type: ignore[arg-type] # all are of the type of the first frame
        self._parts, self._parts_bytes = [], 0
        return whole

    def _refuse_too_large(self) -> None:
        """Answer before the rest has come; what does come is not kept."""
        limit = self._limits.max_message_bytes
        text = f"the message is longer than the limit of {limit} bytes"
        self.send(self._dialect.error(ErrorCode.TOO_LARGE, text))
        self.close(CloseCode.TOO_LARGE, f"the message exceeds the maximum message size of {limit} bytes")
        raise Disconnected


async def serve_websocket(
    stream: trio.abc.HalfCloseableStream,
    handler: Callable[[WebSocket], Awaitable[None]],
    limits: WebSocketLimits,
    courier: Courier,
    *,
    dialect: Dialect = ENVELOPES,
) -> Ended:
    """Upgrade the stream, run the handler on it, and close it; return how it ended.

    Errors of the handler itself pass through (as the nursery's exception group).
    """
    try:
        deflate = MessageDeflate(limits.max_message_bytes) if limits.compression else None
        protocol = None
        with trio.move_on_after(limits.handshake_seconds):
            protocol = await _upgrade(stream, deflate)
        if protocol is None:
            return Ended(ABNORMAL, "the handshake did not finish", by_client=True)
        frame = compressed_text_frame if deflate is not None and deflate.enabled() else text_frame
        async with trio.open_nursery() as nursery:
            socket = WebSocket(stream, protocol, limits, courier, nursery, frame=frame, dialect=dialect)
            ended = await socket.run(handler)
            nursery.cancel_scope.cancel()
        return ended
    finally:
        await trio.aclose_forcefully(stream)


async def _upgrade(stream: trio.abc.Stream, deflate: MessageDeflate | None) -> Protocol | None:
    """Do the opening handshake; return None when the client breaks it off or gets it wrong."""
    handshake = WSConnection(ConnectionType.SERVER)
    try:
        while handshake.connection is None:
            data = await stream.receive_some(RECEIVE_BYTES)
            if not data:
                return None
            try:
                handshake.receive_data(bytes(data))
            except RemoteProtocolError as error:
                if error.event_hint is not None:
                    await stream.send_all(handshake.send(error.event_hint))
                return None
            except UnicodeError:  # wsproto takes the host for one in IDNA
                await stream.send_all(handshake.send(RejectConnection(status_code=400)))
                return None
            for event in handshake.events():
                if isinstance(event, Request):
                    extensions: list[Extension] = [] if deflate is None else [deflate]
                    await stream.send_all(handshake.send(AcceptConnection(extensions=extensions)))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return None
    return handshake.connection
