"""A participant: a session while it is in a lobby, and the tracks it publishes there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import relay
from signaling import messages
from signaling.identifiers import new_id


@dataclass(frozen=True, slots=True)
class PublishedTrack:
    """A track of the relay with what its publisher says it shows."""

    track: relay.Track
    source: str

    def describe(self) -> messages.Track:
        """Return the track as the lobby is told of it."""
        return messages.Track(
            track_id=self.track.id,
            kind=self.track.kind,
            source=self.source,
            muted=self.track.muted,
            in_slots=self.track.audio_slots is not None,
        )


class Participant:
    """See the module. ``deliver`` takes the text frames this participant shall get; it never waits."""

    def __init__(self, *, session_id: str, name: str, is_bot: bool, deliver: Callable[[str], None]) -> None:
        self.participant_id = new_id("p")
        self.session_id = session_id
        self.name = name
        self.is_bot = is_bot
        self.deliver = deliver
        self.joined_at = datetime.now(UTC)
        self.tracks: dict[str, PublishedTrack] = {}
        self._description: messages.Participant | None = None

    def describe(self) -> messages.Participant:
        """Return the participant as the lobby is told of it.

        Made once for all who ask until something changes: a newcomer is told of a thousand at once.
        """
        if self._description is None:
            self._description = messages.Participant(
                participant_id=self.participant_id,
                name=self.name,
                is_bot=self.is_bot,
                joined_at=self.joined_at,
                tracks=tuple(published.describe() for published in self.tracks.values()),
            )
        return self._description

    def changed(self) -> None:
        """Note that the name, the tracks or one of them are not what was described."""
        self._description = None
