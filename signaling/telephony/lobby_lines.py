"""Lines into lobbies: participants without a client, who hear the lobby's mix and speak into it.

To everybody else such a participant is one as any other: it is listed, has one track, speaks, presses keys, and can be muted
and removed. A session is underneath it, which ends with the line.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import trio

import relay
from signaling.admission import Gate, JoinRequest
from signaling.auth.errors import AuthError
from signaling.lobbies import Lobbies, LobbyFullError
from signaling.logs import get_logger
from signaling.reception import printable
from signaling.removals import LOBBY_CLOSED
from signaling.request_error import RequestError
from signaling.session import Membership, Session
from signaling.sessions import Sessions
from signaling.telephony.line import BOT_TICKET, CALL_ID, PROVIDER, AudioLine, LineRefusedError
from signaling.telephony.lobby_line import LobbyLine

_log = get_logger(__name__)


class LobbyLines:
    """See the module. An ``OpenLine``."""

    def __init__(self, *, sessions: Sessions, lobbies: Lobbies, gate: Gate) -> None:
        self._sessions = sessions
        self._lobbies = lobbies
        self._gate = gate

    @asynccontextmanager
    async def __call__(
        self, *, lobby: str, name: str, rate: int, live: bool, metadata: Mapping[str, str]
    ) -> AsyncIterator[AudioLine]:
        """See ``OpenLine``. With a bot's ticket in ``metadata`` it is that bot who enters; else somebody of no company."""
        session = await self._open_session()
        try:
            membership = await self._join(session, lobby, name, metadata.get(BOT_TICKET))
            line = self._open_line(session, membership, rate, live=live)
            try:
                # Whose number it is stays with the provider, who can be asked by the call's id.
                _log.info(
                    "a line is open",
                    session=session.session_id,
                    participant=line.participant_id,
                    lobby=membership.lobby.name,
                    provider=metadata.get(PROVIDER),
                    call=printable(metadata.get(CALL_ID, "")),
                )
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(line.run)
                    yield line
                    nursery.cancel_scope.cancel()
            finally:
                # The track ends with the participant.
                session.leave("left")
                line.close()
        finally:
            session.leave("left")
            session.end("left")

    async def _open_session(self) -> Session:
        try:
            session, _ = await self._sessions.open(resumable=False)
        except AuthError as error:
            raise LineRefusedError(str(error)) from None
        session.attach(_NoClient())
        return session

    async def _join(self, session: Session, lobby: str, name: str, ticket: str | None) -> Membership:
        """Enter the lobby.

        Raises: LineRefusedError.
        """
        request = JoinRequest(
            session_id=session.session_id,
            session_grants=session.grants,
            lobby=lobby,
            name=name,
            bot_ticket=ticket,
        )
        try:
            admission = await self._gate.admit(request)
            if not session.alive:
                raise LineRefusedError(_why_ended(session))
            self._gate.confirm(admission)
            return session.join(admission, name)
        except RequestError as error:
            raise LineRefusedError(error.error) from None
        except (AuthError, LobbyFullError) as error:
            raise LineRefusedError(str(error)) from None

    def _open_line(self, session: Session, membership: Membership, rate: int, *, live: bool) -> LobbyLine:
        """Hear and speak.

        Raises: LineRefusedError.
        """
        lobby, participant_id = membership.lobby, membership.participant.participant_id
        try:
            mix = lobby.mix.require()
            without = lobby.mix.own_voices(participant_id)
            ear = mix.open_ear(rate=rate, without=without, listener=participant_id)
            try:
                mouth = mix.open_mouth(rate=rate, live=live)
            except relay.RelayError:
                ear.close()
                raise
        except RequestError as error:
            raise LineRefusedError(error.error) from None
        except relay.RelayError as error:
            raise LineRefusedError(f"the mixer takes no more: {error}") from None

        def why() -> str:
            is_closed = self._lobbies.get(lobby.lobby_id) is None
            return LOBBY_CLOSED.text if is_closed and session.removal is None else _why_ended(session)

        return LobbyLine(session, membership, ear=ear, mouth=mouth, live=live, why=why)


def _why_ended(session: Session) -> str:
    return "the participant has left the lobby" if session.removal is None else session.removal.text


class _NoClient:
    """What stands for the connection of a session that has no client: the line hears of its end by the lobby."""

    def send(self, text: str) -> None:
        """See ``session.Link``."""

    def send_sound(self, source: Callable[[], bytes]) -> None:
        """See ``session.Link``; nothing here asks for sound in messages."""

    def close(self, code: int, reason: str) -> None:
        """See ``session.Link``."""
