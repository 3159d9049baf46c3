"""What the participants of a lobby are told about each event: a table from event to message."""

from collections.abc import Callable
from typing import Any

from signaling import events
from signaling.messages import (
    ChatPosted,
    Dtmf,
    LobbyClosed,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    ServerMessage,
    Speaking,
    TrackPublished,
    TrackUnpublished,
    TrackUpdated,
)

ANNOUNCEMENTS: dict[type[events.LobbyEvent], Callable[[Any], ServerMessage]] = {
    events.LobbyClosed: lambda event: LobbyClosed(reason=event.reason),
    events.ParticipantEntered: lambda event: ParticipantJoined(participant=event.participant),
    events.ParticipantGone: lambda event: ParticipantLeft(
        participant_id=event.participant_id, reason=event.reason
    ),
    events.ParticipantRenamed: lambda event: ParticipantUpdated(participant=event.participant),
    events.TrackStarted: lambda event: TrackPublished(participant_id=event.participant_id, track=event.track),
    events.TrackChanged: lambda event: TrackUpdated(participant_id=event.participant_id, track=event.track),
    events.TrackEnded: lambda event: TrackUnpublished(
        participant_id=event.participant_id, track_id=event.track_id
    ),
    events.ChatSaid: lambda event: ChatPosted(message=event.message),
    events.SpeakingChanged: lambda event: Speaking(
        participant_id=event.participant_id, speaking=event.speaking, level_dbov=event.level_dbov
    ),
    events.DtmfPressed: lambda event: Dtmf(participant_id=event.participant_id, digit=event.digit),
}


def announce(event: events.LobbyEvent) -> ServerMessage:
    """Return what the lobby hears of the event."""
    return ANNOUNCEMENTS[type(event)](event)
