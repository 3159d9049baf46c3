"""Requests that wait for their replies, matched by id. No I/O."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import trio

from signaling.messages import (
    Answer,
    AudioListen,
    AudioListening,
    AudioUnlisten,
    Candidate,
    ChatHistory,
    ChatPage,
    ChatSend,
    ChatSent,
    ClientMessage,
    ErrorReply,
    Join,
    Joined,
    Leave,
    Left,
    Mute,
    NameSet,
    Offer,
    Ok,
    Ping,
    PlayClear,
    PlayCleared,
    PlayGain,
    PlayOpen,
    PlayOpened,
    Pong,
    Press,
    Resume,
    Resumed,
    ServerMessage,
    SetName,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from voicebot.errors import ProtocolError, VoicebotError

#: request -> the reply that grants it; a test compares it with the messages there are
REPLIES: dict[type[ClientMessage], type[ServerMessage]] = {
    Resume: Resumed,
    Join: Joined,
    Leave: Left,
    SetName: NameSet,
    Offer: Answer,
    Candidate: Ok,
    Subscribe: Subscribed,
    Unsubscribe: Unsubscribed,
    Mute: Ok,
    ChatSend: ChatSent,
    ChatHistory: ChatPage,
    Ping: Pong,
    AudioListen: AudioListening,
    AudioUnlisten: Ok,
    PlayOpen: PlayOpened,
    PlayClear: PlayCleared,
    PlayGain: Ok,
    Press: Ok,
}

#: Called with the reply that grants a request, before anything that was received after it is looked at.
OnReply = Callable[[ServerMessage], None]


class Waiter:
    """One request under way."""

    def __init__(self, request_id: int, reply: type[ServerMessage], on_reply: OnReply | None = None) -> None:
        self.request_id = request_id
        self._reply = reply
        self._on_reply = on_reply
        self._outcome: ServerMessage | VoicebotError | None = None
        self._decided = trio.Event()

    def decide(self, outcome: ServerMessage | VoicebotError) -> None:
        """Set the outcome; only the first counts."""
        if self._outcome is None:
            self._outcome = outcome
            self._decided.set()
            if self._on_reply is not None and isinstance(outcome, self._reply):
                self._on_reply(outcome)

    async def wait_reply(self) -> ServerMessage:
        """Wait for the outcome.

        Raises: ProtocolError when the server refused or sent a reply of the wrong kind; what ``fail_all`` was given.
        """
        await self._decided.wait()
        outcome = self._outcome
        assert outcome is not None
        if isinstance(outcome, ErrorReply):
            raise ProtocolError(outcome.code, outcome.error, field=outcome.field)
        if isinstance(outcome, VoicebotError):
            raise outcome
        if not isinstance(outcome, self._reply):
            raise ProtocolError(
                "unexpected_reply", f"expected a reply `{self._reply.type}`, received `{outcome.type}`"
            )
        return outcome


class Waiters:
    """All requests under way on one connection."""

    def __init__(self, replies: Mapping[type[ClientMessage], type[ServerMessage]] = REPLIES) -> None:
        self._replies = replies
        self._next_id = 1
        self._waiters: dict[int, Waiter] = {}
        #: Replies nobody waited for any more: their request had been cancelled or had timed out.
        self.late = 0

    @contextmanager
    def expect(self, message: ClientMessage, on_reply: OnReply | None = None) -> Iterator[Waiter]:
        """Give a request its id; the reply is awaited inside the scope."""
        waiter = Waiter(self._next_id, self._replies[type(message)], on_reply)
        self._next_id += 1
        self._waiters[waiter.request_id] = waiter
        try:
            yield waiter
        finally:
            del self._waiters[waiter.request_id]

    def decide(self, request_id: int, outcome: ServerMessage | VoicebotError) -> None:
        """Hand a reply to the request it answers."""
        waiter = self._waiters.get(request_id)
        if waiter is None:
            self.late += 1
        else:
            waiter.decide(outcome)

    def fail_all(self, error: VoicebotError) -> None:
        """End every request under way with this error."""
        for waiter in self._waiters.values():
            waiter.decide(error)
