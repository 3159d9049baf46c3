"""A lobby: who is in it, what they publish, whom one hears, what they wrote.

Every method is synchronous and does one thing in one order: change the state, publish the event on the bus,
tell the participants. So all see the same order, and a snapshot taken between two methods is followed by
exactly the events after it.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import relay
from signaling import events
from signaling.announcements import announce
from signaling.bus import Bus
from signaling.messages import ChatMessage, LobbySnapshot, encode_server
from signaling.participant import Participant, PublishedTrack

#: Lines of chat a lobby remembers, and how many of them a newcomer is told.
CHAT_HISTORY = 200
CHAT_SNAPSHOT = 50
#: Voices: heard through the audio slots. What else there is to hear is for those who ask for it.
SLOT_SOURCES = frozenset({"microphone", "bot"})


class Lobby:
    """See the module. ``on_audio`` is told when a track that may be heard begins."""

    def __init__(self, name: str, bus: Bus, *, on_audio: Callable[["Lobby"], None]) -> None:
        self.name = name
        self.participants: dict[str, Participant] = {}
        self._bus = bus
        self._on_audio = on_audio
        self._audio_slots = relay.AudioSlots()
        self._tracks: dict[str, tuple[Participant, PublishedTrack]] = {}
        self._chat: deque[ChatMessage] = deque(maxlen=CHAT_HISTORY)
        self._chat_seq = 0

    @property
    def chat(self) -> tuple[ChatMessage, ...]:
        """The lines remembered."""
        return tuple(self._chat)

    def snapshot(self, participant: Participant) -> LobbySnapshot:
        """Return the lobby as this participant is told of it."""
        return LobbySnapshot(
            lobby=self.name,
            participant_id=participant.participant_id,
            participants=tuple(other.describe() for other in self.participants.values()),
            audio_slots=len(self._audio_slots.slots),
            chat=tuple(self._chat)[-CHAT_SNAPSHOT:],
        )

    def find_track(self, track_id: str) -> relay.Track | None:
        """Return the published track of this id."""
        found = self._tracks.get(track_id)
        return found[1].track if found is not None else None

    def find_slot(self, number: int) -> relay.AudioSlot | None:
        """Return the audio slot of this number."""
        slots = self._audio_slots.slots
        return slots[number] if number < len(slots) else None

    def enter(self, participant: Participant) -> None:
        """Add a participant; the others are told."""
        self.participants[participant.participant_id] = participant
        event = events.ParticipantEntered(self.name, participant.session_id, participant.describe())
        self._happened(event, but=participant)

    def remove(self, participant: Participant, reason: str) -> None:
        """Remove a participant with all its tracks; the others are told."""
        del self.participants[participant.participant_id]
        for track_id in participant.tracks:
            del self._tracks[track_id]
        participant.tracks.clear()
        participant.changed()
        self._happened(events.ParticipantGone(self.name, participant.participant_id, reason))

    def rename(self, participant: Participant, name: str) -> None:
        """Change a participant's name; everybody is told."""
        participant.name = name
        participant.changed()
        self._happened(events.ParticipantRenamed(self.name, participant.describe()))

    def publish(self, participant: Participant, track: relay.Track, source: str) -> None:
        """Add a track; everybody is told."""
        if track.kind == "audio" and source in SLOT_SOURCES:
            with suppress(relay.CapacityError):  # then those who want to hear it subscribe to it by name
                self._audio_slots.add(track)
        published = PublishedTrack(track, source)
        participant.tracks[track.id] = published
        participant.changed()
        self._tracks[track.id] = (participant, published)
        self._happened(events.TrackStarted(self.name, participant.participant_id, published.describe()))
        if track.kind == "audio" and not track.muted:
            self._on_audio(self)

    def unpublish(self, participant: Participant, track_id: str) -> None:
        """Remove a track, if it is there; everybody is told."""
        if participant.tracks.pop(track_id, None) is not None:
            participant.changed()
            del self._tracks[track_id]
            self._happened(events.TrackEnded(self.name, participant.participant_id, track_id))

    def set_muted(self, participant: Participant, track_id: str, *, muted: bool) -> None:
        """Mute or unmute a track of this participant's; everybody is told when that is a change."""
        published = participant.tracks[track_id]
        if published.track.muted == muted:
            return
        published.track.set_muted(muted)
        participant.changed()
        self._happened(events.TrackChanged(self.name, participant.participant_id, published.describe()))
        if published.track.kind == "audio" and not muted:
            self._on_audio(self)

    def say(self, participant: Participant, text: str) -> int:
        """Add a line of chat; everybody is told. Returns the line's number."""
        self._chat_seq += 1
        message = ChatMessage(
            seq=self._chat_seq,
            participant_id=participant.participant_id,
            name=participant.name,
            text=text,
            sent_at=datetime.now(UTC),
        )
        self._chat.append(message)
        self._happened(events.ChatSaid(self.name, message))
        return message.seq

    def set_speaking(self, participant: Participant, *, speaking: bool, level_dbov: int) -> None:
        """Tell everybody that a participant started or stopped speaking."""
        self._happened(events.SpeakingChanged(self.name, participant.participant_id, speaking, level_dbov))

    def _happened(self, event: events.LobbyEvent, *, but: Participant | None = None) -> None:
        self._bus.publish(event)
        if not self.participants:
            return
        text = encode_server(announce(event))
        # Delivering only queues, but a queue that overflows closes its client; none of that changes this
        # dict.
        for participant in self.participants.values():
            if participant is not but:
                participant.deliver(text)
