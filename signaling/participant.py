"""A participant: a session while it is in a lobby, and the tracks it publishes there."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import relay
from signaling import messages
from signaling.identifiers import new_id
from signaling.messages import encode_server
from signaling.removals import Removal


class PublishedTrack:
    """A track of the relay with what its publisher says it shows, and who has muted it.

    It is forwarded while neither its publisher nor an administrator has muted it.
    """

    __slots__ = ("_by_publisher", "_by_server", "source", "track")

    def __init__(self, track: relay.Track, source: str) -> None:
        self.track = track
        self.source = source
        self._by_publisher = track.muted
        self._by_server = False

    @property
    def muted_by_server(self) -> bool:
        """Whether an administrator has muted it."""
        return self._by_server

    def mute(self, *, muted: bool, by_server: bool = False) -> bool:
        """Note who wants it muted or not; tell whether that changes anything for those who see it."""
        before = (self.track.muted, self._by_server)
        if by_server:
            self._by_server = muted
        else:
            self._by_publisher = muted
        wanted = self._by_publisher or self._by_server
        if self.track.muted != wanted:
            self.track.set_muted(wanted)
        return before != (wanted, self._by_server)

    def describe(self) -> messages.Track:
        """Return the track as the lobby is told of it."""
        return messages.Track(
            track_id=self.track.id,
            kind=self.track.kind,
            source=self.source,
            muted=self.track.muted,
            in_slots=self.track.audio_slots is not None,
            muted_by_server=self._by_server,
        )


class Participant:
    """See the module.

    ``deliver`` takes the text frames this participant shall get; it never waits. ``dismiss`` takes it out of the lobby,
    if it is still in there, by somebody else's will.
    """

    def __init__(
        self,
        *,
        session_id: str,
        name: str,
        is_bot: bool,
        deliver: Callable[[str], None],
        dismiss: Callable[[Removal], None],
        company_id: str = "",
        participant_id: str | None = None,
        joined_at: datetime | None = None,
    ) -> None:
        self.participant_id = participant_id or new_id("p")
        self.session_id = session_id
        self.name = name
        self.is_bot = is_bot
        self.deliver = deliver
        self.dismiss = dismiss
        #: Whose lobby it is in.
        self.company_id = company_id
        self.joined_at = joined_at or datetime.now(UTC)
        self.tracks: dict[str, PublishedTrack] = {}
        self.speaking = False
        self._whispers: Counter[str] = Counter()
        #: Tracks of audio that it begins later are muted by the server as well.
        self.muted_by_server = False
        #: Events up to this number were before its time.
        self.entered_seq = 0
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
                speaking=self.speaking,
            )
        return self._description

    @property
    def whisperers(self) -> tuple[str, ...]:
        """The ids of those who speak to it alone."""
        return tuple(self._whispers)

    def hear_alone(self, participant_id: str, *, begins: bool) -> None:
        """Note that somebody begins or ends to speak to it alone; it is told when that is another one, or the last time."""
        before = self.whisperers
        self._whispers[participant_id] += 1 if begins else -1
        if self._whispers[participant_id] <= 0:
            del self._whispers[participant_id]
        if self.whisperers != before:
            self.deliver(encode_server(messages.PrivateAudio(participant_ids=self.whisperers)))

    def changed(self) -> None:
        """Note that the participant, its tracks or one of them are not what was described."""
        self._description = None
