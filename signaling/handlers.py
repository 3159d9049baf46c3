"""What each request does: the table from message to handler.

Those about media are in ``media_handlers.py``, those about sound as samples in ``voice_handlers.py``.

A handler is synchronous, so that a request happens as one step between all others. It returns the reply, or an
``Outcome`` that says what must be durable before the reply is sent, or raises ``RequestError``, and then has changed
nothing. A new message is one model in ``messages/client.py`` and one handler here; what takes time is found out
before the step (``preparations.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import relay
from signaling.admission import Admission, refusal
from signaling.auth.errors import AuthError
from signaling.chat import Page
from signaling.lobbies import LobbyFullError
from signaling.media_handlers import MEDIA_HANDLERS
from signaling.messages import (
    ChatHistory,
    ChatPage,
    ChatSend,
    ChatSent,
    ClientMessage,
    ErrorCode,
    Join,
    Joined,
    Leave,
    Left,
    NameSet,
    Ping,
    Pong,
    Resume,
    Resumed,
    ServerMessage,
    SetName,
)
from signaling.request_error import RequestError
from signaling.requester import Requester, membership_of
from signaling.session import Membership
from signaling.storage import Change
from signaling.voice_handlers import VOICE_HANDLERS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of a request."""

    reply: ServerMessage
    #: Committed before the reply is sent; if the store fails, the reply is ``storage_unavailable`` instead.
    durable: tuple[Change, ...] = ()
    #: Frames right before the reply, and right after it, before anything else that happens.
    preceded_by: tuple[str, ...] = ()
    followed_by: tuple[str, ...] = ()


def handle(requester: Requester, message: ClientMessage, prepared: tuple[Any, ...] = ()) -> Outcome:
    """Carry a request out; ``prepared`` is what its preparation found out.

    Raises: RequestError.
    """
    try:
        outcome = HANDLERS[type(message)](requester, message, *prepared)
    except relay.RemoteProtocolError as error:
        raise RequestError(error.code, str(error)) from None
    except relay.CapacityError as error:
        raise RequestError(ErrorCode.AT_CAPACITY, f"the relay is at capacity: {error}") from None
    except LobbyFullError as error:
        raise RequestError(ErrorCode.LOBBY_FULL, str(error), field="lobby") from None
    except AuthError as error:
        raise refusal(error) from None
    return outcome if isinstance(outcome, Outcome) else Outcome(outcome)


def _resume(requester: Requester, message: Resume) -> Outcome:
    session = requester.resume(message.resume_token)
    if session is None:
        raise _resume_failed(requester, message)
    membership = session.membership
    missed = _missed(membership, message)
    resumed = Resumed(
        session_id=session.session_id,
        replayed=missed is not None,
        lobby=None if membership is None or missed is not None else membership.snapshot,
        media_state=session.media.state,
        audio_streams=() if session.voices is None else session.voices.numbers,
        private_audio=() if membership is None else membership.participant.whisperers,
    )
    return Outcome(resumed, preceded_by=session.recapitulate_sound(), followed_by=missed or ())


def _missed(membership: Membership | None, message: Resume) -> tuple[str, ...] | None:
    """Return what the client has missed, if it knows what it saw last and that is not too long ago."""
    if membership is None or message.last_seq is None:
        return None
    if message.participant_id != membership.participant.participant_id:
        return None  # it speaks of another lobby: the reply to its last `join` never reached it
    return membership.lobby.missed(membership.participant, message.last_seq)


def _resume_failed(requester: Requester, message: Resume) -> RequestError:
    removal = requester.removal(message.resume_token)
    if removal is not None:
        text = f"the session was ended: {removal.text}"
        return RequestError(ErrorCode.SESSION_ENDED, text, field="resume_token")
    return RequestError(
        ErrorCode.RESUME_FAILED,
        "the session cannot be resumed: the token is unknown or has expired, or this was not the first request",
        field="resume_token",
    )


def _join(requester: Requester, message: Join, admission: Admission) -> ServerMessage:
    requester.gate.confirm(admission)
    return Joined(**dict(requester.session.join(admission, message.name).snapshot))


def _leave(requester: Requester, _: Leave) -> ServerMessage:
    membership_of(requester)
    requester.session.leave("left")
    return Left()


def _set_name(requester: Requester, message: SetName, owns_name: bool) -> ServerMessage:
    membership_of(requester)  # it may have ended while the password was compared
    requester.session.rename(message.name, owns_name=owns_name)
    return NameSet(name=message.name)


def _chat(requester: Requester, message: ChatSend) -> Outcome:
    membership = membership_of(requester)
    membership.grants.require("can_chat")
    line = membership.lobby.say(membership.participant, message.text)
    return Outcome(ChatSent(seq=line.seq), durable=(membership.lobby.chat.change(line),))


def _chat_history(_: Requester, __: ChatHistory, page: Page) -> ServerMessage:
    return ChatPage(messages=page.lines, more=page.more)


def _ping(_: Requester, __: Ping) -> ServerMessage:
    return Pong(time=datetime.now(UTC))


HANDLERS: dict[type[ClientMessage], Callable[..., ServerMessage | Outcome]] = {
    Resume: _resume,
    Join: _join,
    Leave: _leave,
    SetName: _set_name,
    ChatSend: _chat,
    ChatHistory: _chat_history,
    Ping: _ping,
    **MEDIA_HANDLERS,
    **VOICE_HANDLERS,
}
