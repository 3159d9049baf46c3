"""RTCP from peers (RFC 3550, 4585, 5104): sender reports of publishers, reports and wishes of subscribers.

Compound packets are parsed totally; packets of unknown type and feedback about unknown streams are passed over. An
outbound SSRC carries its table row in its low 16 bits, so feedback finds its stream without a search.
"""

from typing import Any

import numpy as np

from media.aead import packet_index
from media.forward import write_rtp_fields
from media.history import find_kept
from media.jit import helper, integer, kernel
from media.keyframe_requests import want_keyframe
from media.memory import (
    HISTORY_DATA,
    HISTORY_META,
    bytes_at,
    count,
    inbound_at,
    outbound_at,
    packets_at,
    peer_at,
    track_at,
    words_at,
)
from media.native import memcpy, memmove
from media.rtcp import (
    BLOCK_WORDS,
    BODY,
    COUNT,
    FIR_ITEM_BYTES,
    FULL_INTRA_REQUEST,
    GENERIC_NACK,
    ITEM_COUNT,
    ITEMS,
    NACK_ITEM_BYTES,
    NEXT,
    PAYLOAD_FEEDBACK,
    PICTURE_LOSS,
    RECEIVER_REPORT,
    REPORT_BLOCK_BYTES,
    SENDER_REPORT,
    TRANSPORT_FEEDBACK,
    TYPE,
    block_fraction_lost,
    block_last_report,
    block_report_delay,
    block_ssrc,
    fir_ssrc,
    is_valid_compound,
    media_ssrc,
    nack_bitmask,
    nack_packet_id,
    next_rtcp,
    report_ntp,
    report_timestamp,
    sender_ssrc,
)
from media.rtp import sequence_delta, write_u16
from media.send import queue_rtp, reserve_datagram
from media.slots import tapped_slot
from media.tables import NO_PAYLOAD_TYPE, NONE, VIDEO
from media.taps import tap_sender_report
from media.verdicts import Verdict

OUTBOUND_ROW_MASK = 0xFFFF

RETRANSMISSIONS_PER_SECOND = 1000
"""Packets one subscriber's NACKs may cost per second: repair, not amplification."""

NTP_SECOND = 1 << 32


@kernel
def receive_rtcp(context: Any, peer_row: int, buffer: int, length: int) -> bool:
    """Act on a decrypted compound packet. False, and nothing done, when it is malformed."""
    packet = bytes_at(buffer, length)
    if not is_valid_compound(packet, length):
        return False
    block = words_at(context.block, BLOCK_WORDS)
    offset = integer(0)
    while next_rtcp(packet, length, offset, block):
        kind, items, item_count = block[TYPE], block[ITEMS], block[ITEM_COUNT]
        offset = block[NEXT]
        if kind == SENDER_REPORT:
            _take_sender_report(context, peer_row, packet, block[BODY])
            _take_report_blocks(context, peer_row, packet, items, item_count)
        elif kind == RECEIVER_REPORT:
            _take_report_blocks(context, peer_row, packet, items, item_count)
        elif kind == TRANSPORT_FEEDBACK and block[COUNT] == GENERIC_NACK:
            _answer_nack(context, peer_row, packet, block[BODY], items, item_count)
        elif kind == PAYLOAD_FEEDBACK and block[COUNT] == PICTURE_LOSS:
            _take_keyframe_wish(context, peer_row, media_ssrc(packet, block[BODY]))
        elif kind == PAYLOAD_FEEDBACK and block[COUNT] == FULL_INTRA_REQUEST:
            for item in range(item_count):
                _take_keyframe_wish(context, peer_row, fir_ssrc(packet, items + item * FIR_ITEM_BYTES))
    return True


@helper
def _find_outbound(context: Any, peer_row: int, ssrc: int) -> int:
    """Row of the stream with this SSRC (or RTX SSRC) that goes to this peer, NONE when there is none."""
    row = ssrc & OUTBOUND_ROW_MASK
    if row >= context.outbound_capacity:
        return integer(NONE)
    outbound = outbound_at(context, row)
    if outbound.generation == 0 or outbound.peer != peer_row:
        return integer(NONE)
    if ssrc not in (outbound.ssrc, outbound.rtx_ssrc):
        return integer(NONE)
    return row


@kernel
def _take_sender_report(context: Any, peer_row: int, packet: np.ndarray, body: int) -> None:
    ssrc = sender_ssrc(packet, body)
    peer = peer_at(context, peer_row)
    row = peer.first_inbound
    while row != NONE and inbound_at(context, row).ssrc != ssrc:
        row = inbound_at(context, row).next_of_peer
    if row == NONE or inbound_at(context, row).repairs != NONE:
        return
    inbound = inbound_at(context, row)
    ntp = report_ntp(packet, body)
    inbound.received_ntp_middle = (ntp >> 16) & 0xFFFFFFFF
    if peer.clock_known == 0:
        # One offset per publisher, for all its streams: what was in step stays in step, and every publisher's reports
        # come to be told in the relay's time, so that a receiver may compare streams of different publishers.
        peer.clock_offset = ntp_now(context) - ntp
        peer.clock_known = 1
    inbound.report_ntp = ntp + peer.clock_offset
    inbound.report_timestamp = report_timestamp(packet, body)
    inbound.report_arrival_ns = context.now_ns
    track = track_at(context, inbound.track)
    if track.active_inbound != row:
        return
    _tap_report(context, inbound.track, inbound)
    slot_row = tapped_slot(context, inbound.track)
    if slot_row != NONE:
        _tap_report(context, slot_row, inbound)


