"""``AudioStream``: one voice, or everybody together, frame by frame."""

import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import trio

from signaling.messages import AudioFrameWire
from voicebot.audio.frame import AudioFrame
from voicebot.audio.inbox import Inbox

#: No stream begins that much before it is told of; frames that say so are not believed.
MAX_LEAD_SECONDS = 1.0


class Source:
    """A stream as the listening side of a connection keeps it, until its reader has gone."""

    def __init__(self, rate: int, frame_ms: int, participant: str | None) -> None:
        self.rate = rate
        self.frame_ms = frame_ms
        self.participant = participant
        self.inbox = Inbox()
        #: Added to the relay's timestamps: what the stream lasted before it was opened again.
        self.offset = 0
        #: When its timestamps were 0, by trio's clock, as well as that can be told.
        self.opened_s: float | None = None
        #: When the relay told of it first.
        self.told_s = 0.0
        #: The reader went without a word.
        self.abandoned = False

    def abandon(self) -> None:
        """Note that nobody reads it any more; called when the reader is garbage."""
        self.abandoned = True

    def restart(self, now_s: float) -> None:
        """Let timestamps begin anew at the relay, and go on here as time did."""
        if self.opened_s is None:
            self.opened_s = self.told_s = now_s
        else:
            self.offset = round((now_s - self.opened_s) * self.rate)
            self.inbox.mark_gap()

    def receive(self, wire: AudioFrameWire) -> None:
        """Take a frame from the relay."""
        timestamp = self.offset + wire.timestamp
        if self.opened_s is not None:
            # The relay begins a little before somebody's first word. What comes soonest tells best when it was said.
            began_s = trio.current_time() - (timestamp + wire.samples) / self.rate
            if self.told_s - began_s <= MAX_LEAD_SECONDS:
                self.opened_s = min(self.opened_s, began_s)
        self.inbox.put_nowait(
            AudioFrame(
                pcm=bytes(wire.pcm),
                rate=self.rate,
                timestamp=timestamp,
                participant=self.participant,
                level=wire.level_dbov,
                voiced=wire.voiced,
                gap=wire.gap,
            )
        )


class AudioStream:
    """Frames of sound, as they come: ``async for frame in stream``. Made by ``Connection``.

    The relay is asked for it when it is first read, or on entering ``async with``, which ends it as well; so does ``aclose``.
    Without either it ends when nobody holds it any more.

    Frames wait for a slow reader in a queue of 64; then the oldest goes, ``dropped`` counts it, and the next frame has
    ``gap`` set. While nobody in the lobby makes a sound for some seconds no frames come; timestamps count on.

    When the connection is replaced and the session is a new one, the stream is opened again, and goes on: the
    first frame then has ``gap`` set, and timestamps go on as time did. It ends when its participant leaves.

    Reading raises: ProtocolError when the relay refuses; ConnectionLostError once the connection is lost for good.
    """

    def __init__(
        self, source: Source, open_: Callable[[Source], Awaitable[None]], close: Callable[[Source], None]
    ) -> None:
        self._source = source
        self._open = open_
        self._close = close
        weakref.finalize(self, source.abandon).atexit = False

    @property
    def participant(self) -> str | None:
        """Whose voice it is, by participant id; None: everybody's but one's own."""
        return self._source.participant

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._source.rate

    @property
    def frame_ms(self) -> int:
        """How long each frame is."""
        return self._source.frame_ms

    @property
    def dropped(self) -> int:
        """How many frames this reader was too slow for."""
        return self._source.inbox.dropped

    @property
    def ended(self) -> str | None:
        """Why no more frames come, such as ``left``; None while they do."""
        return self._source.inbox.ended

    @property
    def began_s(self) -> float | None:
        """When its timestamps were 0, by ``trio.current_time()``; None before it was opened.

        It is as exact as the network is quick, and gets better with the first frames: a stream of ``Speakers`` begins up to 200 ms
        before it could be told of.
        """
        return self._source.opened_s

    async def __aenter__(self) -> Self:
        await self._open(self._source)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    # Not an async generator: one that is left in the middle must be closed by its user, which nobody remembers.
    async def __anext__(self) -> AudioFrame:
        await self._open(self._source)
        frame = await self._source.inbox.get()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def aclose(self) -> None:
        """End the stream; who reads it comes to its end."""
        self._close(self._source)
        await trio.lowlevel.checkpoint()
