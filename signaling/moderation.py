"""What administrators do to people: remove, mute, rename, and end all that a company has open.

Everything happens at once and everybody concerned is told, as if the people had done it themselves.
"""

from signaling.lobbies import Lobbies
from signaling.lobby import Lobby
from signaling.participant import Participant
from signaling.removals import Removal, kicked
from signaling.session import Session
from signaling.sessions import Sessions

COMPANY_CLOSED = Removal("company_closed", "the company that this lobby belongs to was closed")


class NotFoundError(Exception):
    """There is no such participant, track or session (any more)."""


class Moderation:
    """See the module."""

    def __init__(self, *, lobbies: Lobbies, sessions: Sessions) -> None:
        self._lobbies = lobbies
        self._sessions = sessions

    def kick(self, lobby: Lobby, participant_id: str, text: str = "") -> None:
        """Remove a participant and end their session; ``text`` is what they are told. They may come again.

        Raises: NotFoundError.
        """
        _participant(lobby, participant_id).dismiss(kicked(text))

    def kick_session(self, session_id: str, text: str = "") -> None:
        """End a session, whether it is in a lobby or not.

        Raises: NotFoundError.
        """
        self._session(session_id).remove(kicked(text))

    def mute(
        self, lobby: Lobby, participant_id: str, *, muted: bool = True, track_id: str | None = None
    ) -> None:
        """Mute one track, or all that can be heard of a participant, now and later; only this unmutes it again.

        Unmuting restores what the participant wants.

        Raises: NotFoundError.
        """
        participant = _participant(lobby, participant_id)
        if track_id is None:
            participant.muted_by_server = muted
            if muted:
                lobby.mix.silence(participant_id)
            tracks = [id_ for id_, each in participant.tracks.items() if each.track.kind == "audio"]
        elif track_id in participant.tracks:
            tracks = [track_id]
        else:
            raise NotFoundError("this participant publishes no such track (any more)")
        for each in tracks:
            lobby.set_muted(participant, each, muted=muted, by_server=True)

    def rename(self, lobby: Lobby, participant_id: str, name: str) -> None:
        """Give a participant another name. The caller has seen to it that it is one.

        Raises: NotFoundError.
        """
        self._session(_participant(lobby, participant_id).session_id).rename(name)

    async def close_company(self, company_id: str) -> None:
        """Close all lobbies of a company and end all its sessions.

        Raises: StoreUnavailableError when a lobby may be back after a restart; do it again then.
        """
        for session in self._sessions:
            if session.alive and session.belongs_to == company_id:
                session.remove(COMPANY_CLOSED)
        for lobby in self._lobbies:
            if lobby.company_id == company_id:
                await self._lobbies.close(lobby, COMPANY_CLOSED.text)

    def _session(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFoundError("there is no such session (any more)")
        return session


def _participant(lobby: Lobby, participant_id: str) -> Participant:
    participant = lobby.participants.get(participant_id)
    if participant is None:
        raise NotFoundError("there is no such participant in this lobby (any more)")
    return participant
