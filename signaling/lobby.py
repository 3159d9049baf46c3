"""A lobby: who is in it, what they publish, whom one hears, what they wrote.

Every method is synchronous and does one thing in one order: change the state, publish the event on the bus,
tell the participants. So all see the same order, and a snapshot taken between two methods is followed by
exactly the events after it. What is told is numbered and kept for a while (``replay.py``), so that a client that
comes back gets exactly what it missed.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

import relay
from signaling import events
from signaling.announcements import announce
from signaling.bus import Bus
from signaling.chat import Chat
from signaling.messages import ChatMessage, LobbySnapshot, encode_server
from signaling.participant import Participant, PublishedTrack
from signaling.removals import LOBBY_CLOSED
from signaling.replay import Replay
from signaling.storage import LobbyRecord
from signaling.voices.lobby_mix import LobbyMix

#: Voices: heard through the audio slots. What else there is to hear is for those who ask for it.
SLOT_SOURCES = frozenset({"microphone", "bot"})


class Lobby:
    """See the module. ``on_audio`` is told when a track that may be heard begins; ``clock`` is in seconds."""

    def __init__(
        self,
        record: LobbyRecord,
        bus: Bus,
        *,
        chat: Chat,
        replay: Replay,
        mix: LobbyMix,
        on_audio: Callable[["Lobby"], None],
        clock: Callable[[], float],
    ) -> None:
        #: What is kept of the lobby; replaced by ``Lobbies.update``.
        self.record = record
        self.chat = chat
        #: Who sounds in it, for those who take it mixed or as samples.
        self.mix = mix
        self.participants: dict[str, Participant] = {}
        self._bus = bus
        self._replay = replay
        self._on_audio = on_audio
        self._clock = clock
        self._audio_slots = relay.AudioSlots()
        self._tracks: dict[str, tuple[Participant, PublishedTrack]] = {}
        # What every event of the lobby says besides its name.
        self._whose = {"lobby_id": record.lobby_id, "company_id": record.company_id}

    @property
    def lobby_id(self) -> str:
        """Its id, never used again."""
        return self.record.lobby_id

    @property
    def name(self) -> str:
        """Its name, unique within its company."""
        return self.record.name

    @property
    def company_id(self) -> str:
        """Whose it is; empty: nobody's."""
        return self.record.company_id

    def snapshot(self, participant: Participant) -> LobbySnapshot:
        """Return the lobby as this participant is told of it."""
        return LobbySnapshot(
            lobby=self.name,
            lobby_id=self.lobby_id,
            participant_id=participant.participant_id,
            participants=tuple(other.describe() for other in self.participants.values()),
            audio_slots=len(self._audio_slots.slots),
            chat=self.chat.latest,
            seq=self._replay.seq,
        )

    def missed(self, participant: Participant, last_seq: int) -> tuple[str, ...] | None:
        """Return the frames of all events after number ``last_seq``; None when that cannot be told any more."""
        if last_seq < participant.entered_seq:
            return None
        return self._replay.since(last_seq, self._clock())

    def find_track(self, track_id: str) -> relay.Track | None:
        """Return the published track of this id."""
        found = self._tracks.get(track_id)
        return found[1].track if found is not None else None

    def find_slot(self, number: int) -> relay.AudioSlot | None:
        """Return the audio slot of this number."""
        slots = self._audio_slots.slots
        return slots[number] if number < len(slots) else None

    def find_mix(self, participant: Participant) -> relay.Source:
        """Return the mix of all voices but this participant's.

        Raises: RequestError ``unsupported``; relay.CapacityError.
        """
        return self.mix.listen(participant.participant_id)

    def has_room(self, *, but: Iterable[Participant] = ()) -> bool:
        """Tell whether one more may enter once these have left."""
        capacity = self.record.capacity
        leaving = {each.participant_id for each in but}
        return capacity is None or len(self.participants.keys() - leaving) < capacity

    def enter(self, participant: Participant) -> None:
        """Add a participant; the others are told."""
        self.participants[participant.participant_id] = participant
        self._happened(
            events.ParticipantEntered(
                self.name, participant.session_id, participant.describe(), **self._whose
            ),
            but=participant,
        )
        participant.entered_seq = self._replay.seq

    def restore(self, participant: Participant) -> None:
        """Add a participant who was here before a restart; nobody is told, for nobody is there to hear it."""
        self.participants[participant.participant_id] = participant
        participant.entered_seq = self._replay.seq

    def remove(self, participant: Participant, reason: str) -> None:
        """Remove a participant with all its tracks; the others are told."""
        self._forget(participant)
        gone = events.ParticipantGone(self.name, participant.participant_id, reason, **self._whose)
        self._happened(gone, but=participant)

    def suspend(self, participant: Participant) -> None:
        """Remove a participant who will be restored after a restart; nobody is told."""
        self._forget(participant)

    def close(self, reason: str) -> None:
        """Tell everybody that the lobby is no more, and dismiss them."""
        self._happened(events.LobbyClosed(self.name, reason, **self._whose))
        for participant in tuple(self.participants.values()):
            self._forget(participant)
            # For those on the bus who count; the participants know already.
            gone = events.ParticipantGone(
                self.name, participant.participant_id, LOBBY_CLOSED.reason, **self._whose
            )
            self._bus.publish(gone)
            participant.dismiss(LOBBY_CLOSED)

    def rename(self, participant: Participant, name: str) -> None:
        """Change a participant's name; everybody is told."""
        participant.name = name
        participant.changed()
        self._happened(events.ParticipantRenamed(self.name, participant.describe(), **self._whose))

    def publish(self, participant: Participant, track: relay.Track, source: str) -> None:
        """Add a track; everybody is told."""
        if track.kind == "audio" and source in SLOT_SOURCES:
            with suppress(relay.CapacityError):  # then those who want to hear it subscribe to it by name
                self._audio_slots.add(track)
        published = PublishedTrack(track, source)
        if participant.muted_by_server and track.kind == "audio":
            published.mute(muted=True, by_server=True)
        participant.tracks[track.id] = published
        participant.changed()
        self._tracks[track.id] = (participant, published)
        if track.kind == "audio" and source in SLOT_SOURCES:
            self.mix.add_track(participant.participant_id, track)
        self._happened(
            events.TrackStarted(self.name, participant.participant_id, published.describe(), **self._whose)
        )
        if track.kind == "audio" and not track.muted:
            self._on_audio(self)

    def unpublish(self, participant: Participant, track_id: str) -> None:
        """Remove a track, if it is there; everybody is told."""
        published = participant.tracks.pop(track_id, None)
        if published is not None:
            participant.changed()
            self.mix.remove_track(participant.participant_id, published.track)
            del self._tracks[track_id]
            self._happened(events.TrackEnded(self.name, participant.participant_id, track_id, **self._whose))

    def set_muted(
        self, participant: Participant, track_id: str, *, muted: bool, by_server: bool = False
    ) -> None:
        """Mute or unmute a track of this participant's; everybody is told when that is a change."""
        published = participant.tracks[track_id]
        if not published.mute(muted=muted, by_server=by_server):
            return
        participant.changed()
        self._happened(
            events.TrackChanged(self.name, participant.participant_id, published.describe(), **self._whose)
        )
        if published.track.kind == "audio" and not published.track.muted:
            self._on_audio(self)

    def say(self, participant: Participant, text: str) -> ChatMessage:
        """Add a line of chat; everybody is told. It is kept once the store has committed ``chat.change`` of it."""
        line = self.chat.add(participant.participant_id, participant.name, text)
        self._happened(events.ChatSaid(self.name, line, **self._whose))
        return line

    def set_speaking(self, participant: Participant, *, speaking: bool, level_dbov: int) -> None:
        """Tell everybody that a participant started or stopped speaking."""
        participant.speaking = speaking
        participant.changed()
        if speaking:
            self.mix.note_speaking(participant.participant_id)
        self._happened(
            events.SpeakingChanged(self.name, participant.participant_id, speaking, level_dbov, **self._whose)
        )

    def press(self, participant: Participant, digit: str) -> None:
        """Tell everybody that a participant pressed a key of a telephone."""
        self._happened(events.DtmfPressed(self.name, participant.participant_id, digit, **self._whose))

    def _forget(self, participant: Participant) -> None:
        del self.participants[participant.participant_id]
        for track_id in participant.tracks:
            del self._tracks[track_id]
        participant.tracks.clear()
        participant.speaking = False
        participant.changed()
        self.mix.forget(participant.participant_id)
        if not self.participants:
            self.mix.close()

    def _happened(self, event: events.LobbyEvent, *, but: Participant | None = None) -> None:
        self._bus.publish(event)
        if not self.participants:
            return
        text = encode_server(announce(event), seq=self._replay.next_seq)
        self._replay.append(text, self._clock())
        # Delivering only queues, but a queue that overflows closes its client; none of that changes this
        # dict. A session that enters once more is here twice for a moment.
        unaware = None if but is None else but.session_id
        for participant in self.participants.values():
            if participant.session_id != unaware:
                participant.deliver(text)
