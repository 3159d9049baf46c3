"""An open WebSocket to a bot: what a call needs of one, over the client library's.

Writing is a task of its own with a bounded queue, so that ``send`` never waits; a bot that does not keep up is closed.
"""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from signaling.messages import CloseCode
from signaling.reception import printable
from signaling.telephony.bot_transport import Transport
from signaling.websocket import ABNORMAL, Disconnected

#: Close codes of a bot that has said what it had to say.
CONTENT_CODES = frozenset({1000, 1001, 1005})


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


class BotSocket:
    """An open WebSocket; a ``Socket`` of ``calls.py``. ``write`` runs in the nursery it was dialed in."""

    def __init__(self, websocket: WebSocketConnection, transport: Transport, limits: BotSocketLimits) -> None:
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
        if (
            reason.code == CloseCode.TOO_LARGE
        ):  # the library's verdict on what the bot sent, or the bot's on what we did
            self._end("a message was too large", failed=True)
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
