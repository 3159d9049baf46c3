"""What an offer makes of each section: decided before anything changes, and said in the answer.

Pure functions of the offer, the wishes of the caller and what the section carried before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from media.operations import MAP_BYTES
from relay.answer import AnswerSection, Inactive, Receive, Refuse, Send, SendReceive, find_refusal
from relay.offered import OfferedSection
from relay.payloads import PayloadMaps, negotiate_codecs, negotiate_extensions
from relay.source import Kind, Source
from relay.subscription import Subscription
from relay.track import Track

_SENDING: Final = ("sendrecv", "sendonly")
_RECEIVING: Final = ("sendrecv", "recvonly")


@dataclass(frozen=True)
class Refusal:
    """Why a section, or the wish for it, was not granted."""

    code: str
    reason: str


@dataclass(frozen=True)
class NegotiationResult:
    """What an offer led to."""

    sdp: str
    published: Mapping[str, Track]
    """By mid: every track this peer publishes now."""
    unpublished: tuple[Track, ...]
    """Tracks this offer ended."""
    subscribed: Mapping[str, Source]
    """By mid: every track and slot this peer is sent now."""
    refused: Mapping[str, Refusal]
    """By mid."""


@dataclass
class Section:
    """What one mid carries."""

    kind: Kind
    track: Track | None = None
    subscription: Subscription | None = None


@dataclass
class SectionPlan:
    """What an offer makes of one section."""

    offered: OfferedSection
    refuse: Refuse | None = None
    publishes: bool = False
    label: str | None = None
    subscribes: bool = False
    source: Source | None = None
    refusal: Refusal | None = None


def plan_section(
    offered: OfferedSection,
    before: Section | None,
    publish: Mapping[str, str],
    subscribe: Mapping[str, Source],
) -> SectionPlan:
    """Decide about one section. `publish` and `subscribe` are those of `Peer.accept_offer`."""
    plan = SectionPlan(offered, refuse=find_refusal(offered))
    mid = offered.mid
    if plan.refuse is not None:
        plan.refusal = Refusal(plan.refuse.code, plan.refuse.reason)
        return plan
    if offered.direction in _SENDING:
        plan.publishes = mid in publish or (before is not None and before.track is not None)
        plan.label = publish.get(mid)
    elif mid in publish:
        plan.refusal = Refusal(
            "not_sending", f"section {mid!r} is offered {offered.direction}: it sends nothing"
        )
    wish = subscribe.get(mid)
    if offered.direction in _RECEIVING:
        subscribed = before is not None and before.subscription is not None
        plan.subscribes = offered.direction == "recvonly" or subscribed or wish is not None
        if wish is not None and wish.closed:
            plan.refusal = Refusal("unknown_track", f"track {wish.id} has ended")
        elif wish is not None and wish.kind != offered.kind:
            plan.refusal = Refusal(
                "kind_mismatch", f"track {wish.id} is {wish.kind}, the section {offered.kind}"
            )
        else:
            plan.source = wish
    elif wish is not None:
        plan.refusal = Refusal(
            "not_receiving", f"section {mid!r} is offered {offered.direction}: it takes nothing"
        )
    return plan


def answer_section(section: Section, offered: OfferedSection) -> AnswerSection:
    """Describe what a section carries now."""
    codecs, extensions = negotiate_codecs(offered), negotiate_extensions(offered)
    subscription = section.subscription
    if subscription is None:
        return Receive(codecs, extensions) if section.track is not None else Inactive(codecs, extensions)
    direction = SendReceive if section.track is not None else Send
    return direction(
        codecs,
        extensions,
        ssrc=subscription.ssrc,
        rtx_ssrc=subscription.rtx_ssrc or None,
        cname=subscription.cname,
        stream_id=subscription.stream_id,
        track_id=subscription.track_id,
    )


def payload_maps(carried: list[OfferedSection]) -> bytes:
    """Lay out the blob of a SET_MAPS command for a peer with these sections."""
    maps = PayloadMaps.of([Inactive(negotiate_codecs(one), negotiate_extensions(one)) for one in carried])
    blob = b"".join(
        (
            maps.payload_type_in,
            maps.rtx_associated,
            maps.payload_type_out,
            maps.rtx_payload_type_out,
            maps.extension_in,
            maps.extension_out,
        )
    )
    assert len(blob) == MAP_BYTES
    return blob
