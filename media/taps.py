"""Rings of decrypted packets between workers.

Ring [writer][reader] carries canonical packets from a publisher's worker to the mirrors of its tracks on the reader's
worker, and keyframe requests the other way round in ring [reader][writer]. Every record names the generation of the
row it is for: a row that was retired and reused meanwhile ignores it.
"""

from typing import Any

import numpy as np

from media.atomics import full_fence, load_acquire
from media.jit import helper, integer, kernel
from media.memory import TAP_DATA, TAP_META, TAP_SIZE, count, packets_at, record_at, track_at, words_at
from media.native import memcpy, write
from media.ring import publish_slot, slot_to_write
from media.tables import RING_CURSOR_WORDS, TAP, TAP_PACKET, TAP_SENDER_REPORT
from media.verdicts import Verdict


@helper
def ring_of(context: Any, writer: int, reader: int) -> int:
    """Index of the ring from `writer` to `reader`."""
    return integer(writer) * context.workers + reader


@helper
def cursors_of(context: Any, ring: int) -> int:
    """Address of a ring's counts."""
    return context.tap_cursors + ring * RING_CURSOR_WORDS * 8


@helper
def slot_of(context: Any, ring: int, index: int) -> int:
    """Address of a slot."""
    return context.taps + (ring * (context.tap_mask + 1) + index) * TAP_SIZE


@helper
def reserve_tap(context: Any, reader: int) -> int:
    """Address of a free TAP record towards another worker, 0 when its ring is full (counted)."""
    ring = ring_of(context, context.worker, reader)
    index = slot_to_write(cursors_of(context, ring), context.tap_mask)
    if index < 0:
        count(context, Verdict.ROUTE_TAP_OVERFLOW)
        return 0
    return slot_of(context, ring, index)


@helper
def publish_tap(context: Any, reader: int) -> None:
    """Hand the reserved record over and wake the reader if it sleeps."""
    publish_slot(cursors_of(context, ring_of(context, context.worker, reader)))
    # The reader raises its flag and then looks at the ring; we write the ring and then look at the flag. The fence
    # keeps the two from missing each other.
    full_fence()
    if load_acquire(words_at(context.sleep_flags, context.workers * 8), integer(reader) * 8) != 0:
        write(np.int32(words_at(context.wake_fds, context.workers)[reader]), context.wake_count, 8)


@kernel
def tap_packet(context: Any, outbound: Any, inbound: Any, source: int, resumes: int) -> None:
    """Copy the packet at hand, of stream `inbound`, bytes from address `source`, to a mirror.

    `outbound` links to it. `resumes`: 1 when what came before was withheld from it.
    """
    place = reserve_tap(context, outbound.link_worker)
    if place == 0:
        return
    meta = packets_at(context.packet)
    record = record_at(TAP, place)
    record.kind = TAP_PACKET
    record.inbound = outbound.link_inbound
    record.generation = outbound.link_generation
    record.stream = inbound.generation
    record.resumes = resumes
    record.pauses = track_at(context, outbound.track).pauses
    packets_at(place + TAP_META)[0] = meta[0]
    memcpy(place + TAP_DATA, source, meta[0].length)
    publish_tap(context, outbound.link_worker)
    count(context, Verdict.ROUTE_TAPPED)


@kernel
def tap_sender_report(context: Any, outbound: Any, inbound: Any) -> None:
    """Tell a mirror what the publisher's latest sender report says."""
    place = reserve_tap(context, outbound.link_worker)
    if place == 0:
        return
    record = record_at(TAP, place)
    record.kind = TAP_SENDER_REPORT
    record.inbound = outbound.link_inbound
    record.generation = outbound.link_generation
    record.stream = inbound.generation
    record.report_ntp = inbound.report_ntp
    record.report_timestamp = inbound.report_timestamp
    record.report_arrival_ns = inbound.report_arrival_ns
    publish_tap(context, outbound.link_worker)
