"""What an offer of a peer stands for: it names no tracks, so its sections say it.

It publishes what it sends: the first section of audio is its microphone and the first of video its camera, further ones are
what it shares of its screen. It hears what it has room for (``hearing.py``). Sections that would receive video stay empty.
"""

from dataclasses import dataclass

import relay
from signaling import messages
from signaling.messages import PublishRequest, SubscribeRequest
from signaling.peer_path.hearing import choose, voices_in
from signaling.session import Membership

_SENDING = ("sendrecv", "sendonly")
_RECEIVING = ("sendrecv", "recvonly")
#: kind -> what the first section is, and what further ones are.
_SOURCES = {"audio": ("microphone", "screen_audio"), "video": ("camera", "screen")}


@dataclass(frozen=True, slots=True)
class ExplainedOffer:
    """An offer as the client protocol has it, and the sections that go from voice to voice: mid -> track to begin with."""

    offer: messages.Offer
    carried: dict[str, str | None]


def explain_offer(sdp: str, membership: Membership) -> ExplainedOffer:
    """Return what the offer stands for.

    Raises: relay.RemoteProtocolError.
    """
    sections = [each for each in relay.parse_offer(sdp).sections if each.bundled and each.kind in _SOURCES]
    publish: list[PublishRequest] = []
    for kind, (first, further) in _SOURCES.items():
        sending = [each.mid for each in sections if each.kind == kind and each.direction in _SENDING]
        publish += [
            PublishRequest(mid=mid, source=further if place else first) for place, mid in enumerate(sending)
        ]
    receiving = [each.mid for each in sections if each.kind == "audio" and each.direction in _RECEIVING]
    slots = _slots(membership)
    if len(receiving) >= len(slots):
        carried: dict[str, str | None] = {}
        subscribe = [
            SubscribeRequest(mid=mid, slot=slot) for slot, mid in zip(slots, receiving, strict=False)
        ]
    else:
        listener = membership.participant.participant_id
        chosen = choose([None] * len(receiving), voices_in(membership.lobby), listener)
        carried = dict(zip(receiving, chosen, strict=True))
        # Where there is nobody to hear yet, a slot keeps the place: what is not subscribed now cannot be later.
        subscribe = [
            SubscribeRequest(mid=mid, slot=slot) if each is None else SubscribeRequest(mid=mid, track_id=each)
            for slot, (mid, each) in enumerate(carried.items())
        ]
    return ExplainedOffer(
        messages.Offer(sdp=sdp, publish=tuple(publish), subscribe=tuple(subscribe)), carried
    )


def _slots(membership: Membership) -> range:
    count = 0
    while membership.lobby.find_slot(count) is not None:
        count += 1
    return range(count)
