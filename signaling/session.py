"""A session: one client's state, which outlives its connection and, in the store, its server.

It joins a lobby, owns the media link, and delivers to the connection it has at the moment. Its life is a
cancel scope whose deadline is the whole of the expiry logic: none while a client is connected,
``resume_seconds`` away when the connection is lost, nearer when the media has ended as well. All methods but ``run``
are synchronous; ``sessions.py`` runs the one task a session has.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import trio

import relay
from signaling import events
from signaling.admission import Admission
from signaling.auth.grants import Grants
from signaling.auth.name_key import name_key
from signaling.bus import Bus
from signaling.identifiers import new_id
from signaling.lobbies import Lobbies
from signaling.lobby import Lobby
from signaling.media_link import MediaLink, StartWatching
from signaling.messages import (
    AudioFrameError,
    AudioFrameWire,
    CloseCode,
    LobbySnapshot,
    MediaState,
    MediaStateName,
    Removed,
    ServerMessage,
    encode_server,
)
from signaling.participant import Participant
from signaling.removals import LOBBY_CLOSED, NAME_TAKEN_OVER, TOKEN_EXPIRED, Removal
from signaling.session_limits import SessionLimits
from signaling.session_shadow import SessionShadow
from signaling.storage import SessionRecord
from signaling.voices.hearing import StartSoon
from signaling.voices.numbers import StreamNumbers
from signaling.voices.voices import Voices

#: A reloading page takes one or two seconds to come back; a client that hung up on purpose does not.
MEDIA_LOST_SECONDS = 5.0


class Link(Protocol):
    """What a session needs of a connection."""

    def send(self, text: str) -> None:
        """Queue a text frame; never waits."""

    def send_sound(self, source: Callable[[], bytes]) -> None:
        """Fetch binary messages from ``source`` until it has none (``b""``), as the client can take them; never waits."""

    def close(self, code: int, reason: str) -> None:
        """End the connection."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The lobby a session is in, who it is there, and what it may do."""

    lobby: Lobby
    participant: Participant
    grants: Grants = field(default_factory=Grants)

    @property
    def snapshot(self) -> LobbySnapshot:
        """The lobby as this participant is told of it."""
        return self.lobby.snapshot(self.participant)