@kernel
def _tap_report(context: Any, track_row: int, inbound: Any) -> None:
    """Tell the mirrors that a track feeds what the latest sender report of its stream says."""
    tap = track_at(context, track_row).first_outbound
    while tap != NONE:
        outbound = outbound_at(context, tap)
        if outbound.peer == NONE:
            tap_sender_report(context, outbound, inbound)
        tap = outbound.next_of_track


@helper
def ntp_now(context: Any) -> int:
    """The relay's wall clock in NTP's 32.32 format, at the time of the batch."""
    wall_ns = context.now_ns + context.wall_offset_ns
    seconds = wall_ns // 1_000_000_000
    fraction = ((wall_ns % 1_000_000_000) << 32) // 1_000_000_000
    return (seconds << 32) | fraction


@kernel
def _take_report_blocks(context: Any, peer_row: int, packet: np.ndarray, items: int, item_count: int) -> None:
    for index in range(item_count):
        item = items + index * REPORT_BLOCK_BYTES
        row = _find_outbound(context, peer_row, block_ssrc(packet, item))
        if row != NONE:
            outbound = outbound_at(context, row)
            outbound.fraction_lost = block_fraction_lost(packet, item)
            last_report = block_last_report(packet, item)
            if outbound.report_sent_ns != 0 and last_report == outbound.report_ntp_middle:
                delay_ns = (block_report_delay(packet, item) * 1_000_000_000) >> 16
                outbound.round_trip_ns = max(integer(0), context.now_ns - outbound.report_sent_ns - delay_ns)


@kernel
def _take_keyframe_wish(context: Any, peer_row: int, ssrc: int) -> None:
    row = _find_outbound(context, peer_row, ssrc)
    if row == NONE:
        count(context, Verdict.UNKNOWN_FEEDBACK_TARGET)
        return
    outbound = outbound_at(context, row)
    if outbound.track == NONE:
        return
    track = track_at(context, outbound.track)
    if track.kind == VIDEO and track.active_inbound != NONE:
        want_keyframe(context, integer(track.active_inbound))


@kernel
def _answer_nack(
    context: Any, peer_row: int, packet: np.ndarray, body: int, items: int, item_count: int
) -> None:
    row = _find_outbound(context, peer_row, media_ssrc(packet, body))
    if row == NONE:
        count(context, Verdict.UNKNOWN_FEEDBACK_TARGET)
        return
    for item in range(item_count):
        entry = items + item * NACK_ITEM_BYTES
        first = nack_packet_id(packet, entry)
        following = nack_bitmask(packet, entry)
        _repeat_packet(context, peer_row, row, first)
        for bit in range(16):
            if (following >> bit) & 1:
                _repeat_packet(context, peer_row, row, (first + bit + 1) & 0xFFFF)


@kernel
def _repeat_packet(context: Any, peer_row: int, row: int, sequence: int) -> None:
    """Send once more what a subscriber got (or should have got) under `sequence`."""
    peer = peer_at(context, peer_row)
    outbound = outbound_at(context, row)
    if peer.retransmission_budget <= 0:
        count(context, Verdict.NACK_THROTTLED)
        return
    if outbound.inbound == NONE or outbound.started == 0:
        count(context, Verdict.NACK_MISSED)
        return
    source = (sequence - outbound.sequence_offset) & 0xFFFF
    # Before the last switch the same numbers meant packets of another source.
    before_switch = outbound.guarded != 0 and sequence_delta(source, outbound.switch_sequence) < 0
    if before_switch or sequence_delta(sequence, outbound.last_sequence) > 0:
        count(context, Verdict.NACK_MISSED)
        return
    kept = find_kept(context, integer(outbound.inbound), source)
    if kept == 0:
        count(context, Verdict.NACK_MISSED)
        return
    meta = packets_at(context.packet)
    meta[0] = packets_at(kept + HISTORY_META)[0]
    payload_type = peer.payload_type_out[meta[0].codec]
    repair_type = peer.rtx_payload_type_out[meta[0].codec]
    if payload_type == NO_PAYLOAD_TYPE:
        count(context, Verdict.NACK_MISSED)
        return
    length = meta[0].length
    place = reserve_datagram(context)
    memcpy(place, kept + HISTORY_DATA, length)
    timestamp = (meta[0].timestamp + outbound.timestamp_offset) & 0xFFFFFFFF
    if outbound.rtx_ssrc != 0 and repair_type != NO_PAYLOAD_TYPE:
        # RFC 4588 section 4: the original sequence number goes before the payload.
        outbound.rtx_sequence += 1
        index = integer(outbound.rtx_sequence)
        write_rtp_fields(
            context, outbound.rtx_ssrc, peer, place, repair_type, outbound.rtx_sequence, timestamp
        )
        header = meta[0].header_length
        memmove(place + header + 2, place + header, length - header)
        write_u16(bytes_at(place, header + 2), header, sequence)
        length += 2
    else:
        index = packet_index(integer(outbound.last_sequence), sequence)
        # The same bytes under the same number: SRTP makes the same cipher text of them, so no keystream is reused.
        write_rtp_fields(context, outbound.ssrc, peer, place, payload_type, sequence, timestamp)
    if queue_rtp(context, peer_row, peer, length, index):
        peer.retransmission_budget -= 1
        count(context, Verdict.NACK_ANSWERED)
    else:
        count(context, Verdict.ROUTE_PROTECT_FAILED)
