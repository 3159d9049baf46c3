"""From one accepted packet to a copy for each route of its track.

The rewrite state of an outbound stream ties it to one source. Whenever the source changes, or forwarding resumes after
a pause, the next packet continues the numbering the subscriber has seen (`_switch_source`); in between, rewriting is
one addition to the sequence number and one to the timestamp. It is the only switching mechanism there is.
"""

from typing import Any

from media.aead import packet_index
from media.extensions import write_extension_ids
from media.jit import helper, integer, kernel
from media.keyframe_requests import want_keyframe
from media.memory import bytes_at, count, inbound_at, outbound_at, packets_at, peer_at, track_at
from media.native import memcpy
from media.rtp import sequence_delta, write_u16, write_u32
from media.send import queue_rtp, reserve_datagram
from media.tables import NO_PAYLOAD_TYPE, NONE, VIDEO
from media.taps import tap_packet, tap_sender_report
from media.verdicts import Verdict

GUARDED_SPAN = 1024
"""Packets after a switch during which a late packet from before it can still be told by its sequence number."""


@kernel
def forward_packet(context: Any, track_row: int, inbound_row: int, source: int) -> None:
    """Send the packet at hand (`context.packet`; bytes from address `source`) along every route of a track."""
    row = track_at(context, track_row).first_outbound
    while row != NONE:
        outbound = outbound_at(context, row)
        following = outbound.next_of_track
        if outbound.peer == NONE:
            tap_packet(context, outbound, inbound_at(context, inbound_row), source, 0)
        else:
            _forward_to_peer(context, outbound, inbound_row, source)
        row = following


@kernel
def forward_through_slot(context: Any, slot_row: int, inbound_row: int, source: int, begins: bool) -> None:
    """Send the packet at hand along every route of an audio slot but the speaker's own.

    `begins`: the speaker begins in this slot. Whatever a route may have missed of it until now was no loss, and its
    mirrors need to know its clock.
    """
    inbound = inbound_at(context, inbound_row)
    row = track_at(context, slot_row).first_outbound
    while row != NONE:
        outbound = outbound_at(context, row)
        following = outbound.next_of_track
        if outbound.peer == NONE:
            tap_packet(context, outbound, inbound, source, 1 if begins else 0)
            if begins and inbound.report_arrival_ns != 0:
                tap_sender_report(context, outbound, inbound)
        elif outbound.peer == inbound.peer:
            _skip(outbound)
            count(context, Verdict.ROUTE_BACK_TO_SPEAKER)
        else:
            if begins:
                outbound.resync = 1
            _forward_to_peer(context, outbound, inbound_row, source)
        row = following


@helper
def _forward_to_peer(context: Any, outbound: Any, inbound_row: int, source: int) -> None:
    meta = packets_at(context.packet)
    peer = peer_at(context, outbound.peer)
    if peer.srtp_send == 0 or peer.address_length == 0:
        _skip(outbound)
        count(context, Verdict.ROUTE_NOT_CONNECTED)
        return
    payload_type = peer.payload_type_out[meta[0].codec]
    if payload_type == NO_PAYLOAD_TYPE:
        _skip(outbound)
        count(context, Verdict.ROUTE_CODEC_UNSUPPORTED)
        return
    if outbound.awaiting_keyframe != 0:
        if meta[0].keyframe == 0:
            count(context, Verdict.ROUTE_AWAITING_KEYFRAME)
            if inbound_at(context, inbound_row).keyframe_wanted == 0:
                want_keyframe(context, inbound_row)
            return
        outbound.awaiting_keyframe = 0
    if outbound.resync != 0 or outbound.inbound != inbound_row:
        _switch_source(context, outbound, inbound_row)
    if outbound.guarded != 0:
        distance = sequence_delta(meta[0].sequence_number, outbound.switch_sequence)
        if distance < 0:
            count(context, Verdict.ROUTE_TOO_OLD)
            return
        if distance > GUARDED_SPAN:
            outbound.guarded = 0
    sequence = (meta[0].sequence_number + outbound.sequence_offset) & 0xFFFF
    index = packet_index(integer(outbound.last_sequence), sequence)
    timestamp = (meta[0].timestamp + outbound.timestamp_offset) & 0xFFFFFFFF
    place = reserve_datagram(context)
    memcpy(place, source, meta[0].length)
    write_rtp_fields(context, outbound.ssrc, peer, place, payload_type, sequence, timestamp)
    if not queue_rtp(context, outbound.peer, peer, meta[0].length, index):
        count(context, Verdict.ROUTE_PROTECT_FAILED)
        return
    if index > outbound.last_sequence:
        outbound.last_sequence = index
        outbound.last_timestamp = timestamp
        outbound.last_sent_ns = context.now_ns
        outbound.started = 1
        outbound.codec = meta[0].codec
    outbound.packets_sent += 1
    outbound.payload_bytes_sent += meta[0].payload_length
    count(context, Verdict.ROUTE_SENT)


@helper
def write_rtp_fields(
    context: Any, ssrc: int, peer: Any, place: int, payload_type: int, sequence: int, timestamp: int
) -> None:
    """Give the canonical packet at `place` the subscriber's payload type, extension ids and numbering."""
    meta = packets_at(context.packet)
    packet = bytes_at(place, meta[0].length)
    packet[1] = (integer(meta[0].marker) << 7) | payload_type
    write_u16(packet, 2, sequence)
    write_u32(packet, 4, timestamp)
    write_u32(packet, 8, ssrc)
    if meta[0].element_count != 0:
        write_extension_ids(packet, meta, 0, peer.extension_out)


@helper
def _skip(outbound: Any) -> None:
    """The subscriber misses this packet through no loss: number the next one as if it had not been."""
    outbound.resync = 1


@helper
def _switch_source(context: Any, outbound: Any, inbound_row: int) -> None:
    meta = packets_at(context.packet)
    outbound.sequence_offset = (outbound.last_sequence + 1 - meta[0].sequence_number) & 0xFFFF
    if outbound.inbound != inbound_row:
        inbound = inbound_at(context, inbound_row)
        if outbound.started != 0:
            # Another clock: continue at the pace of real time, at least one tick on.
            elapsed = (context.now_ns - outbound.last_sent_ns) // 1000 * outbound.clock_rate // 1_000_000
            timestamp = outbound.last_timestamp + max(integer(1), elapsed)
            outbound.timestamp_offset = (timestamp - meta[0].timestamp) & 0xFFFFFFFF
        outbound.clock_rate = inbound.clock_rate
        outbound.inbound = inbound_row
    outbound.switch_sequence = meta[0].sequence_number
    outbound.guarded = 1
    outbound.resync = 0


@kernel
def forget_stream(context: Any, track_row: int, inbound_row: int) -> None:
    """The numbering of a stream, or the stream itself, comes to an end: no route of the track may go on by it."""
    row = track_at(context, track_row).first_outbound
    while row != NONE:
        outbound = outbound_at(context, row)
        if outbound.inbound == inbound_row:
            outbound.inbound = NONE
        row = outbound.next_of_track


@kernel
def resume_routes(context: Any, track_row: int) -> None:
    """After a pause of the whole track: no subscriber may take the packets it was not sent for lost ones."""
    track = track_at(context, track_row)
    row = track.first_outbound
    while row != NONE:
        outbound = outbound_at(context, row)
        outbound.resync = 1
        if track.kind == VIDEO and outbound.peer != NONE:
            outbound.awaiting_keyframe = 1
        row = outbound.next_of_track
    if track.kind == VIDEO and NONE not in (track.first_outbound, track.active_inbound):
        want_keyframe(context, track.active_inbound)
