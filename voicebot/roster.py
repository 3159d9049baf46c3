"""Who is in the lobby: a mirror kept by applying the server's messages in their order. No tasks, no I/O."""

from collections.abc import Callable, Iterator
from typing import Any

from signaling.messages import (
    Joined,
    Left,
    LobbyClosed,
    LobbySnapshot,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    Removed,
    Resumed,
    ServerMessage,
    Speaking,
    Track,
    TrackPublished,
    TrackUnpublished,
    TrackUpdated,
)


class Roster:
    """The lobby a connection is in. While the connection is down it shows the last state known."""

    def __init__(self) -> None:
        #: Name of the lobby; None when in none.
        self.lobby: str | None = None
        #: Who we are in it.
        self.participant_id: str | None = None
        #: Everybody in the order of joining, ourselves included, by participant id. Read only.
        self.participants: dict[str, Participant] = {}
        #: How many audio slots it has: sections in which whoever speaks is heard. See ``Connection.offer``.
        self.audio_slots = 0
        #: Number of the last event that is in here; None when in no lobby.
        self.seq: int | None = None

    @property
    def me(self) -> Participant | None:
        """Our own entry; None when in no lobby."""
        return self.participants.get(self.participant_id) if self.participant_id else None

    @property
    def others(self) -> tuple[Participant, ...]:
        """Everybody but us."""
        return tuple(p for p in self.participants.values() if p.participant_id != self.participant_id)

    def tracks_of_others(self) -> Iterator[tuple[Participant, Track]]:
        """Yield what there is to subscribe to. Those with ``in_slots`` are heard through the audio slots as well."""
        for participant in self.others:
            for track in participant.tracks:
                yield participant, track

    def apply(self, message: ServerMessage, seq: int | None = None) -> bool:
        """Follow one message; those that say nothing about the lobby change nothing.

        ``seq`` is the number of an event of a lobby. Returns False, and does nothing, for one that is in here already.
        """
        if seq is not None:
            if self.seq is None or seq <= self.seq:
                return False
            self.seq = seq
        change = _CHANGES.get(type(message))
        if change is not None:
            change(self, message)
        return True

    def _enter(self, snapshot: LobbySnapshot) -> None:
        self.lobby = snapshot.lobby
        self.participant_id = snapshot.participant_id
        self.participants = {p.participant_id: p for p in snapshot.participants}
        self.audio_slots = snapshot.audio_slots
        self.seq = snapshot.seq

    def _resume(self, message: Resumed) -> None:
        if message.replayed:
            return  # what was missed follows
        if message.lobby is None:
            self._leave()
        else:
            self._enter(message.lobby)

    def _leave(self, _message: Left | LobbyClosed | Removed | None = None) -> None:
        self.lobby = None
        self.participant_id = None
        self.participants = {}
        self.audio_slots = 0
        self.seq = None

    def _put(self, message: ParticipantJoined | ParticipantUpdated) -> None:
        self.participants[message.participant.participant_id] = message.participant

    def _remove(self, message: ParticipantLeft) -> None:
        self.participants.pop(message.participant_id, None)

    def _put_track(self, message: TrackPublished | TrackUpdated) -> None:
        self._replace_tracks(message.participant_id, message.track.track_id, message.track)

    def _remove_track(self, message: TrackUnpublished) -> None:
        self._replace_tracks(message.participant_id, message.track_id, None)

    def _set_speaking(self, message: Speaking) -> None:
        participant = self.participants.get(message.participant_id)
        if participant is not None:
            speaking = participant.model_copy(update={"speaking": message.speaking})
            self.participants[message.participant_id] = speaking

    def _replace_tracks(self, participant_id: str, track_id: str, track: Track | None) -> None:
        participant = self.participants.get(participant_id)
        if participant is None:
            return
        tracks = {existing.track_id: existing for existing in participant.tracks}
        if track is None:
            tracks.pop(track_id, None)
        else:
            tracks[track_id] = track
        self.participants[participant_id] = participant.model_copy(update={"tracks": tuple(tracks.values())})


#: message -> what it does to a roster
_CHANGES: dict[type[ServerMessage], Callable[[Roster, Any], None]] = {
    Joined: Roster._enter,  # noqa: SLF001 - the table of the class above
    Resumed: Roster._resume,  # noqa: SLF001
    Left: Roster._leave,  # noqa: SLF001
    ParticipantJoined: Roster._put,  # noqa: SLF001
    ParticipantUpdated: Roster._put,  # noqa: SLF001
    ParticipantLeft: Roster._remove,  # noqa: SLF001
    TrackPublished: Roster._put_track,  # noqa: SLF001
    TrackUpdated: Roster._put_track,  # noqa: SLF001
    TrackUnpublished: Roster._remove_track,  # noqa: SLF001
    Speaking: Roster._set_speaking,  # noqa: SLF001
    LobbyClosed: Roster._leave,  # noqa: SLF001
    Removed: Roster._leave,  # noqa: SLF001
}
