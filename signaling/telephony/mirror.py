"""A bot that was written for Twilio, in a lobby: we open its WebSocket and are Twilio, its line in the mix is the call.

What the lobby says goes to the bot, 20 ms at a time and without a break: where the line has nothing to give, for an idle lobby
is not mixed, silence is sent, for bots tell by it that somebody has stopped speaking. What the bot sends is queued in the
line; its marks go back when the line has played up to them, its ``clear`` drops what has not been played.
"""

from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from secrets import token_hex

import numpy as np
import trio

from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.rate_limit import TokenBucket
from signaling.telephony.bot_dialer import BotDialer, BotUnreachableError
from signaling.telephony.calls import Socket, text_of
from signaling.telephony.line import (
    FRAME_MS,
    AudioLine,
    LineClosed,
    LineOverflowError,
    LineRefusedError,
    Samples,
)
from signaling.telephony.phone import CallRefusedError, PhoneFaultError
from signaling.telephony.signature import signature_of
from signaling.telephony.twilio import RATE
from signaling.telephony.twilio_mirror import BotAudio, BotEvent, BotMark, MirroredStream, StreamIds
from signaling.websocket import Disconnected

SIGNATURE_HEADER = "X-Twilio-Signature"
_FRAME_SECONDS = FRAME_MS / 1000
_SILENCE: Samples = np.zeros(RATE * FRAME_MS // 1000, np.int16)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorLimits:
    """How patient we are with a bot."""

    #: Five minutes of speech may come at once, in pieces of 20 ms.
    message_burst: float = 20_000.0
    messages_per_second: float = 1_000.0
    #: Messages that are none.
    fault_burst: float = 20.0
    faults_per_second: float = 1.0
    #: Marks that wait for what is before them.
    marks: int = 1_000
    #: While so much waits to be written no audio is added: a second and a half.
    max_queued_bytes: int = 25_000
    #: After so long without anything from the line, silence is sent ...
    silence_after_seconds: float = 0.1
    #: ... but not so soon after sound: a mix goes on for two seconds after the last of it, so what does not come is late, and
    #: silence in its place would be heard as a gap and leave the bot behind.
    silence_after_sound_seconds: float = 1.0


MIRROR_LIMITS = MirrorLimits()


@dataclass(frozen=True, slots=True)
class MirrorEnd:
    """How it ended; ``failed``: not as either side wanted it."""

    reason: str
    failed: bool


@dataclass(slots=True)
class Mirror:
    """One bot's stream on an open socket. ``run`` serves it to its end, and closes the socket."""

    socket: Socket
    line: AudioLine
    stream: MirroredStream
    #: Keys that are pressed in the lobby, for the bot.
    digits: AsyncIterable[str] | None = None
    #: Set from outside: the bot is to go.
    hang_up: trio.Event = field(default_factory=trio.Event)
    limits: MirrorLimits = MIRROR_LIMITS
    faults: int = 0
    dropped_frames: int = 0
    _end: MirrorEnd | None = None
    _position: int = 0
    _messages: TokenBucket = field(init=False)
    _patience: TokenBucket = field(init=False)

    async def run(self) -> MirrorEnd:
        """Serve the bot; return how it ended."""
        limits, now = self.limits, trio.current_time()
        self._messages = TokenBucket(
            burst=limits.message_burst, per_second=limits.messages_per_second, now=now
        )
        self._patience = TokenBucket(burst=limits.fault_burst, per_second=limits.faults_per_second, now=now)
        marks, marks_due = trio.open_memory_channel[tuple[int, str]](limits.marks)
        self.socket.send(self.stream.connected())
        self.socket.send(self.stream.start())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, nursery.cancel_scope)
            nursery.start_soon(self._return_marks, marks_due)
            nursery.start_soon(self._wait_hang_up, nursery.cancel_scope)
            if self.digits is not None:
                nursery.start_soon(self._tell_digits, self.digits)
            try:
                await self._obey(marks)
            except Disconnected:
                self._note_end("the bot closed the connection", failed=False)
            except LineClosed as closed:  # what is queued comes too late
                self._finish(str(closed), nursery.cancel_scope)
            except (CallRefusedError, LineOverflowError) as refused:
                self._note_end(str(refused), failed=True)
                self.socket.close(CloseCode.POLICY, str(refused))
            nursery.cancel_scope.cancel()
        assert self._end is not None
        return self._end

    async def _speak(self, scope: trio.CancelScope) -> None:
        """Send what the lobby says, or silence, until the line is closed."""
        limits = self.limits
        due_s = trio.current_time() + limits.silence_after_seconds
        while True:
            samples = _SILENCE
            try:
                with trio.move_on_at(due_s) as waiting:
                    samples = await self.line.receive()
            except LineClosed as closed:
                self._finish(str(closed), scope)
                return
            # Silence of ours follows silence of ours at once.
            if waiting.cancelled_caught:
                due_s += _FRAME_SECONDS
            else:
                patience = (
                    limits.silence_after_sound_seconds if samples.any() else limits.silence_after_seconds
                )
                due_s = trio.current_time() + patience
            if self.socket.queued_bytes > limits.max_queued_bytes:
                self.dropped_frames += 1
            else:
                self.socket.send(self.stream.media(samples))

    async def _obey(self, marks: trio.MemorySendChannel[tuple[int, str]]) -> None:
        """Do what the bot says, for ever."""
        while True:
            event = self._understand(await self.socket.receive())
            if event is None:
                continue
            if isinstance(event, BotAudio):
                if event.samples.size:
                    self._position = self.line.queue(event.samples)
            elif isinstance(event, BotMark):
                try:
                    marks.send_nowait((self._position, event.name))
                except trio.WouldBlock:
                    raise CallRefusedError(f"more than {self.limits.marks} marks wait") from None
            else:
                await self.line.clear()

    async def _return_marks(self, due: trio.MemoryReceiveChannel[tuple[int, str]]) -> None:
        with suppress(LineClosed):
            async for position, name in due:
                await self.line.wait_played(position)
                self.socket.send(self.stream.mark(name))

    async def _tell_digits(self, digits: AsyncIterable[str]) -> None:
        async for digit in digits:
            self.socket.send(self.stream.dtmf(digit))

    async def _wait_hang_up(self, scope: trio.CancelScope) -> None:
        await self.hang_up.wait()
        self._finish("it was told to go", scope)

    def _finish(self, reason: str, scope: trio.CancelScope) -> None:
        """End the stream as Twilio ends it when a call is over."""
        if self._end is None:
            self._note_end(reason, failed=False)
            self.socket.send(self.stream.stop())
            self.socket.close(CloseCode.NORMAL, reason)
        scope.cancel()

    def _note_end(self, reason: str, *, failed: bool) -> None:
        if self._end is None:
            self._end = MirrorEnd(reason, failed)

    def _understand(self, received_untrusted: str | bytes) -> BotEvent | None:
        """Return what a message says; None for one that is passed over.

        Raises: CallRefusedError.
        """
        now = trio.current_time()
        if not self._messages.take(now):
            raise CallRefusedError(f"more than {self.limits.messages_per_second:g} messages a second")
        try:
            return self.stream.receive(text_of(received_untrusted))
        except PhoneFaultError as fault:
            self.faults += 1
            if self.faults == 1:
                _log.info("a bot's message is passed over", fault=str(fault))
            if not self._patience.take(now):
                raise CallRefusedError(f"too many messages that are none, at last: {fault}") from None
            return None


