"""What ``Connection.events()`` yields, and the bounded queue in which it waits.

Events of the server are the models of ``signaling.messages``; the three here, and ``PlayoutEnded``, are the client's own.
"""

from collections import deque
from dataclasses import dataclass
from typing import Self

import trio

from signaling.messages import LobbySnapshot, MediaStateName, ServerMessage
from voicebot.audio.playout import PlayoutEnded
from voicebot.errors import VoicebotError


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The WebSocket was lost. The session and its media live on at the server for ``welcome.resume_seconds``.

    ``code`` is the close code, None when none was received. Without ``will_reconnect`` this is the last event.
    """

    reason: str
    code: int | None
    will_reconnect: bool


@dataclass(frozen=True, slots=True)
class Reconnected:
    """There is a WebSocket again.

    ``resumed``: the session is the former one and ``media_state`` says whether its media lives. Otherwise the
    session is new, the former lobby (if any) was joined again under a new participant id, and the media is gone:
    offer from a new ``RTCPeerConnection``. ``lobby`` is the lobby as it is now; what happened meanwhile is in there.
    When it is ``replayed``, what happened meanwhile follows as events, none missing and none twice, and ``lobby`` is None.
    """

    resumed: bool
    lobby: LobbySnapshot | None
    media_state: MediaStateName
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """The reader was too slow: this many events were dropped at this place. ``Connection.lobby`` is still right."""

    count: int


Event = ServerMessage | Disconnected | Reconnected | EventsDropped | PlayoutEnded


class EventQueue:
    """A bounded queue between the socket and the bot.

    Overflow policy: the oldest event goes, ``dropped`` counts it, and the reader finds an ``EventsDropped`` in its
    place. The socket's reader is never held up, so that pongs and replies keep flowing to a slow bot.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity of an event queue must be at least 1, not {capacity}")
        self._events: deque[Event] = deque(maxlen=capacity)
        self._readers = trio.lowlevel.ParkingLot()
        self._missing = 0
        self._error: VoicebotError | None = None
        #: Events dropped since the beginning.
        self.dropped = 0

    def put_nowait(self, event: Event) -> None:
        """Append an event, dropping the oldest when full; after ``close`` it goes nowhere."""
        if self._error is not None:
            return
        if len(self._events) == self._events.maxlen:
            self._missing += 1
            self.dropped += 1
        self._events.append(event)
        self._readers.unpark()

    def close(self, error: VoicebotError) -> None:
        """Let readers have what is there, and then this error."""
        self._error = error
        self._readers.unpark_all()

    def __aiter__(self) -> Self:
        return self

    # Not an async generator: one that is left in the middle must be closed by its user, which nobody remembers.
    async def __anext__(self) -> Event:
        return await self.get()

    async def get(self) -> Event:
        """Wait for the next event.

        Raises: the error given to ``close``, after the last event.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._events:
            if self._error is not None:
                raise self._error
            await self._readers.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._missing:
            count, self._missing = self._missing, 0
            return EventsDropped(count)
        return self._events.popleft()
