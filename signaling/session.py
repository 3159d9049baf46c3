"""A session: one client's state, which outlives its connection.

It joins a lobby, owns the media link, and delivers to the connection it has at the moment. Its life is a
cancel scope whose deadline is the whole of the expiry logic: none while a client is connected,
``resume_seconds`` away when the connection is lost, nearer when the media has ended as well. All methods are
synchronous; ``sessions.py`` runs the one task a session has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

import relay
from signaling import events
from signaling.bus import Bus
from signaling.identifiers import new_id
from signaling.lobbies import Lobbies
from signaling.lobby import Lobby
from signaling.media_link import MediaLink, StartWatching
from signaling.messages import (
    CloseCode,
    LobbySnapshot,
    MediaState,
    MediaStateName,
    ServerMessage,
    encode_server,
)
from signaling.participant import Participant
from signaling.rate_limit import TokenBucket

#: A reloading page takes one or two seconds to come back; a client that hung up on purpose does not.
MEDIA_LOST_SECONDS = 5.0
#: Faster than anybody types.
CHAT_BURST = 10
CHAT_PER_SECOND = 2.0


class Link(Protocol):
    """What a session needs of a connection."""

    def send(self, text: str) -> None:
        """Queue a text frame; never waits."""

    def close(self, code: int, reason: str) -> None:
        """End the connection."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The lobby a session is in, and who it is there."""

    lobby: Lobby
    participant: Participant

    @property
    def snapshot(self) -> LobbySnapshot:
        """The lobby as this participant is told of it."""
        return self.lobby.snapshot(self.participant)


class Session:
    """See the module."""

    def __init__(
        self,
        *,
        lobbies: Lobbies,
        bus: Bus,
        router: relay.Router,
        resume_seconds: float,
        start_watching: StartWatching,
    ) -> None:
        self.session_id = new_id("s")
        self.life = trio.CancelScope()
        self.end_reason = "disconnected"
        self.membership: Membership | None = None
        # Here and not in the connection, so that reconnecting does not refill it.
        self.chat_allowance = TokenBucket(
            burst=CHAT_BURST, per_second=CHAT_PER_SECOND, now=trio.current_time()
        )
        self.media = MediaLink(
            router, label=self.session_id, start_watching=start_watching, on_change=self._media_changed
        )
        self._lobbies = lobbies
        self._bus = bus
        self._resume_seconds = resume_seconds
        self._link: Link | None = None
        self._ended = False

    @property
    def attached(self) -> bool:
        """Whether a connection delivers to a client."""
        return self._link is not None

    @property
    def alive(self) -> bool:
        """Whether the session may still be attached to."""
        return not self._ended and not self.life.cancel_called

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
        if goodbye or self.membership is None:
            self.end("left")
            return
        media_lost = self.media.state == "closed"
        patience = min(MEDIA_LOST_SECONDS, self._resume_seconds) if media_lost else self._resume_seconds
        self.life.deadline = trio.current_time() + patience
        self._bus.publish(events.SessionDetached(self.session_id))

    def deliver(self, text: str) -> None:
        """Send a text frame to the client, if it is connected; a snapshot makes up for what it misses."""
        if self._link is not None:
            self._link.send(text)

    def tell(self, message: ServerMessage) -> None:
        """Send an event to the client, if it is connected."""
        self.deliver(encode_server(message))

    # Lobby.

    def join(self, lobby: str, name: str, *, is_bot: bool) -> Membership:
        """Enter a lobby, leaving the former one."""
        self.leave("moved")
        participant = Participant(session_id=self.session_id, name=name, is_bot=is_bot, deliver=self.deliver)
        self.membership = Membership(self._lobbies.enter(lobby, participant), participant)
        return self.membership

    def leave(self, reason: str) -> None:
        """Leave the lobby, if in one, and end the media."""
        membership, self.membership = self.membership, None
        self.media.close(reason)
        if membership is not None:
            self._lobbies.leave(membership.lobby, membership.participant, reason)

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

    # End.

    def end(self, reason: str) -> None:
        """Let the session's task end it, soon."""
        if not self.life.cancel_called:
            self.end_reason = reason
            self.life.cancel()

    def dispose(self) -> None:
        """Give back all the session holds, and close its connection; called by its task, once."""
        self._ended = True
        self.leave(self.end_reason)
        self.media.end(self.end_reason)
        link, self._link = self._link, None
        if link is not None:
            link.close(CloseCode.INTERNAL, "the session has ended")
        self._bus.publish(events.SessionEnded(self.session_id, self.end_reason))

    def _media_changed(self, state: MediaStateName, reason: str | None) -> None:
        if self.membership is not None:
            self._drop_closed_tracks(self.membership)
        self._bus.publish(events.MediaStateChanged(self.session_id, state, reason))
        self.tell(MediaState(state=state, reason=reason))
        if state == "closed" and not self.attached:
            self.life.deadline = min(self.life.deadline, trio.current_time() + MEDIA_LOST_SECONDS)

    def _drop_closed_tracks(self, membership: Membership) -> None:
        published: Sequence[relay.Track] = [each.track for each in membership.participant.tracks.values()]
        for track in published:
            if track.closed:
                membership.lobby.unpublish(membership.participant, track.id)
