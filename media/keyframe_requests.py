"""Asking publishers for keyframes: any number of wishes, at most one PLI per stream and interval.

A wish within the interval of the last PLI is remembered and sent when the interval is over, unless a keyframe came
first. Towards a publisher on another worker the wish crosses in a tap and is merged there.
"""

from typing import Any

from media.jit import kernel
from media.memory import bytes_at, count, inbound_at, peer_at, record_at, track_at
from media.rtcp import write_pli
from media.send import queue_rtcp
from media.tables import NONE, PACKET_BYTES, TAP, TAP_KEYFRAME_REQUEST
from media.taps import publish_tap, reserve_tap
from media.verdicts import Verdict


@kernel
def want_keyframe(context: Any, inbound_row: int) -> None:
    """Note that someone needs a keyframe of this stream; ask for it now if the throttle allows."""
    count(context, Verdict.KEYFRAME_REQUESTED)
    inbound = inbound_at(context, inbound_row)
    if track_at(context, inbound.track).shed != 0:
        return  # nobody would get it; the track asks for one when it resumes
    inbound.keyframe_wanted = 1
    context.repairs_pending = 1
    ask_for_keyframe(context, inbound_row)


@kernel
def ask_for_keyframe(context: Any, inbound_row: int) -> bool:
    """Send the PLI a stream is owed, if its interval is over. False while one is still owed."""
    inbound = inbound_at(context, inbound_row)
    if inbound.keyframe_wanted == 0:
        return True
    if context.now_ns - inbound.keyframe_asked_ns < context.keyframe_interval_ns:
        return False
    if inbound.peer == NONE:
        place = reserve_tap(context, inbound.origin_worker)
        if place == 0:
            return False
        wish = record_at(TAP, place)
        wish.kind = TAP_KEYFRAME_REQUEST
        wish.inbound = inbound.origin_inbound
        wish.generation = inbound.origin_generation
        publish_tap(context, inbound.origin_worker)
    else:
        peer = peer_at(context, inbound.peer)
        report = bytes_at(context.report, PACKET_BYTES)
        length = write_pli(report, 0, peer.rtcp_ssrc, inbound.ssrc)
        if not queue_rtcp(context, inbound.peer, length):
            return False
        count(context, Verdict.KEYFRAME_FORWARDED)
    inbound.keyframe_wanted = 0
    inbound.keyframe_asked_ns = context.now_ns
    return True