async def attach_bot(
    url: str,
    opening: AbstractAsyncContextManager[AudioLine],
    parameters: Mapping[str, str],
    *,
    trusted: bool,
    dialer: BotDialer,
    auth_token: str = "",
    digits: AsyncIterable[str] | None = None,
    hang_up: trio.Event | None = None,
    limits: MirrorLimits = MIRROR_LIMITS,
) -> MirrorEnd:
    """Open a Twilio bot's WebSocket, then a line of 8000 Hz, and connect the two until either ends; return how it ended.

    ``parameters`` reach the bot as ``customParameters``. ``trusted`` says that the URL is the operator's own choice, so that
    private addresses are fine. With an ``auth_token`` the request is signed as Twilio would. ``digits`` are keys pressed in
    the lobby. Setting ``hang_up`` ends the stream in order; cancelling ends it, too, with fewer words.

    Raises: BotUnreachableError, LineRefusedError; the bot has not heard anything then.
    """
    headers = {SIGNATURE_HEADER: signature_of(auth_token, url)} if auth_token else {}
    fault: BotUnreachableError | LineRefusedError | None = None
    async with trio.open_nursery() as nursery:
        try:
            socket = await dialer.dial(nursery, url, trusted=trusted, headers=headers)
            try:
                async with opening as line:
                    assert line.rate == RATE, "Twilio's bots hear 8000 Hz"
                    stream = MirroredStream(new_ids(), parameters)
                    told = trio.Event() if hang_up is None else hang_up
                    mirror = Mirror(socket, line, stream, digits, told, limits)
                    end = await mirror.run()
                if socket.ended is not None:
                    end = MirrorEnd(socket.ended, end.failed or socket.failed)
            finally:
                await socket.aclose()
        except (
            BotUnreachableError,
            LineRefusedError,
        ) as error:  # to leave the nursery as it is, not in a group
            fault = error
        nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
    return end


async def run_mirror(
    url: str,
    line: AudioLine,
    parameters: Mapping[str, str],
    *,
    trusted: bool,
    dialer: BotDialer,
    auth_token: str = "",
    digits: AsyncIterable[str] | None = None,
    hang_up: trio.Event | None = None,
) -> MirrorEnd:
    """Connect a Twilio bot's WebSocket with a line that is open; see ``attach_bot``.

    Raises: BotUnreachableError.
    """
    return await attach_bot(
        url,
        nullcontext(line),
        parameters,
        trusted=trusted,
        dialer=dialer,
        auth_token=auth_token,
        digits=digits,
        hang_up=hang_up,
    )


def new_ids() -> StreamIds:
    """Return ids as Twilio's: a kind in two letters and 32 hexadecimal digits."""
    return StreamIds(f"MZ{token_hex(16)}", f"CA{token_hex(16)}", f"AC{token_hex(16)}")
