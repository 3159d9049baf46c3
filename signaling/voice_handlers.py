"""What the requests about sound as samples do: hear, speak, be silent, press a key. See ``handlers.py``."""

from collections.abc import Callable

from signaling.messages import (
    AudioListen,
    AudioListening,
    AudioUnlisten,
    ClientMessage,
    ErrorCode,
    Ok,
    PlayClear,
    PlayCleared,
    PlayGain,
    PlayOpen,
    PlayOpened,
    Press,
    ServerMessage,
)
from signaling.request_error import RequestError
from signaling.requester import Requester, membership_of
from signaling.session import Membership


def _listen(requester: Requester, message: AudioListen) -> ServerMessage:
    membership = membership_of(requester)
    membership.grants.require("can_subscribe")
    _require_present(membership, message.participant_id, "participant_id")
    return AudioListening(stream=requester.session.require_voices(membership).listen(message))


def _unlisten(requester: Requester, message: AudioUnlisten) -> ServerMessage:
    membership = membership_of(requester)
    requester.session.require_voices(membership).unlisten(message.stream)
    return Ok()


def _play_open(requester: Requester, message: PlayOpen) -> ServerMessage:
    membership = membership_of(requester)
    membership.grants.require("can_publish")
    if membership.participant.muted_by_server:
        text = "an administrator has muted you, and only one can unmute you"
        raise RequestError(ErrorCode.FORBIDDEN, text)
    _require_present(membership, message.to, "to")
    return PlayOpened(stream=requester.session.require_voices(membership).open_playout(message))


def _play_clear(_: Requester, __: PlayClear, played_ms: dict[int, float]) -> ServerMessage:
    return PlayCleared(played_ms=played_ms)


def _play_gain(requester: Requester, message: PlayGain) -> ServerMessage:
    membership = membership_of(requester)
    requester.session.require_voices(membership).set_gain(10 ** (message.gain_db / 20))
    return Ok()


def _press(requester: Requester, message: Press) -> ServerMessage:
    membership = membership_of(requester)
    membership.grants.require("can_publish")
    membership.lobby.press(membership.participant, message.digit)
    return Ok()


def _require_present(membership: Membership, participant_id: str | None, field: str) -> None:
    """Return if nobody is named, or somebody in the lobby.

    Raises: RequestError ``unknown_participant``.
    """
    if participant_id is not None and participant_id not in membership.lobby.participants:
        text = "nobody of this id is in the lobby; they may just have left"
        raise RequestError(ErrorCode.UNKNOWN_PARTICIPANT, text, field=field)


VOICE_HANDLERS: dict[type[ClientMessage], Callable[..., ServerMessage]] = {
    AudioListen: _listen,
    AudioUnlisten: _unlisten,
    PlayOpen: _play_open,
    PlayClear: _play_clear,
    PlayGain: _play_gain,
    Press: _press,
}
