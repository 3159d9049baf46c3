"""What each request does: the table from message to handler.

A handler is synchronous, so that a request happens as one step between all others. It returns the reply or
raises ``RequestError``, and then has changed nothing. A new message is one model in ``messages/client.py``
and one handler here.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import trio

import relay
from signaling.messages import (
    Answer,
    Candidate,
    ChatSend,
    ChatSent,
    ClientMessage,
    ErrorCode,
    Join,
    Joined,
    Leave,
    Left,
    Mute,
    NameSet,
    Offer,
    Ok,
    Ping,
    Pong,
    PublishedTrack,
    RefusedSection,
    Resume,
    Resumed,
    ServerMessage,
    SetName,
    Subscribe,
    Subscribed,
    SubscribedTrack,
    Unsubscribe,
    Unsubscribed,
    Wish,
)
from signaling.session import Membership, Session


class Requester(Protocol):
    """The connection a request came from."""

    @property
    def session(self) -> Session:
        """Whose requests these are."""

    def resume(self, token_untrusted: str) -> Session | None:
        """Become the session of this token, if there is one and nothing else was asked before."""


class RequestError(Exception):
    """A request that cannot be granted."""

    def __init__(self, code: str, error: str, *, field: str | None = None) -> None:
        super().__init__(error)
        self.code = code
        self.error = error
        self.field = field


def handle(requester: Requester, message: ClientMessage) -> ServerMessage:
    """Carry a request out and return its reply.

    Raises: RequestError.
    """
    try:
        return HANDLERS[type(message)](requester, message)
    except relay.RemoteProtocolError as error:
        raise RequestError(error.code, str(error)) from None
    except relay.CapacityError as error:
        raise RequestError(ErrorCode.AT_CAPACITY, f"the relay is at capacity: {error}") from None


def _resume(requester: Requester, message: Resume) -> ServerMessage:
    session = requester.resume(message.resume_token)
    if session is None:
        raise RequestError(
            ErrorCode.RESUME_FAILED,
            "the session cannot be resumed: the token is unknown or has expired, or this was not the first request",
            field="resume_token",
        )
    membership = session.membership
    return Resumed(
        session_id=session.session_id,
        lobby=None if membership is None else membership.snapshot,
        media_state=session.media.state,
    )


def _join(requester: Requester, message: Join) -> ServerMessage:
    snapshot = requester.session.join(message.lobby, message.name, is_bot=message.is_bot).snapshot
    return Joined(
        lobby=snapshot.lobby,
        participant_id=snapshot.participant_id,
        participants=snapshot.participants,
        audio_slots=snapshot.audio_slots,
        chat=snapshot.chat,
    )


def _leave(requester: Requester, _: Leave) -> ServerMessage:
    _membership(requester)
    requester.session.leave("left")
    return Left()


def _set_name(requester: Requester, message: SetName) -> ServerMessage:
    membership = _membership(requester)
    membership.lobby.rename(membership.participant, message.name)
    return NameSet(name=message.name)


def _offer(requester: Requester, message: Offer) -> ServerMessage:
    membership = _membership(requester)
    refused: list[RefusedSection] = []
    subscribe: dict[str, relay.Source] = {}
    for wish in message.subscribe:
        source = _find_source(membership, wish)
        if source is None:
            # It may have ended while the offer was on its way: no reason to refuse the other sections.
            text = "this lobby has no such track or slot; it may just have ended"
            refused.append(RefusedSection(mid=wish.mid, code=ErrorCode.UNKNOWN_TRACK, error=text))
        else:
            subscribe[wish.mid] = source
    sources = {wish.mid: wish.source for wish in message.publish}
    result = requester.session.negotiate(membership, message.sdp, sources, subscribe)
    refused.extend(
        RefusedSection(mid=mid, code=refusal.code, error=refusal.reason)
        for mid, refusal in result.refused.items()
    )
    return Answer(
        sdp=result.sdp,
        published=tuple(
            PublishedTrack(mid=mid, track_id=track.id) for mid, track in result.published.items()
        ),
        subscribed=tuple(
            SubscribedTrack(mid=mid, slot=source.index)
            if isinstance(source, relay.AudioSlot)
            else SubscribedTrack(mid=mid, track_id=source.id)
            for mid, source in result.subscribed.items()
        ),
        refused=tuple(refused),
    )


def _candidate(_: Requester, __: Candidate) -> ServerMessage:
    # The relay is ICE-lite: it answers checks and needs no candidates of the client's.
    return Ok()


def _subscribe(requester: Requester, message: Subscribe) -> ServerMessage:
    source = _find_source(_membership(requester), message)
    if source is None:
        field = "track_id" if message.slot is None else "slot"
        raise RequestError(ErrorCode.UNKNOWN_TRACK, "this lobby has no such track or slot", field=field)
    try:
        requester.session.media.attach(message.mid, source)
    except KeyError:
        raise _unknown_mid() from None
    except relay.LocalProtocolError as error:
        raise RequestError(ErrorCode.KIND_MISMATCH, str(error), field="mid") from None
    return Subscribed(track_id=message.track_id, slot=message.slot, mid=message.mid)


def _find_source(membership: Membership, wish: Wish) -> relay.Source | None:
    if wish.slot is not None:
        return membership.lobby.find_slot(wish.slot)
    assert wish.track_id is not None  # the model has seen to it
    return membership.lobby.find_track(wish.track_id)


def _unsubscribe(requester: Requester, message: Unsubscribe) -> ServerMessage:
    _membership(requester)
    try:
        requester.session.media.detach(message.mid)
    except KeyError:
        raise _unknown_mid() from None
    return Unsubscribed(mid=message.mid)


def _mute(requester: Requester, message: Mute) -> ServerMessage:
    membership = _membership(requester)
    if message.track_id not in membership.participant.tracks:
        raise RequestError(ErrorCode.UNKNOWN_TRACK, "you publish no such track", field="track_id")
    membership.lobby.set_muted(membership.participant, message.track_id, muted=message.muted)
    return Ok()


def _chat(requester: Requester, message: ChatSend) -> ServerMessage:
    membership = _membership(requester)
    if not requester.session.chat_allowance.take(trio.current_time()):
        raise RequestError(ErrorCode.RATE_LIMITED, "too many lines of chat: wait a moment")
    return ChatSent(seq=membership.lobby.say(membership.participant, message.text))


def _ping(_: Requester, __: Ping) -> ServerMessage:
    return Pong(time=datetime.now(UTC))


def _membership(requester: Requester) -> Membership:
    membership = requester.session.membership
    if membership is None:
        raise RequestError(ErrorCode.NOT_IN_LOBBY, "join a lobby first")
    return membership


def _unknown_mid() -> RequestError:
    return RequestError(
        ErrorCode.UNKNOWN_MID,
        "no receiving section with this mid has been negotiated: offer again",
        field="mid",
    )


HANDLERS: dict[type[ClientMessage], Callable[[Requester, Any], ServerMessage]] = {
    Resume: _resume,
    Join: _join,
    Leave: _leave,
    SetName: _set_name,
    Offer: _offer,
    Candidate: _candidate,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Mute: _mute,
    ChatSend: _chat,
    Ping: _ping,
}
