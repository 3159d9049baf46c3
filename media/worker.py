"""The loop of a relay worker: one call that returns when it is told to stop.

Each round applies commands, receives a batch, forwards it, drains the taps, does what the clock asks for and flushes
what is to be sent. It sleeps in `ppoll` only when a round found nothing to do.
"""

from typing import Any

import numpy as np

from media.atomics import full_fence, load_acquire, store_release
from media.clock import read_clock
from media.commands import apply_commands
from media.feedback import RETRANSMISSIONS_PER_SECOND
from media.forward import resume_routes
from media.ingress import PUNTS_PER_SECOND, accept_packet, receive_datagram
from media.jit import helper, integer, kernel
from media.keyframe_requests import ask_for_keyframe, want_keyframe
from media.memory import (
    TAP_DATA,
    TAP_META,
    count,
    inbound_at,
    packets_at,
    peer_at,
    record_at,
    words_at,
)
from media.missing import ask_again
from media.native import (
    CLOCK_MONOTONIC,
    MMSGHDR,
    MSG_DONTWAIT,
    MSG_TRUNC,
    recvmmsg,
)
from media.outbound_rows import switch_route
from media.overload import note_batch, watch_load
from media.priority import watch_priority
from media.reports import send_reports
from media.ring import release_slot, slot_to_read
from media.send import MESSAGE_SIZE, flush_sends
from media.slots import restart_mirror, yield_slots
from media.stun import CHECKS_PER_SECOND
from media.tables import (
    CONTEXT,
    RECEIVE_BATCH,
    RECEIVE_STRIDE,
    RING_CURSOR_WORDS,
    RING_READ,
    RING_WRITTEN,
    SEND_BATCH,
    SEND_EAGERLY,
    SOCKADDR_BYTES,
    TAP,
    TAP_KEYFRAME_REQUEST,
    TAP_PACKET,
    TAP_SWITCH,
)
from media.taps import cursors_of, ring_of, slot_of
from media.thread_loop import begin_loop, has_mail, wait, wake_control_plane
from media.verdicts import Verdict

TICK_NS = 10_000_000
REPORT_PHASES = 100
"""Ticks between two reports to one peer: reports of all peers spread evenly over a second."""

UNKNOWN_CHECKS_PER_TICK = 64
"""STUN from unproven addresses punted per tick: 6,400 joins a second, and no more of a flood than that."""

TAP_BATCH = 256
"""Packets taken from one tap per round, so that a busy neighbour cannot starve this worker's own socket."""


@kernel
def run_worker(address: int) -> None:
    """Serve until a STOP command. `address`: of a CONTEXT record prepared by `media.state`."""
    context = record_at(CONTEXT, address)
    begin_loop(context, TICK_NS)
    context.stun_tokens = UNKNOWN_CHECKS_PER_TICK
    while context.stopping == 0:
        apply_commands(context)
        received = _receive_batch(context)
        taken = _drain_taps(context)
        if context.now_ns >= context.next_tick_ns:
            _tick(context)
        if context.send_count != 0:
            flush_sends(context)
        if context.events_pending != 0 or context.acknowledgement_pending != 0:
            wake_control_plane(context)
        if received == 0 and taken == 0 and context.stopping == 0:
            context.busy_ns += read_clock(context, CLOCK_MONOTONIC) - context.awake_since_ns
            _sleep(context)
            context.now_ns = read_clock(context, CLOCK_MONOTONIC)
            context.awake_since_ns = context.now_ns
    wake_control_plane(context)


@kernel
def _receive_batch(context: Any) -> int:
    looked_ns = context.now_ns
    received = integer(
        recvmmsg(
            np.int32(context.socket),
            context.receive_messages,
            np.uint32(RECEIVE_BATCH),
            np.int32(MSG_DONTWAIT),
            np.uint64(0),
        )
    )
    context.now_ns = read_clock(context, CLOCK_MONOTONIC)
    if received <= 0:
        return 0
    context.batches += 1
    note_batch(context, received, context.now_ns - looked_ns)
    context.send_limit = SEND_EAGERLY if received == 1 else SEND_BATCH
    for index in range(received):
        message = record_at(MMSGHDR, context.receive_messages + index * MESSAGE_SIZE)
        if (message.flags & MSG_TRUNC) != 0:
            count(context, Verdict.TRUNCATED)
        else:
            receive_datagram(
                context,
                context.receive_bytes + index * RECEIVE_STRIDE,
                context.receive_addresses + index * SOCKADDR_BYTES,
                integer(message.length),
            )
        message.name_length = SOCKADDR_BYTES
    return received