class Session:
    """See the module."""

    def __init__(
        self,
        *,
        token_digest: bytes,
        lobbies: Lobbies,
        bus: Bus,
        router: relay.Router,
        shadow: SessionShadow,
        resume_seconds: float,
        start_watching: StartWatching,
        start_soon: StartSoon,
        company_id: str = "",
        resumable: bool = True,
        former: SessionRecord | None = None,
    ) -> None:
        self.session_id = new_id("s") if former is None else former.session_id
        self.token_digest = token_digest
        self.created_at = datetime.now(UTC) if former is None else former.created_at
        self.company_id = company_id
        #: What it may do where no join token says otherwise.
        self.grants = Grants(company_id=company_id)
        self.life = trio.CancelScope()
        self.end_reason = "disconnected"
        self.membership: Membership | None = None
        self.limits = SessionLimits()
        self.media = MediaLink(
            router,
            label=self.session_id,
            start_watching=start_watching,
            on_change=self._media_changed,
            restored=former is not None,
        )
        #: Sound as samples, if there is any.
        self._voices: Voices | None = None
        self._stream_numbers = StreamNumbers()
        self._start_soon = start_soon
        self._lobbies = lobbies
        self._bus = bus
        self._shadow = shadow
        self._resume_seconds = resume_seconds
        # Otherwise it ends with its connection, and the store has nothing to remember.
        self._resumable = resumable
        self._link: Link | None = None
        self._ended = False
        #: Who ended it, if somebody did.
        self.removal: Removal | None = None
        # Whether the store has a record of it.
        self._kept = former is not None
        # When the membership ends for its token's sake, and the scope that wakes `run` then.
        self._expires_at = math.inf
        self._expiry = trio.CancelScope()

    @property
    def attached(self) -> bool:
        """Whether a connection delivers to a client."""
        return self._link is not None

    @property
    def alive(self) -> bool:
        """Whether the session may still be attached to."""
        return not self._ended and not self.life.cancel_called

    @property
    def belongs_to(self) -> str:
        """The company whose lobby it is in, or that it was made for; empty: none."""
        return self.company_id if self.membership is None else self.membership.lobby.company_id

    def is_attached_to(self, link: Link) -> bool:
        """Whether it delivers to this connection."""
        return self._link is link

    def record(self) -> SessionRecord:
        """Return what the store keeps of the session."""
        membership = self.membership
        participant = None if membership is None else membership.participant
        return SessionRecord(
            session_id=self.session_id,
            token_digest=self.token_digest,
            created_at=self.created_at,
            last_seen_at=datetime.now(UTC),
            company_id=self.company_id,
            lobby_id=None if membership is None else membership.lobby.lobby_id,
            participant_id=None if participant is None else participant.participant_id,
            name=None if participant is None else participant.name,
            is_bot=participant is not None and participant.is_bot,
            joined_at=None if participant is None else participant.joined_at,
            grants=None if membership is None else membership.grants.to_json(),
        )

    def keep(self) -> None:
        """Let the store know of the session as it is now."""
        if not self._resumable:
            return
        self._kept = True
        self._shadow.put(self.record())

    async def run(self) -> None:
        """Live until ``life`` ends, and end the membership when its token expires."""
        while True:
            with self._expiry:
                await trio.sleep_forever()
            self._expiry = trio.CancelScope(deadline=self._expires_at)
            if trio.current_time() >= self._expires_at:
                self.remove(TOKEN_EXPIRED)

    # Connections.

    def attach(self, link: Link) -> None:
        """Deliver to this connection from now on; a former one is closed."""
        former, self._link = self._link, link
        self.life.deadline = math.inf
        if former is not None:
            former.close(CloseCode.SESSION_RESUMED_ELSEWHERE, "another connection resumed this session")

    def detach(self, link: Link, *, goodbye: bool = False) -> None:
        """Note that this connection is gone.

        The session waits to be resumed, or ends at once when the client said goodbye or there is nothing to
        resume.
        """
        if self._link is not link:
            return
        self._link = None
        if goodbye or self.membership is None or not self._resumable:
            self.end("left")
            return
        self.await_client()
        self._bus.publish(events.SessionDetached(self.session_id, company_id=self.belongs_to))

    def await_client(self) -> None:
        """Wait for a client to attach, but not for ever."""
        patience = min(MEDIA_LOST_SECONDS, self._resume_seconds) if self.media.lost else self._resume_seconds
        self.life.deadline = trio.current_time() + patience

    def deliver(self, text: str) -> None:
        """Send a text frame to the client, if it is connected; a replay or a snapshot makes up for what it misses."""
        if self._link is not None:
            self._link.send(text)

    def tell(self, message: ServerMessage) -> None:
        """Send an event to the client, if it is connected."""
        self.deliver(encode_server(message))

    # Lobby.

    def join(self, admission: Admission, name: str) -> Membership:
        """Enter a lobby, leaving the former one; whoever holds the name against its owner must go.

        Raises: LobbyFullError, CompanyLimitError, CompanyError; then nothing has changed.
        """
        lobby = self._lobbies.find(admission.lobby, admission.company_id)
        displaced = self._holders(lobby, name) if admission.owns_name else ()
        former = None if self.membership is None else self.membership.participant
        participant = self._participant(admission.company_id, name=name, is_bot=admission.is_bot)
        # First in, then out, and the others last: so it changes nothing if it fails, and a lobby is never left empty.
        entered = self._lobbies.enter(
            admission.lobby,
            participant,
            company_id=admission.company_id,
            opening=admission.opening,
            leaving=displaced if former is None else (former, *displaced),
        )
        self.leave("moved")
        membership = self._become(Membership(entered, participant, admission.grants))
        for holder in displaced:
            holder.dismiss(NAME_TAKEN_OVER)
        return membership

    def restore(self, lobby: Lobby, former: SessionRecord, grants: Grants) -> None:
        """Be in the lobby again in which the record says it was."""
        participant = self._participant(
            lobby.company_id,
            name=former.name or "",
            is_bot=former.is_bot,
            participant_id=former.participant_id,
            joined_at=former.joined_at,
        )
        self._lobbies.restore_participant(lobby, participant)
        self._become(Membership(lobby, participant, grants))

    def rename(self, name: str, *, owns_name: bool = False) -> None:
        """Change the display name; the session must be in a lobby."""
        assert self.membership is not None
        lobby = self.membership.lobby
        displaced = self._holders(lobby, name) if owns_name else ()
        lobby.rename(self.membership.participant, name)
        self.keep()
        for holder in displaced:
            holder.dismiss(NAME_TAKEN_OVER)

    def leave(self, reason: str) -> None:
        """Leave the lobby, if in one, and end the media."""
        membership, self.membership = self.membership, None
        self.media.close(reason)
        self._silence("left")
        if membership is None:
            return
        self._set_expiry(None)
        self._drop()
        if membership.participant.participant_id in membership.lobby.participants:
            self._lobbies.leave(membership.lobby, membership.participant, reason)

    def remove(self, removal: Removal) -> None:
        """Take the session out of its lobby, if in one, by somebody else's will, and tell the client why.

        The session ends as well if the removal says so, or if no client is there to be told.
        """
        self.leave(removal.reason)
        if removal is not LOBBY_CLOSED:
            self.tell(Removed(reason=removal.reason, text=removal.text))
        if removal.ends_session or not self.attached:
            self.removal = removal
            self.end(removal.reason)

    # Media.

    def negotiate(
        self,
        membership: Membership,
        sdp: str,
        sources: Mapping[str, str],
        subscribe: Mapping[str, relay.Source],
    ) -> relay.NegotiationResult:
        """Answer an offer and tell the lobby which tracks began and ended. Raises as ``MediaLink.negotiate``."""
        result = self.media.negotiate(sdp, sources, subscribe)
        self._drop_closed_tracks(membership)
        for track in result.published.values():
            if track.id not in membership.participant.tracks:
                membership.lobby.publish(membership.participant, track, source=track.label)
        return result

    # Sound as samples.

    @property
    def voices(self) -> Voices | None:
        """What it hears and says as samples; None when that is nothing, and has been nothing in this lobby."""
        return self._voices

    def require_voices(self, membership: Membership) -> Voices:
        """Return the above, made now if there was none."""
        if self._voices is None:
            self._voices = Voices(
                membership.lobby,
                membership.participant,
                numbers=self._stream_numbers,
                tell=self._tell_of_sound,
                send_sound=self._send_sound,
                start_soon=self._start_soon,
            )
        return self._voices

    def play(self, frame: AudioFrameWire) -> None:
        """Take samples that the client wants to be heard; those of playouts of a former lobby are dropped.

        Raises: AudioFrameError, PlayOverflowError.
        """
        if self._voices is not None:
            self._voices.play(frame)
        elif not self._stream_numbers.was_given(frame.stream):
            raise AudioFrameError(f"there is no stream {frame.stream}: expected one of play_open")

    def recapitulate_sound(self) -> tuple[str, ...]:
        """Return, once, what a client that comes back may have missed of its streams and playouts, as text frames."""
        voices = self._voices
        return () if voices is None else tuple(encode_server(each) for each in voices.recapitulate())

    def _tell_of_sound(self, message: ServerMessage) -> bool:
        self.tell(message)
        return self.attached

    def _send_sound(self, source: Callable[[], bytes]) -> bool:
        if self._link is None:
            return False
        self._link.send_sound(source)
        return True

    def _silence(self, reason: str) -> None:
        voices, self._voices = self._voices, None
        if voices is not None:
            voices.close(reason)

    # End.

    def end(self, reason: str) -> None:
        """Let the session's task end it, soon."""
        if not self.life.cancel_called:
            self.end_reason = reason
            self.life.cancel()

    def dispose(self, reason: str) -> None:
        """Give back all the session holds, and close its connection; called by its task, once."""
        self._ended = True
        self.end_reason = reason
        company_id = self.belongs_to
        self.leave(reason)
        self.media.end(reason)
        self._drop()
        self._hang_up()
        self._bus.publish(events.SessionEnded(self.session_id, self.end_reason, company_id=company_id))

    def suspend(self) -> None:
        """As ``dispose``, but for a server that stops: the store keeps the session, and nobody is told that it left."""
        self._ended = True
        company_id = self.belongs_to
        membership, self.membership = self.membership, None
        self.media.end("the server stops")
        self._silence("closed")
        if membership is not None:
            self._lobbies.suspend_participant(membership.lobby, membership.participant)
        self._hang_up()
        self._bus.publish(events.SessionSuspended(self.session_id, company_id=company_id))

    def _drop(self) -> None:
        if self._kept:
            self._kept = False
            self._shadow.drop(self.session_id)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        if self.removal is None:
            link.close(CloseCode.INTERNAL, "the session has ended")
        else:
            link.close(CloseCode.SESSION_ENDED, self.removal.text)

    def _participant(self, company_id: str, **more: Any) -> Participant:
        return Participant(
            session_id=self.session_id,
            company_id=company_id,
            deliver=self.deliver,
            dismiss=self.remove,
            **more,
        )

    def _become(self, membership: Membership) -> Membership:
        self.membership = membership
        self._set_expiry(membership.grants.expires_at)
        self.keep()
        return membership

    def _holders(self, lobby: Lobby | None, name: str) -> tuple[Participant, ...]:
        """Return the others in the lobby whose name counts as this one."""
        if lobby is None:
            return ()
        key = name_key(name)
        return tuple(
            other
            for other in lobby.participants.values()
            if other.session_id != self.session_id and name_key(other.name) == key
        )

    def _set_expiry(self, expires_at: datetime | None) -> None:
        if expires_at is None:
            self._expires_at = math.inf
        else:
            self._expires_at = trio.current_time() + (expires_at - datetime.now(UTC)).total_seconds()
        self._expiry.deadline = self._expires_at

    def _media_changed(self, state: MediaStateName, reason: str | None) -> None:
        if self.membership is not None:
            self._drop_closed_tracks(self.membership)
        self._bus.publish(
            events.MediaStateChanged(self.session_id, state, reason, company_id=self.belongs_to)
        )
        self.tell(MediaState(state=state, reason=reason))
        if state == "closed" and not self.attached:
            self.life.deadline = min(self.life.deadline, trio.current_time() + MEDIA_LOST_SECONDS)

    def _drop_closed_tracks(self, membership: Membership) -> None:
        published: Sequence[relay.Track] = [each.track for each in membership.participant.tracks.values()]
        for track in published:
            if track.closed:
                membership.lobby.unpublish(membership.participant, track.id)
