"""What the requests about media do: offers, subscriptions, muting. See ``handlers.py``."""

from collections.abc import Callable
from typing import Any

import relay
from signaling.auth.errors import PermissionDeniedError
from signaling.messages import (
    Answer,
    Candidate,
    ClientMessage,
    ErrorCode,
    Mute,
    Offer,
    Ok,
    PublishedTrack,
    RefusedSection,
    ServerMessage,
    Subscribe,
    Subscribed,
    SubscribedTrack,
    Unsubscribe,
    Unsubscribed,
    Wish,
)
from signaling.request_error import RequestError
from signaling.requester import Requester, membership_of
from signaling.session import Membership


def _offer(requester: Requester, message: Offer) -> ServerMessage:
    membership = membership_of(requester)
    refused: list[RefusedSection] = []
    sources = _allowed_sources(membership, message, refused)
    subscribe = _wanted_sources(membership, message, refused)
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
        subscribed=tuple(_describe_subscription(mid, source) for mid, source in result.subscribed.items()),
        refused=tuple(refused),
    )


def _describe_subscription(mid: str, source: relay.Source) -> SubscribedTrack:
    if isinstance(source, relay.AudioSlot):
        return SubscribedTrack(mid=mid, slot=source.index)
    if isinstance(source, relay.Track):
        return SubscribedTrack(mid=mid, track_id=source.id)
    return SubscribedTrack(mid=mid, mix=True)


def _allowed_sources(membership: Membership, message: Offer, refused: list[RefusedSection]) -> dict[str, str]:
    """Return mid -> source of the sections that may publish; say why the others may not."""
    try:
        if message.publish:
            membership.grants.require("can_publish")
    except PermissionDeniedError as error:
        refused.extend(
            RefusedSection(mid=wish.mid, code=ErrorCode.FORBIDDEN, error=str(error))
            for wish in message.publish
        )
        return {}
    return {wish.mid: wish.source for wish in message.publish}


def _wanted_sources(
    membership: Membership, message: Offer, refused: list[RefusedSection]
) -> dict[str, relay.Source]:
    """Return mid -> what the section shall carry; say why others cannot.

    No section is a reason to refuse the others: a track may have ended while the offer was on its way.
    """
    subscribe: dict[str, relay.Source] = {}
    for wish in message.subscribe:
        try:
            subscribe[wish.mid] = _find_source(membership, wish)
        except PermissionDeniedError as error:
            refused.append(RefusedSection(mid=wish.mid, code=ErrorCode.FORBIDDEN, error=str(error)))
        except RequestError as error:
            refused.append(RefusedSection(mid=wish.mid, code=error.code, error=error.error))
        except relay.CapacityError as error:
            refused.append(RefusedSection(mid=wish.mid, code=ErrorCode.AT_CAPACITY, error=str(error)))
    return subscribe


def _candidate(_: Requester, __: Candidate) -> ServerMessage:
    # The relay is ICE-lite: it answers checks and needs no candidates of the client's.
    return Ok()


def _subscribe(requester: Requester, message: Subscribe) -> ServerMessage:
    source = _find_source(membership_of(requester), message)
    try:
        requester.session.media.attach(message.mid, source)
    except KeyError:
        raise _unknown_mid() from None
    except relay.LocalProtocolError as error:
        raise RequestError(ErrorCode.KIND_MISMATCH, str(error), field="mid") from None
    return Subscribed(track_id=message.track_id, slot=message.slot, mix=message.mix, mid=message.mid)


def _find_source(membership: Membership, wish: Wish) -> relay.Source:
    """Return the track, slot or mix that is wished for.

    Raises: PermissionDeniedError; RequestError ``unknown_track``, ``unsupported``; relay.CapacityError.
    """
    membership.grants.require("can_subscribe")
    if wish.mix:
        return membership.lobby.find_mix(membership.participant)
    source: relay.Source | None
    if wish.slot is not None:
        source = membership.lobby.find_slot(wish.slot)
    else:
        assert wish.track_id is not None  # the model has seen to it
        source = membership.lobby.find_track(wish.track_id)
    if source is None:
        field = "track_id" if wish.slot is None else "slot"
        text = "this lobby has no such track or slot; it may just have ended"
        raise RequestError(ErrorCode.UNKNOWN_TRACK, text, field=field)
    return source


def _unsubscribe(requester: Requester, message: Unsubscribe) -> ServerMessage:
    membership_of(requester)
    try:
        requester.session.media.detach(message.mid)
    except KeyError:
        raise _unknown_mid() from None
    return Unsubscribed(mid=message.mid)


def _mute(requester: Requester, message: Mute) -> ServerMessage:
    membership = membership_of(requester)
    published = membership.participant.tracks.get(message.track_id)
    if published is None:
        raise RequestError(ErrorCode.UNKNOWN_TRACK, "you publish no such track", field="track_id")
    if published.muted_by_server and not message.muted:
        text = "an administrator has muted this track, and only one can unmute it"
        raise RequestError(ErrorCode.FORBIDDEN, text, field="muted")
    membership.lobby.set_muted(membership.participant, message.track_id, muted=message.muted)
    return Ok()


def _unknown_mid() -> RequestError:
    return RequestError(
        ErrorCode.UNKNOWN_MID,
        "no receiving section with this mid has been negotiated: offer again",
        field="mid",
    )


MEDIA_HANDLERS: dict[type[ClientMessage], Callable[[Requester, Any], ServerMessage]] = {
    Offer: _offer,
    Candidate: _candidate,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Mute: _mute,
}
