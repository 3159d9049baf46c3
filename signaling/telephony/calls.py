"""One phone call: its WebSocket and its line in a lobby's mix, connected for as long as both live.

Two tasks in one nursery: what the caller says goes from the socket to the line, what the lobby says from the line to the
socket. Neither queue is ours: the line keeps 200 ms and drops the oldest; while the socket has more than a second to write,
what comes from the line is dropped and counted, and a socket that does not take anything for long is closed by itself.

Messages that are none are passed over, up to a point; that point, a flood, a stream that does not start, and a call that may
not come in close the socket with the reason. All of that is of this call alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import trio

from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.rate_limit import TokenBucket
from signaling.reception import printable
from signaling.telephony.destination import Destination
from signaling.telephony.line import (
    CALL_ID,
    CALLED,
    CALLING,
    PROVIDER,
    AudioLine,
    LineClosed,
    LineRefusedError,
    OpenLine,
)
from signaling.telephony.phone import (
    Call,
    CallRefusedError,
    Cleared,
    Marked,
    PhoneDialect,
    PhoneFaultError,
    Pressed,
    Spoken,
    Started,
    Stopped,
)
from signaling.telephony.playout_watch import PlayoutWatch
from signaling.websocket import Disconnected

_log = get_logger(__name__)


class Socket(Protocol):
    """What a call needs of a WebSocket."""

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises: Disconnected.
        """

    def send(self, text: str) -> None:
        """Queue a text message; never waits."""

    def close(self, code: int, reason: str) -> None:
        """End the connection; only the first call counts."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How patient we are with a provider."""

    start_seconds: float = 10.0
    #: Twilio sends 50 a second, and what the network held up at once.
    message_burst: float = 500.0
    messages_per_second: float = 150.0
    #: Messages that are none.
    fault_burst: float = 20.0
    faults_per_second: float = 1.0
    #: While so much waits to be written, nothing is added: a second and a half of Twilio's messages.
    max_queued_bytes: int = 20_000


CALL_LIMITS = CallLimits()

#: Returns where a call may go. Raises: CallRefusedError.
Admit = Callable[[Call], Awaitable[Destination]]


@dataclass(slots=True)
class CallStatistics:
    """What became of one call's messages."""

    messages: int = 0
    faults: int = 0
    #: Pieces of 20 ms that the provider did not take in time.
    dropped_frames: int = 0
    #: Times the provider's playout was too far behind.
    clears: int = 0


@dataclass(slots=True)
class PhoneCall:
    """See the module. ``run`` serves one call to its end."""

    socket: Socket
    dialect: PhoneDialect
    admit: Admit
    open_line: OpenLine
    limits: CallLimits = CALL_LIMITS
    statistics: CallStatistics = field(default_factory=CallStatistics)
    _watch: PlayoutWatch = field(default_factory=PlayoutWatch)
    _messages: TokenBucket = field(init=False)
    _faults: TokenBucket = field(init=False)

    async def run(self) -> None:
        """Serve the call. However it ends, the socket has been told why."""
        now = trio.current_time()
        limits = self.limits
        self._messages = TokenBucket(
            burst=limits.message_burst, per_second=limits.messages_per_second, now=now
        )
        self._faults = TokenBucket(burst=limits.fault_burst, per_second=limits.faults_per_second, now=now)
        try:
            await self._serve()
        except Disconnected:
            return
        except CallRefusedError as refused:
            self.socket.close(CloseCode.POLICY, str(refused))
        except LineRefusedError as refused:
            self.socket.close(CloseCode.TRY_LATER, str(refused))

    async def _serve(self) -> None:
        call = await self._wait_started()
        destination = await self.admit(call)
        _log.info(
            "a call comes in", provider=call.provider, call=printable(call.call_id), lobby=destination.lobby
        )
        opening = self.open_line(
            lobby=destination.lobby,
            name=destination.name,
            rate=call.rate,
            live=True,
            metadata=metadata_of(call),
        )
        refused: CallRefusedError | None = None
        try:
            async with opening as line, trio.open_nursery() as nursery:
                nursery.start_soon(self._speak, line, nursery.cancel_scope)
                try:
                    await self._listen(line)
                except Disconnected:
                    pass
                except LineClosed as closed:  # what is queued comes too late
                    self.socket.close(CloseCode.NORMAL, str(closed))
                except CallRefusedError as error:  # to leave the nursery as it is, not in a group
                    refused = error
                nursery.cancel_scope.cancel()
        finally:
            _log.info(
                "a call ended",
                call=printable(call.call_id),
                gaps=self.dialect.gaps,
                statistics=self.statistics,
            )
        if refused is not None:
            raise refused

    async def _wait_started(self) -> Call:
        with trio.move_on_after(self.limits.start_seconds):
            while True:
                event = self._understand(await self.socket.receive())
                if isinstance(event, Started):
                    return event.call
                if isinstance(event, Stopped):
                    raise CallRefusedError("the stream ended before it started")
        raise CallRefusedError(f"no `start` within {self.limits.start_seconds:g} s")

    async def _listen(self, line: AudioLine) -> None:
        """Do what the provider says, until it says that the call is over."""
        while True:
            event = self._understand(await self.socket.receive())
            match event:
                case Spoken(samples):
                    line.queue(samples)
                case Pressed(digit):
                    line.press(digit)
                case Marked(name):
                    self._watch.came_back(name)
                case Cleared():
                    await line.clear()
                case Stopped():
                    return
                case _:
                    pass

    async def _speak(self, line: AudioLine, call_scope: trio.CancelScope) -> None:
        """Say what the lobby says, until there is no more of it."""
        try:
            while True:
                samples = await line.receive()
                if self.socket.queued_bytes > self.limits.max_queued_bytes:
                    self.statistics.dropped_frames += 1
                    continue
                now_s = trio.current_time()
                if self._watch.must_clear(now_s):
                    self.statistics.clears += 1
                    self.socket.send(self.dialect.clear())
                messages = self.dialect.audio(samples)
                for message in messages:
                    self.socket.send(message)
                if messages and (name := self._watch.next_mark(now_s)) is not None:
                    self.socket.send(self.dialect.mark(name))
        except LineClosed as closed:
            self.socket.close(CloseCode.NORMAL, str(closed))
            call_scope.cancel()

    def _understand(self, received_untrusted: str | bytes) -> object:
        """Return what a message says; None for one that is passed over.

        Raises: CallRefusedError.
        """
        self.statistics.messages += 1
        now = trio.current_time()
        if not self._messages.take(now):
            # Not even parsed: refusing must cost less than serving.
            raise CallRefusedError(f"more than {self.limits.messages_per_second:g} messages a second")
        try:
            return self.dialect.receive(text_of(received_untrusted))
        except PhoneFaultError as fault:
            self.statistics.faults += 1
            if self.statistics.faults == 1:
                _log.info("a provider's message is passed over", provider=self.dialect.name, fault=str(fault))
            if not self._faults.take(now):
                raise CallRefusedError(f"too many messages that are none, at last: {fault}") from None
            return None


def text_of(received_untrusted: str | bytes) -> str:
    """Return the message, if it is text.

    Raises: PhoneFaultError.
    """
    if isinstance(received_untrusted, bytes):
        raise PhoneFaultError("binary messages are not used: send JSON in text messages")
    return received_untrusted


def metadata_of(call: Call) -> Mapping[str, str]:
    """Return what is told of a call to whoever opens its line; no parameters, for those may hold secrets."""
    told = {PROVIDER: call.provider, CALL_ID: call.call_id, CALLING: call.calling, CALLED: call.called}
    return {name: value for name, value in told.items() if value}
