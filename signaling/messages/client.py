"""Messages a client sends. Each is answered by one reply that carries the request's id (see PROTOCOL.md)."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from signaling.messages.model import (
    MAX_CANDIDATE_LENGTH,
    MAX_SDP_LENGTH,
    ChatText,
    Identifier,
    LobbyName,
    Message,
    Mid,
    Name,
    Part,
    Password,
    Sequence,
    Source,
    Ticket,
)

#: More sections than a browser can negotiate in one connection today; the bound keeps lists finite.
MAX_SECTIONS = 1024


class ClientMessage(Message):
    """Base of everything a client may send."""


class Resume(ClientMessage):
    """Take the session of a lost connection back; only as the first message. Reply: ``resumed``.

    ``participant_id`` and ``last_seq`` say what the client has seen last: who it was, and the number of the last event
    it got as that participant. Without them, or when it is too long ago, the reply is a complete snapshot.
    """

    type: ClassVar[str] = "resume"
    resume_token: Annotated[str, Field(min_length=1, max_length=128)]
    participant_id: Identifier | None = None
    last_seq: Sequence | None = None


class Join(ClientMessage):
    """Enter a lobby, leaving the former one first. Reply: ``joined``.

    ``password``: of a private lobby. ``token``: a join token. ``bot_ticket``: what a bot was given when it was asked to
    come. ``name_password``: of a protected name.
    """

    type: ClassVar[str] = "join"
    lobby: LobbyName
    name: Name
    is_bot: StrictBool = False
    password: Password | None = None
    token: Ticket | None = None
    bot_ticket: Ticket | None = None
    name_password: Password | None = None


class Leave(ClientMessage):
    """Leave the lobby; ends the session's media as well. Reply: ``left``."""

    type: ClassVar[str] = "leave"


class SetName(ClientMessage):
    """Change the display name; ``name_password`` is that of a protected one. Reply: ``name_set``."""

    type: ClassVar[str] = "set_name"
    name: Name
    name_password: Password | None = None


class PublishRequest(Part):
    """This section of the offer sends a track."""

    mid: Mid
    source: Source


#: More than anybody could tell apart; how many there are is up to the lobby.
MAX_SLOT = 63
Slot = Annotated[StrictInt, Field(ge=0, le=MAX_SLOT)]


class Wish(Part):
    """A section and what it shall carry.

    A track by its id, one of the lobby's audio slots by its number, or the mix of all voices but one's own.
    """

    mid: Mid
    track_id: Identifier | None = None
    slot: Slot | None = None
    mix: StrictBool = False

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.track_id is not None) + (self.slot is not None) + self.mix != 1:
            raise ValueError("expected one of track_id, slot and mix")
        return self


class SubscribeRequest(Wish):
    """This section of the offer receives this track, slot or mix."""


class Offer(ClientMessage):
    """An SDP offer and what its sections are for. Reply: ``answer``."""

    type: ClassVar[str] = "offer"
    sdp: Annotated[str, Field(min_length=1, max_length=MAX_SDP_LENGTH)]
    publish: Annotated[tuple[PublishRequest, ...], Field(max_length=MAX_SECTIONS)] = ()
    subscribe: Annotated[tuple[SubscribeRequest, ...], Field(max_length=MAX_SECTIONS)] = ()


class Candidate(ClientMessage):
    """A trickled ICE candidate; accepted and not needed (the server is ICE-lite). Reply: ``ok``."""

    type: ClassVar[str] = "candidate"
    candidate: Annotated[str, Field(max_length=MAX_CANDIDATE_LENGTH)]
    sdp_mid: Mid | None = None
    sdp_mline_index: Annotated[StrictInt, Field(ge=0)] | None = None


class Subscribe(Wish, ClientMessage):
    """Let an already negotiated receiving section carry this track, slot or mix. Reply: ``subscribed``."""

    type: ClassVar[str] = "subscribe"


class Unsubscribe(ClientMessage):
    """Stop what a receiving section carries; the section stays. Reply: ``unsubscribed``."""

    type: ClassVar[str] = "unsubscribe"
    mid: Mid


class Mute(ClientMessage):
    """Stop or restart the forwarding of one's own track. Reply: ``ok``."""

    type: ClassVar[str] = "mute"
    track_id: Identifier
    muted: StrictBool


class ChatSend(ClientMessage):
    """Say something to the lobby. Reply: ``chat_sent``; everybody, the sender too, gets the event ``chat``."""

    type: ClassVar[str] = "chat"
    text: ChatText


#: More than a page shows at once.
MAX_CHAT_PAGE = 100


class ChatHistory(ClientMessage):
    """Ask for the lines of chat before number ``before`` (None: the newest). Reply: ``chat_page``."""

    type: ClassVar[str] = "chat_history"
    before: Annotated[Sequence, Field(ge=1)] | None = None
    limit: Annotated[StrictInt, Field(ge=1, le=MAX_CHAT_PAGE)] = 50


class Ping(ClientMessage):
    """Ask for a sign of life at application level. Reply: ``pong``."""

    type: ClassVar[str] = "ping"
