"""Messages the server sends: replies (they carry ``re``) and events (they do not)."""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field, StrictBool, StrictInt

from signaling.messages.model import (
    ChatMessage,
    LobbySnapshot,
    MediaStateName,
    Message,
    Part,
    Participant,
    Track,
)


class ServerMessage(Message):
    """Base of everything the server may send."""


# Replies, in the order of the requests in client.py.


class Resumed(ServerMessage):
    """Reply to ``resume``: the former session is this connection's again.

    ``replayed``: the client has the lobby as it was at ``last_seq``; the events after that follow, and ``lobby`` is None.
    Otherwise ``lobby`` is the lobby as it is now (None: in none), and events follow from exactly there.
    ``audio_streams``: the streams and subscriptions of ``audio_listen`` and ``play_open`` that go on; all others are over.
    ``private_audio``: as the event of that name has it.
    """

    type: ClassVar[str] = "resumed"
    session_id: str
    replayed: StrictBool = False
    lobby: LobbySnapshot | None
    media_state: MediaStateName
    audio_streams: tuple[StrictInt, ...] = ()
    private_audio: tuple[str, ...] = ()


class Joined(LobbySnapshot, ServerMessage):
    """Reply to ``join``: the lobby as it is now; events follow from exactly here."""

    type: ClassVar[str] = "joined"


class Left(ServerMessage):
    """Reply to ``leave``."""

    type: ClassVar[str] = "left"


class NameSet(ServerMessage):
    """Reply to ``set_name``."""

    type: ClassVar[str] = "name_set"
    name: str


class PublishedTrack(Part):
    """A section of the client's that the relay now takes a track from."""

    mid: str
    track_id: str


class SubscribedTrack(Part):
    """A section of the client's that now carries this track, the audio slot of this number, or the mix."""

    mid: str
    track_id: str | None = None
    slot: StrictInt | None = None
    mix: StrictBool = False


class RefusedSection(Part):
    """A section of the offer that was not taken, and why; the others were."""

    mid: str
    code: str
    error: str


class Answer(ServerMessage):
    """Reply to ``offer``."""

    type: ClassVar[str] = "answer"
    sdp: str
    published: tuple[PublishedTrack, ...]
    subscribed: tuple[SubscribedTrack, ...]
    refused: tuple[RefusedSection, ...]


class Ok(ServerMessage):
    """Reply to ``candidate``, ``mute``, ``audio_unlisten``, ``play_gain`` and ``press``: done."""

    type: ClassVar[str] = "ok"


class Subscribed(ServerMessage):
    """Reply to ``subscribe``."""

    type: ClassVar[str] = "subscribed"
    track_id: str | None = None
    slot: StrictInt | None = None
    mix: StrictBool = False
    mid: str


class Unsubscribed(ServerMessage):
    """Reply to ``unsubscribe``."""

    type: ClassVar[str] = "unsubscribed"
    mid: str


class ChatSent(ServerMessage):
    """Reply to ``chat``: the number the line got."""

    type: ClassVar[str] = "chat_sent"
    seq: StrictInt


class ChatPage(ServerMessage):
    """Reply to ``chat_history``: lines in ascending order; ``more``: there are older ones."""

    type: ClassVar[str] = "chat_page"
    messages: tuple[ChatMessage, ...]
    more: StrictBool


class Pong(ServerMessage):
    """Reply to ``ping``: the server's clock."""

    type: ClassVar[str] = "pong"
    time: AwareDatetime


class ErrorReply(ServerMessage):
    """A request failed and changed nothing; see ``ERROR_CODES``.

    ``correlation_id`` finds what the server's log, events and audit say of this connection.
    """

    type: ClassVar[str] = "error"
    code: str
    error: str
    field: str | None = None
    correlation_id: str = ""


# Events.


class ServerIdentity(Part):
    """Which software answers."""

    name: str
    version: str


class Limits(Part):
    """What this server accepts, so that a client can refuse early and in words of its own."""

    max_message_bytes: StrictInt
    max_name_length: StrictInt
    max_lobby_length: StrictInt
    max_chat_length: StrictInt
    chat_history: StrictInt
    keepalive_seconds: float


class Welcome(ServerMessage):
    """First frame on every connection. ``resume_token`` is a secret."""

    type: ClassVar[str] = "welcome"
    session_id: str
    resume_token: str
    resume_seconds: float
    server: ServerIdentity
    limits: Limits
    correlation_id: str = ""


class ParticipantJoined(ServerMessage):
    """Somebody entered the lobby."""

    type: ClassVar[str] = "participant_joined"
    participant: Participant


class ParticipantLeft(ServerMessage):
    """Somebody left, or was removed; their tracks ended with them."""

    type: ClassVar[str] = "participant_left"
    participant_id: str
    reason: str


class ParticipantUpdated(ServerMessage):
    """A participant's name changed."""

    type: ClassVar[str] = "participant_updated"
    participant: Participant


class TrackPublished(ServerMessage):
    """A participant sends a new track."""

    type: ClassVar[str] = "track_published"
    participant_id: str
    track: Track


class TrackUnpublished(ServerMessage):
    """A track ended; sections that carried it fall silent."""

    type: ClassVar[str] = "track_unpublished"
    participant_id: str
    track_id: str


class TrackUpdated(ServerMessage):
    """A track was muted or unmuted."""

    type: ClassVar[str] = "track_updated"
    participant_id: str
    track: Track


class ChatPosted(ServerMessage):
    """A line of chat, to everybody in the lobby including its author."""

    type: ClassVar[str] = "chat"
    message: ChatMessage


class Speaking(ServerMessage):
    """A participant started or stopped speaking; 0 dBov is the loudest there is, 127 is silence (RFC 6464)."""

    type: ClassVar[str] = "speaking"
    participant_id: str
    speaking: StrictBool
    level_dbov: Annotated[StrictInt, Field(ge=0, le=127)]


class LobbyClosed(ServerMessage):
    """The lobby is no more; nobody is in it. The session lives on."""

    type: ClassVar[str] = "lobby_closed"
    reason: str


class Removed(ServerMessage):
    """The client is no longer in its lobby, by somebody else's will; the text says whose."""

    type: ClassVar[str] = "removed"
    reason: str
    text: str


class MediaState(ServerMessage):
    """The client's own connection to the relay changed its state."""

    type: ClassVar[str] = "media_state"
    state: MediaStateName
    reason: str | None = None


class PrivateAudio(ServerMessage):
    """These participants, and no others, speak to this client alone from now on (``play_open`` with ``to``).

    The mix and streams of samples have it, audio slots do not.
    """

    type: ClassVar[str] = "private_audio"
    participant_ids: tuple[str, ...]


class Closing(ServerMessage):
    """The server is about to close this connection; the close code follows."""

    type: ClassVar[str] = "closing"
    reason: str