@kernel
def _drain_taps(context: Any) -> int:
    taken = integer(0)
    for writer in range(context.workers):
        if writer == context.worker:
            continue
        ring = ring_of(context, writer, context.worker)
        for _ in range(TAP_BATCH):
            index = slot_to_read(cursors_of(context, ring), context.tap_mask)
            if index < 0:
                break
            _take_tapped(context, slot_of(context, ring, index))
            release_slot(cursors_of(context, ring))
            taken += 1
        else:
            context.tap_pressed |= _is_pressed(context, ring)
    return taken


@helper
def _is_pressed(context: Any, ring: int) -> bool:
    """Whether a tap of which a whole batch was taken is still nearly full: its writer is about to drop packets."""
    cursors = words_at(cursors_of(context, ring), RING_CURSOR_WORDS)
    return load_acquire(cursors, RING_WRITTEN) - cursors[RING_READ] > context.tap_mask // 2


@kernel
def _take_tapped(context: Any, place: int) -> None:
    record = record_at(TAP, place)
    if record.inbound < 0 or record.inbound >= context.inbound_capacity:
        return
    inbound = inbound_at(context, record.inbound)
    if inbound.generation != record.generation:
        return  # the row was retired while this was under way
    if record.kind == TAP_SWITCH:
        switch_route(context, record)
        return
    if record.kind != TAP_KEYFRAME_REQUEST and inbound.tapped_stream != record.stream:
        inbound.tapped_stream = record.stream
        restart_mirror(context, integer(record.inbound))
    if record.kind == TAP_PACKET:
        meta = packets_at(context.packet)
        meta[0] = packets_at(place + TAP_META)[0]
        inbound.ssrc = meta[0].ssrc
        if record.resumes != 0:
            yield_slots(context, integer(inbound.track))
        if inbound.pauses != record.pauses:
            inbound.pauses = record.pauses
            resume_routes(context, integer(inbound.track))
        inbound.packets += 1
        accept_packet(context, integer(record.inbound), place + TAP_DATA)
    elif record.kind == TAP_KEYFRAME_REQUEST:
        want_keyframe(context, integer(record.inbound))
    else:
        inbound.report_ntp = record.report_ntp
        inbound.report_timestamp = record.report_timestamp
        inbound.report_arrival_ns = record.report_arrival_ns


@kernel
def _tick(context: Any) -> None:
    context.next_tick_ns = context.now_ns + TICK_NS
    context.stun_tokens = UNKNOWN_CHECKS_PER_TICK
    context.busy_ns += context.now_ns - context.awake_since_ns
    context.awake_since_ns = context.now_ns
    watch_load(context)
    watch_priority(context)
    if context.repairs_pending != 0:
        context.repairs_pending = 0
        for row in range(context.inbound_limit):
            inbound = inbound_at(context, row)
            if inbound.keyframe_wanted != 0 and not ask_for_keyframe(context, row):
                context.repairs_pending = 1
            if inbound.missing_count != 0:
                ask_again(context, row)
                context.repairs_pending = 1
    phase = context.report_cursor
    context.report_cursor = (phase + 1) % REPORT_PHASES
    for row in range(phase, context.peer_limit, REPORT_PHASES):
        peer = peer_at(context, row)
        peer.punt_budget = PUNTS_PER_SECOND
        peer.check_budget = CHECKS_PER_SECOND
        if peer.srtp_send != 0 and peer.address_length != 0:
            peer.retransmission_budget = RETRANSMISSIONS_PER_SECOND
            send_reports(context, row)


@kernel
def _sleep(context: Any) -> None:
    flags = words_at(context.sleep_flags, context.workers * 8)
    mine = context.worker * 8
    store_release(flags, mine, integer(1))
    full_fence()
    if not has_mail(context):
        duration_ns = integer(-1)
        if context.open_peers > 0 or context.shedding != 0:  # an overload ends also when all have left
            # Absolute deadlines: a late wake-up does not shift the ticks behind it.
            duration_ns = max(integer(0), context.next_tick_ns - context.now_ns)
        context.sleeps += 1
        wait(context, 2, duration_ns)
    store_release(flags, mine, integer(0))
