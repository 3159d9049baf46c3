"""``Speakers``: a stream for everybody who says something, as they first do."""

import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import trio

from voicebot.audio.ending_queue import EndingQueue
from voicebot.audio.stream import AudioStream


class Arrivals(EndingQueue[AudioStream]):
    """Streams that wait for the reader of one ``Speakers``. Bounded by the size of a lobby: one for each speaker."""

    def __init__(self, rate: int, frame_ms: int) -> None:
        super().__init__()
        self.rate = rate
        self.frame_ms = frame_ms
        self.abandoned = False

    def abandon(self) -> None:
        """Note that nobody reads it any more; called when the reader is garbage."""
        self.abandoned = True

    def put_nowait(self, stream: AudioStream) -> None:
        """Append a stream; after ``end`` it goes nowhere."""
        if self.ended is None:
            # Of somebody who left before anybody looked, nothing need be seen: who comes and goes must not add up.
            self._waiting = deque(each for each in self._waiting if each.ended is None)
            self._put(stream)


class Speakers:
    """The voices of a lobby, one by one: ``async for stream in speakers``. Made by ``Connection.speakers``.

    Each is an ``AudioStream`` of one participant, which begins when they are first heard and ends when they leave.
    Read each in a task of its own::

        async with trio.open_nursery() as nursery, bot.speakers() as speakers:
            async for stream in speakers:
                nursery.start_soon(transcribe, stream)

    The relay is asked when it is first read, or on entering ``async with``, which ends it, and its streams, as well;
    so does ``aclose``. After a new session (``Reconnected`` without ``resumed``) the streams end, for participants have new ids
    then, and new ones begin.

    Reading raises as that of an ``AudioStream``.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        open_: Callable[[Arrivals], Awaitable[None]],
        close: Callable[[Arrivals], None],
    ) -> None:
        self._arrivals = arrivals
        self._open = open_
        self._close = close
        weakref.finalize(self, arrivals.abandon).atexit = False

    async def __aenter__(self) -> Self:
        await self._open(self._arrivals)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioStream:
        await self._open(self._arrivals)
        stream = await self._arrivals.get()
        if stream is None:
            raise StopAsyncIteration
        return stream

    async def aclose(self) -> None:
        """End it and its streams."""
        self._close(self._arrivals)
        await trio.lowlevel.checkpoint()
