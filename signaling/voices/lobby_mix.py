"""The mix of a lobby: who sounds in it, and by what; the mixer itself is made when first somebody needs it.

Until then it is a table. Everybody's voice is in the table: the tracks they publish, and the mouth they speak with as
samples. Who listens to single voices watches it.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import relay
from signaling.messages import ErrorCode
from signaling.request_error import RequestError
from signaling.voices.counters import SoundCounters
from signaling.voices.mix import MixSource, Mouth, OpenMix

#: What somebody is heard through.
Voice = relay.Track | Mouth


class Watcher(Protocol):
    """Is told of the voices of a lobby; must not change them while it is."""

    def voices_changed(self, participant_id: str) -> None:
        """Note that this participant is heard through other tracks or mouths than before."""

    def participant_gone(self, participant_id: str) -> None:
        """Note that this participant has left."""

    def participant_speaks(self, participant_id: str) -> None:
        """Note that this participant has begun to speak."""

    def participant_silenced(self, participant_id: str) -> None:
        """Note that an administrator wants nothing to be heard of this participant."""


@dataclass(slots=True)
class _Voices:
    """Of one participant."""

    tracks: list[relay.Track] = field(default_factory=list)
    mouths: list[Mouth] = field(default_factory=list)

    def all(self) -> tuple[Voice, ...]:
        """Return both, tracks first."""
        return (*self.tracks, *self.mouths)


class LobbyMix:
    """See the module. ``open_mix`` makes the mixer; None: this server has none. ``counters`` are those of all lobbies."""

    __slots__ = ("_mix", "_open_mix", "_voices", "_watchers", "counters")

    def __init__(self, open_mix: OpenMix | None, counters: SoundCounters) -> None:
        self.counters = counters
        self._open_mix = open_mix
        self._mix: MixSource | None = None
        self._voices: dict[str, _Voices] = {}
        self._watchers: list[Watcher] = []

    @property
    def opened(self) -> bool:
        """Whether the mixer has been made."""
        return self._mix is not None

    def require(self) -> MixSource:
        """Return the mixer; made now, with all that can be heard, if there was none.

        Raises: RequestError ``unsupported``; relay.CapacityError.
        """
        if self._mix is None:
            if self._open_mix is None:
                text = "this server does not mix: it takes and gives sound over WebRTC only"
                raise RequestError(ErrorCode.UNSUPPORTED, text)
            self._mix = self._open_mix()
            for voices in self._voices.values():
                for track in voices.tracks:
                    self._add(self._mix, track)
        return self._mix

    def voices_of(self, participant_id: str) -> tuple[Voice, ...]:
        """Return what this participant is heard through now: tracks, then mouths."""
        voices = self._voices.get(participant_id)
        return () if voices is None else voices.all()

    def own_voices(self, participant_id: str) -> Callable[[], Iterable[Voice]]:
        """Return what tells the voices of a participant at any time: one is not to hear oneself."""
        return partial(self.voices_of, participant_id)

    def speakers(self) -> tuple[str, ...]:
        """Return the participants who have a voice now."""
        return tuple(self._voices)

    def listen(self, participant_id: str) -> relay.Source:
        """Return what this participant hears of the lobby, for a section of theirs.

        Raises: as ``require``.
        """
        return self.require().listen(self.own_voices(participant_id), listener=participant_id)

    # Voices.

    def add_track(self, participant_id: str, track: relay.Track) -> None:
        """Let a participant be heard through this track too."""
        if self._mix is not None:
            self._add(self._mix, track)
        self._voices.setdefault(participant_id, _Voices()).tracks.append(track)
        self._tell_changed(participant_id)

    def remove_track(self, participant_id: str, track: relay.Track) -> None:
        """Undo ``add_track``; it need not be there."""
        voices = self._voices.get(participant_id)
        if voices is not None and track in voices.tracks:
            voices.tracks.remove(track)
            self._tidy(participant_id, voices)

    def add_mouth(self, participant_id: str, mouth: Mouth) -> None:
        """Let a participant be heard through this mouth too."""
        self._voices.setdefault(participant_id, _Voices()).mouths.append(mouth)
        self._tell_changed(participant_id)

    def remove_mouth(self, participant_id: str, mouth: Mouth) -> None:
        """Undo ``add_mouth``; it need not be there."""
        voices = self._voices.get(participant_id)
        if voices is not None and mouth in voices.mouths:
            voices.mouths.remove(mouth)
            self._tidy(participant_id, voices)

    def note_speaking(self, participant_id: str) -> None:
        """Note that a participant has begun to speak."""
        for watcher in tuple(self._watchers):
            watcher.participant_speaks(participant_id)

    def silence(self, participant_id: str) -> None:
        """Stop what a participant says as samples; tracks are muted by themselves."""
        for watcher in tuple(self._watchers):
            watcher.participant_silenced(participant_id)

    def forget(self, participant_id: str) -> None:
        """Note that a participant has left."""
        self._voices.pop(participant_id, None)
        for watcher in tuple(self._watchers):
            watcher.participant_gone(participant_id)

    # Those who listen.

    def watch(self, watcher: Watcher) -> None:
        """Tell this one what changes, until ``unwatch``."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Undo ``watch``."""
        self._watchers.remove(watcher)

    def close(self) -> None:
        """End the mixer, if it was made; it is made anew when somebody needs it again."""
        mix, self._mix = self._mix, None
        if mix is not None:
            mix.close()

    def _add(self, mix: MixSource, track: relay.Track) -> None:
        # No room, or ended: then it is missing from the mix, as it would be from the audio slots.
        with suppress(relay.RelayError):
            mix.add(track)

    def _tidy(self, participant_id: str, voices: _Voices) -> None:
        if not voices.all():
            del self._voices[participant_id]
        self._tell_changed(participant_id)

    def _tell_changed(self, participant_id: str) -> None:
        for watcher in tuple(self._watchers):
            watcher.voices_changed(participant_id)
