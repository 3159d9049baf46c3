"""Commands about outbound streams: opened, given a source, parked, closed."""

from typing import Any

from media.jit import integer, kernel
from media.keyframe_requests import want_keyframe
from media.memory import bytes_at, inbound_at, outbound_at, peer_at, track_at
from media.operations import Operation
from media.tables import NONE, VIDEO


@kernel
def apply_to_outbound(context: Any, command: Any, blob: int) -> None:
    """Apply one command; `blob` is the address of its bytes. Operations: see `media.operations`."""
    row = command.row
    outbound = outbound_at(context, row)
    operation = command.operation
    if operation == Operation.OPEN_OUTBOUND:
        values = command.values
        outbound.generation = command.generation
        outbound.peer = values[0]
        outbound.ssrc = values[1]
        outbound.rtx_ssrc = values[2]
        outbound.last_sequence = values[3]
        outbound.rtx_sequence = values[3]
        outbound.clock_rate = values[4]
        outbound.link_worker = values[5]
        outbound.link_inbound = values[6]
        outbound.link_generation = values[7]
        outbound.cname[:] = bytes_at(blob, outbound.cname.size)
        outbound.track = NONE
        outbound.inbound = NONE
        outbound.next_of_track = NONE
        outbound.previous_of_track = NONE
        outbound.next_of_peer = NONE
        outbound.previous_of_peer = NONE
        outbound.resync = 1
        outbound.awaiting_keyframe = 0
        outbound.guarded = 0
        outbound.started = 0
        outbound.sequence_offset = 0
        outbound.timestamp_offset = 0
        outbound.last_timestamp = 0
        outbound.last_sent_ns = 0
        outbound.packets_sent = 0
        outbound.payload_bytes_sent = 0
        outbound.codec = 0
        outbound.report_sent_ns = 0
        outbound.fraction_lost = 0
        outbound.round_trip_ns = 0
        if outbound.peer != NONE:
            _link_to_peer(context, row)
    elif operation == Operation.SET_SOURCE:
        detach(context, row)
        if 0 <= command.values[0] < context.track_capacity:
            attach(context, row, command.values[0])
    else:
        detach(context, row)
        if outbound.peer != NONE:
            _unlink_from_peer(context, row)
        outbound.generation = 0


@kernel
def switch_route(context: Any, record: Any) -> None:
    """Let a listener of a mix take the other of its two streams, where the numbering goes on as it was.

    A mixer sends listeners who say nothing one stream, and each who speaks one without himself; both are numbered alike.
    `record`: TAP, for the stream that is to be taken. Nothing happens to a stream that has meanwhile left the mix.
    """
    if not (
        0 <= record.outbound < context.outbound_capacity and 0 <= record.origin < context.inbound_capacity
    ):
        return
    outbound = outbound_at(context, record.outbound)
    origin = inbound_at(context, record.origin)
    if outbound.generation != record.outbound_generation or outbound.track == NONE:
        return
    if outbound.track != origin.track:
        return
    inbound = inbound_at(context, record.inbound)
    goes_on = outbound.inbound == record.origin and origin.tapped_stream == record.stream
    detach(context, record.outbound)
    attach(context, record.outbound, integer(inbound.track))
    inbound.tapped_stream = record.stream
    if goes_on:
        outbound.inbound = record.inbound


@kernel
def _link_to_peer(context: Any, row: int) -> None:
    outbound = outbound_at(context, row)
    peer = peer_at(context, outbound.peer)
    outbound.next_of_peer = peer.first_outbound
    if peer.first_outbound != NONE:
        outbound_at(context, peer.first_outbound).previous_of_peer = row
    peer.first_outbound = row


@kernel
def _unlink_from_peer(context: Any, row: int) -> None:
    outbound = outbound_at(context, row)
    if outbound.previous_of_peer == NONE:
        peer_at(context, outbound.peer).first_outbound = outbound.next_of_peer
    else:
        outbound_at(context, outbound.previous_of_peer).next_of_peer = outbound.next_of_peer
    if outbound.next_of_peer != NONE:
        outbound_at(context, outbound.next_of_peer).previous_of_peer = outbound.previous_of_peer


@kernel
def attach(context: Any, row: int, track_row: int) -> None:
    """Make a track the source of a parked outbound stream: the track's newest route."""
    outbound = outbound_at(context, row)
    track = track_at(context, track_row)
    outbound.track = track_row
    outbound.previous_of_track = NONE
    outbound.next_of_track = track.first_outbound
    if track.first_outbound != NONE:
        outbound_at(context, track.first_outbound).previous_of_track = row
    track.first_outbound = row
    track.outbound_count += 1
    outbound.resync = 1
    # A tap passes everything on: the mirror at its other end does the waiting.
    outbound.awaiting_keyframe = track.kind == VIDEO and outbound.peer != NONE
    if track.kind == VIDEO and track.active_inbound != NONE:
        want_keyframe(context, track.active_inbound)


@kernel
def detach(context: Any, row: int) -> None:
    """Park an outbound stream; its numbering stays, for the next source to continue."""
    outbound = outbound_at(context, row)
    if outbound.track == NONE:
        return
    track = track_at(context, outbound.track)
    if outbound.previous_of_track == NONE:
        track.first_outbound = outbound.next_of_track
    else:
        outbound_at(context, outbound.previous_of_track).next_of_track = outbound.next_of_track
    if outbound.next_of_track != NONE:
        outbound_at(context, outbound.next_of_track).previous_of_track = outbound.previous_of_track
    outbound.track = NONE
    outbound.next_of_track = NONE
    outbound.previous_of_track = NONE
    # The inbound stream may be gone, and its row another's, before this one has a source again.
    outbound.inbound = NONE
    track.outbound_count -= 1
