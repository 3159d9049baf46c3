"""Everything that happens in the service, as typed values. Who hears of it is the bus's affair (``bus.py``)."""

from dataclasses import dataclass, field
from typing import ClassVar

from signaling.messages import ChatMessage, MediaStateName, Participant, Track


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events.

    ``latest_by`` is set by events that happen many times a second and tell a state: of those whose fields of these
    names are equal only the newest is news. Such events are batched, and not kept.
    """

    latest_by: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class SessionEvent(Event):
    """Base of what happens to a session, and the company that this concerns: of its lobby, or it was made for."""

    session_id: str
    company_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class SessionOpened(SessionEvent):
    """A client connected and got a session."""


@dataclass(frozen=True, slots=True)
class SessionDetached(SessionEvent):
    """A session lost its connection and waits to be resumed."""


@dataclass(frozen=True, slots=True)
class SessionResumed(SessionEvent):
    """A client took its session back."""


@dataclass(frozen=True, slots=True)
class SessionRestored(SessionEvent):
    """A session from before a restart waits for its client."""


@dataclass(frozen=True, slots=True)
class SessionSuspended(SessionEvent):
    """The server stops; the session is kept for after a restart."""


@dataclass(frozen=True, slots=True)
class SessionEnded(SessionEvent):
    """A session is over and holds nothing any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class MediaStateChanged(SessionEvent):
    """A session's connection to the relay changed."""

    state: MediaStateName
    reason: str | None


@dataclass(frozen=True, slots=True)
class WorkerOverloaded(Event):
    """A media worker cannot keep up and sheds the least important media."""

    worker: int
    wait_ms: float


@dataclass(frozen=True, slots=True)
class WorkerRecovered(Event):
    """A media worker forwards everything again; what it did not, by reason."""

    worker: int
    lasted_seconds: float
    worst_level: int
    packets_shed: int
    shed: dict[str, int]


@dataclass(frozen=True, slots=True)
class LobbyEvent(Event):
    """Base of what happens in a lobby: its name, its id (a name may come back, an id does not), and whose it is."""

    lobby: str
    lobby_id: str = field(default="", kw_only=True)
    company_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class LobbyOpened(LobbyEvent):
    """The lobby was made: the first participant is about to enter, or somebody made it for later."""


@dataclass(frozen=True, slots=True)
class LobbyUpdated(LobbyEvent):
    """What the lobby asks of those who enter has changed."""


@dataclass(frozen=True, slots=True)
class LobbyClosed(LobbyEvent):
    """The lobby is no more: the last participant has left (``empty``), or somebody closed it."""

    reason: str = "empty"


@dataclass(frozen=True, slots=True)
class ParticipantEntered(LobbyEvent):
    """A session joined the lobby."""

    session_id: str
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantGone(LobbyEvent):
    """A session left the lobby, with all its tracks."""

    participant_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParticipantRenamed(LobbyEvent):
    """A participant's name changed."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class TrackStarted(LobbyEvent):
    """A participant publishes a new track."""

    participant_id: str
    track: Track


@dataclass(frozen=True, slots=True)
class TrackChanged(LobbyEvent):
    """A track was muted or unmuted."""

    participant_id: str
    track: Track


@dataclass(frozen=True, slots=True)
class TrackEnded(LobbyEvent):
    """A track is no longer published."""

    participant_id: str
    track_id: str


@dataclass(frozen=True, slots=True)
class ChatSaid(LobbyEvent):
    """Somebody wrote a line of chat."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class SpeakingChanged(LobbyEvent):
    """A participant started or stopped speaking."""

    latest_by: ClassVar[tuple[str, ...]] = ("participant_id",)

    participant_id: str
    speaking: bool
    level_dbov: int


@dataclass(frozen=True, slots=True)
class DtmfPressed(LobbyEvent):
    """A participant pressed a key of a telephone."""

    participant_id: str
    digit: str
