"""The mix of a lobby: who sounds in it, and by what; the mixer itself is made when first somebody needs it.

Until then it is a table. Everybody's voices are in the table: the tracks they publish, that of the mouth they speak with as
samples among them. Who listens to single voices watches it.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol

import relay
from signaling.messages import ErrorCode
from signaling.request_error import RequestError
from signaling.voices.counters import SoundCounters
from signaling.voices.mix import MixSource, OpenMix


class Watcher(Protocol):
    """Is told of the voices of a lobby; must not change them while it is."""

    def voices_changed(self, participant_id: str) -> None:
        """Note that this participant is heard through other tracks than before."""

    def participant_gone(self, participant_id: str) -> None:
        """Note that this participant has left."""

    def participant_speaks(self, participant_id: str) -> None:
        """Note that this participant has begun to speak."""

    def participant_silenced(self, participant_id: str) -> None:
        """Note that an administrator wants nothing to be heard of this participant."""


class LobbyMix:
    """See the module. ``open_mix`` makes the mixer; None: this server has none. ``counters`` are those of all lobbies."""

    __slots__ = ("_mix", "_open_mix", "_voices", "_watchers", "counters")

    def __init__(self, open_mix: OpenMix | None, counters: SoundCounters) -> None:
        self.counters = counters
        self._open_mix = open_mix
        self._mix: MixSource | None = None
        self._voices: dict[str, list[relay.Track]] = {}
        self._watchers: list[Watcher] = []

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
                for track in voices:
                    self._add(self._mix, track)
        return self._mix

    def voices_of(self, participant_id: str) -> tuple[relay.Track, ...]:
        """Return what this participant is heard through now, the oldest first."""
        return tuple(self._voices.get(participant_id, ()))

    def own_voices(self, participant_id: str) -> Callable[[], Iterable[relay.Track]]:
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
        # First noted, then heard: the mixer asks at once whose it is, for they are not to hear it.
        self._voices.setdefault(participant_id, []).append(track)
        if self._mix is not None:
            self._add(self._mix, track)
        self._tell_changed(participant_id)

    def remove_track(self, participant_id: str, track: relay.Track) -> None:
        """Undo ``add_track``; it need not be there."""
        voices = self._voices.get(participant_id, [])
        if track not in voices:
            return
        voices.remove(track)
        if not voices:
            del self._voices[participant_id]
        self._tell_changed(participant_id)

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

    def _tell_changed(self, participant_id: str) -> None:
        for watcher in tuple(self._watchers):
            watcher.voices_changed(participant_id)
