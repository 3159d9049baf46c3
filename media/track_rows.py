"""Commands about tracks, the inbound streams that feed them and the groups they compete in."""

from typing import Any

from media.forward import forget_stream, resume_routes
from media.jit import kernel
from media.keyframe_requests import want_keyframe
from media.memory import group_at, inbound_at, peer_at, track_at
from media.operations import Operation
from media.outbound_rows import detach
from media.overload import forget_track
from media.slots import (
    LONG_AGO_NS,
    NO_PROMINENCE,
    forget_stream_in_slots,
    set_groups,
    yield_slots,
)
from media.tables import AUDIO_SLOTS, NONE, VIDEO


@kernel
def apply_to_track(context: Any, command: Any) -> None:
    """Apply one command. Operations: see `media.operations`."""
    track = track_at(context, command.row)
    operation = command.operation
    if operation == Operation.OPEN_TRACK:
        track.generation = command.generation
        track.kind = command.values[0]
        track.muted = 0
        track.first_outbound = NONE
        track.active_inbound = NONE
        track.level_dbov = 127
        track.level_ns = 0
        track.outbound_count = 0
        track.group = NONE
        track.tap_group = NONE
        track.has_held_slot = 0
        track.prominence_millidb = NO_PROMINENCE
        track.prominence_ns = context.now_ns
        track.shed = 0
        track.loud_ns = 0
        track.pauses = 0
        context.track_limit = max(context.track_limit, command.row + 1)
    elif operation == Operation.SET_MUTED:
        was_muted = track.muted
        track.muted = command.values[0]
        if was_muted != 0 and track.muted == 0:
            resume_routes(context, command.row)
        elif track.muted != 0:
            track.level_dbov = 127
            track.prominence_millidb = NO_PROMINENCE
            yield_slots(context, command.row)
    elif operation == Operation.SET_GROUPS:
        set_groups(context, command.row, command.values[0], command.values[1])
    else:
        set_groups(context, command.row, NONE, NONE)
        while track.first_outbound != NONE:
            detach(context, track.first_outbound)
        forget_track(context, track)
        track.generation = 0
        track.active_inbound = NONE


@kernel
def apply_to_group(context: Any, command: Any) -> None:
    """Apply one command. Operations: see `media.operations`."""
    if command.operation == Operation.OPEN_GROUP:
        group = group_at(context, command.row)
        for slot in range(AUDIO_SLOTS):
            group.slot[slot] = command.values[slot]
            group.holder[slot] = NONE
            group.since_ns[slot] = LONG_AGO_NS
            group.heard_ns[slot] = LONG_AGO_NS


@kernel
def apply_to_inbound(context: Any, command: Any) -> None:
    """Apply one command. Operations: see `media.operations`."""
    row = command.row
    inbound = inbound_at(context, row)
    if command.operation == Operation.OPEN_INBOUND:
        values = command.values
        inbound.generation = command.generation
        inbound.peer = values[0]
        inbound.track = values[1]
        inbound.ssrc = values[2]
        inbound.clock_rate = values[3]
        inbound.repairs = values[4]
        inbound.repairable = values[5]
        inbound.origin_worker = values[6]
        inbound.origin_inbound = values[7]
        inbound.origin_generation = values[8]
        inbound.tapped_stream = 0
        inbound.started = 0
        inbound.received = 0
        inbound.packets = 0
        inbound.bytes = 0
        inbound.transit_ticks = 0
        inbound.jitter_16ths = 0
        inbound.report_arrival_ns = 0
        inbound.keyframe_asked_ns = 0
        inbound.keyframe_wanted = 0
        inbound.missing_count = 0
        inbound.pauses = 0
        inbound.next_of_peer = NONE
        context.inbound_limit = max(context.inbound_limit, row + 1)
        if inbound.peer != NONE:
            peer = peer_at(context, inbound.peer)
            inbound.next_of_peer = peer.first_inbound
            peer.first_inbound = row
        if inbound.repairs == NONE:
            track = track_at(context, inbound.track)
            track.active_inbound = row
            if track.kind == VIDEO and track.first_outbound != NONE:
                want_keyframe(context, row)
        return
    if command.operation == Operation.SET_ORIGIN:
        inbound.origin_inbound = command.values[0]
        inbound.origin_generation = command.values[1]
        return
    if inbound.peer != NONE:
        _unlink_inbound(context, row)
    if inbound.repairs == NONE:
        track = track_at(context, inbound.track)
        if track.active_inbound == row:
            track.active_inbound = NONE
        forget_stream(context, inbound.track, row)
        forget_stream_in_slots(context, row)
    inbound.generation = 0
    inbound.keyframe_wanted = 0
    inbound.missing_count = 0


@kernel
def _unlink_inbound(context: Any, row: int) -> None:
    inbound = inbound_at(context, row)
    peer = peer_at(context, inbound.peer)
    if peer.first_inbound == row:
        peer.first_inbound = inbound.next_of_peer
        return
    before = peer.first_inbound
    while before != NONE:
        candidate = inbound_at(context, before)
        if candidate.next_of_peer == row:
            candidate.next_of_peer = inbound.next_of_peer
            return
        before = candidate.next_of_peer
