"""One received datagram: told apart, authenticated, parsed once, given its verdict.

DTLS and STUN go to the control plane (`punt`), but for the consent checks that `media.stun` answers. RTP and RTCP are
taken only from an address a peer has proved by ICE to own, and only after SRTP authentication.
"""

from typing import Any

import numpy as np

from media.address_hash import find_peer, load_key
from media.classify import DTLS, RTP_OR_RTCP, STUN, classify, is_plausible_stun, is_rtcp
from media.codecs import RTX
from media.extensions import canonicalize_extensions
from media.feedback import receive_rtcp
from media.forward import forward_packet
from media.history import keep_packet
from media.jit import helper, integer, kernel
from media.keyframes import is_keyframe
from media.memory import (
    EVENT_ADDRESS,
    EVENT_DATA,
    EVENT_SIZE,
    bytes_at,
    count,
    inbound_at,
    indices_at,
    packets_at,
    peer_at,
    record_at,
    track_at,
    words_at,
)
from media.missing import note_arrival
from media.native import (
    SRTP_BAD_PARAMETER,
    SRTP_OK,
    SRTP_PARSE_FAILED,
    SRTP_REPLAY_FAILED,
    SRTP_REPLAY_OLD,
    memcpy,
    memmove,
    srtp_get_stream,
    srtp_remove_stream,
    srtp_unprotect,
    srtp_unprotect_rtcp,
)
from media.overload import is_shed, note_speaker
from media.reception import update_reception
from media.ring import publish_slot, slot_to_write
from media.rtp import parse_rtp, read_u16, read_u32, write_u16
from media.slots import offer_packet
from media.stun import answer_consent_check
from media.tables import (
    AUDIO,
    EVENT,
    EVENT_DATAGRAM,
    EVENT_UNKNOWN_STREAM,
    NO_LEVEL,
    NONE,
    PACKET_BYTES,
    SOCKADDR_BYTES,
    VIDEO,
)
from media.verdicts import Verdict

UNKNOWN_STREAM_INTERVAL_NS = 20_000_000
"""At most this often is the control plane asked whose an unannounced SSRC is, per peer."""

PUNTS_PER_SECOND = 200
"""STUN and DTLS datagrams of one peer that the control plane sees; a browser that moves sends a few dozen."""

MAX_STRANGERS = 1024
"""SSRCs no offer named for which libsrtp keeps a stream, per peer: for good, and in a list that it searches.

Clients send feedback from such SSRCs, one per section at most, and media before the relay knows whose it is.
"""

LEVEL_SMOOTHING = 0.2
"""Weight of a new RFC 6464 level in the running one: about 100 ms of 20 ms packets."""


@kernel
def receive_datagram(context: Any, buffer: int, sockaddr: int, length: int) -> None:
    """Handle the datagram of `length` bytes at address `buffer`, which came from `sockaddr`."""
    if length < 2:
        count(context, Verdict.EMPTY)
        return
    packet = bytes_at(buffer, length)
    kind = classify(packet[0])
    key = words_at(context.key, 3)
    load_key(sockaddr, key)
    peer_row = find_peer(context, key)
    if kind == RTP_OR_RTCP:
        if peer_row < 0:
            count(context, Verdict.UNKNOWN_SOURCE)
        elif is_rtcp(packet[1]):
            _receive_srtcp(context, peer_row, buffer, length)
        else:
            _receive_srtp(context, peer_row, buffer, length)
    elif kind == STUN:
        if not is_plausible_stun(packet, length):
            count(context, Verdict.STUN_MALFORMED)
        elif peer_row >= 0 and answer_consent_check(context, peer_row, buffer, sockaddr, length):
            count(context, Verdict.STUN_ANSWERED)
        elif not _may_punt(context, peer_row):
            count(context, Verdict.PUNT_THROTTLED)
        elif punt_datagram(context, peer_row, buffer, sockaddr, length):
            count(context, Verdict.STUN_PUNTED)
    elif kind == DTLS:
        if peer_row < 0:
            count(context, Verdict.UNKNOWN_SOURCE)
        elif not _may_punt(context, peer_row):
            count(context, Verdict.PUNT_THROTTLED)
        elif punt_datagram(context, peer_row, buffer, sockaddr, length):
            count(context, Verdict.DTLS_PUNTED)
    else:
        count(context, Verdict.UNCLASSIFIED)


@helper
def _may_punt(context: Any, peer_row: int) -> bool:
    """Whether the budget of a peer, or of all unproven addresses together, allows one more; it is spent then."""
    if peer_row < 0:
        if context.stun_tokens <= 0:
            return False
        context.stun_tokens -= 1
        return True
    peer = peer_at(context, peer_row)
    if peer.punt_budget <= 0:
        return False
    peer.punt_budget -= 1
    return True


@kernel
def punt_datagram(context: Any, peer_row: int, buffer: int, sockaddr: int, length: int) -> bool:
    """Leave a datagram to the control plane. False when its ring is full (counted)."""
    index = slot_to_write(context.event_cursors, context.event_mask)
    if index < 0:
        count(context, Verdict.PUNT_OVERFLOW)
        return False
    place = context.events + index * EVENT_SIZE
    event = record_at(EVENT, place)
    event.kind = EVENT_DATAGRAM
    event.peer = peer_row
    event.length = length
    event.time_ns = context.now_ns
    memcpy(place + EVENT_ADDRESS, sockaddr, SOCKADDR_BYTES)
    memcpy(place + EVENT_DATA, buffer, length)
    publish_slot(context.event_cursors)
    context.events_pending = 1
    return True


@helper
def _receive_srtcp(context: Any, peer_row: int, buffer: int, length: int) -> None:
    peer = peer_at(context, peer_row)
    if peer.srtp_receive == 0:
        count(context, Verdict.NO_KEYS)
        return
    stranger = srtp_get_stream(peer.srtp_receive, np.uint32(indices_at(buffer + 4, 1)[0])) == 0
    if stranger and peer.strangers >= MAX_STRANGERS:
        count(context, Verdict.RTCP_TOO_MANY_SENDERS)
        return
    lengths = indices_at(context.packet_length, 1)
    lengths[0] = length
    if srtp_unprotect_rtcp(peer.srtp_receive, buffer, context.packet_length) != SRTP_OK:
        count(context, Verdict.RTCP_AUTHENTICATION_FAILED)
        return
    if stranger:
        peer.strangers += 1
    peer.last_received_ns = context.now_ns
    if receive_rtcp(context, peer_row, buffer, integer(lengths[0])):
        count(context, Verdict.RTCP_ACCEPTED)
    else:
        count(context, Verdict.RTCP_MALFORMED)


@kernel
def _receive_srtp(context: Any, peer_row: int, buffer: int, length: int) -> None:
    peer = peer_at(context, peer_row)
    if peer.srtp_receive == 0:
        count(context, Verdict.NO_KEYS)
        return
    row = _find_inbound(context, peer, read_u32(bytes_at(buffer, length), 8))
    # In network byte order, as libsrtp wants it. Of a datagram shorter than that libsrtp takes nothing.
    ssrc = np.uint32(indices_at(buffer + 8, 1)[0])
    stranger = row == NONE and srtp_get_stream(peer.srtp_receive, ssrc) == 0
    meta = packets_at(context.packet)
    lengths = indices_at(context.packet_length, 1)
    lengths[0] = length
    status = srtp_unprotect(peer.srtp_receive, buffer, context.packet_length)
    if status != SRTP_OK:
        if status in (SRTP_REPLAY_FAILED, SRTP_REPLAY_OLD):
            count(context, Verdict.RTP_REPLAYED)
        elif status in (SRTP_BAD_PARAMETER, SRTP_PARSE_FAILED):
            count(context, Verdict.RTP_MALFORMED)
        else:
            count(context, Verdict.RTP_AUTHENTICATION_FAILED)
        return
    length = integer(lengths[0])
    packet = bytes_at(buffer, length)
    peer.last_received_ns = context.now_ns
    peer.packets_received += 1
    peer.bytes_received += length
    if stranger:
        if peer.strangers < MAX_STRANGERS:
            peer.strangers += 1
        else:
            srtp_remove_stream(peer.srtp_receive, ssrc)
    if not parse_rtp(packet, length, meta, 0) or meta[0].length > PACKET_BYTES:
        count(context, Verdict.RTP_MALFORMED)
        return
    meta[0].arrival_ns = context.now_ns
    codec = peer.payload_type_in[meta[0].payload_type]
    if codec == 0:
        count(context, Verdict.RTP_UNKNOWN_PAYLOAD_TYPE)
        return
    canonicalize_extensions(packet, meta, 0, peer.extension_in, bytes_at(context.names, 64))
    if row == NONE:
        _report_unknown_stream(context, peer, peer_row)
        return
    advance = integer(0)
    if inbound_at(context, row).repairs != NONE:
        if codec != RTX or not _unwrap_retransmission(context, peer, row, buffer):
            # An RTX stream without payload is a bandwidth probe; there is nothing to forward.
            count(context, Verdict.RTP_ACCEPTED)
            return
        row = inbound_at(context, row).repairs
        codec = peer.payload_type_in[meta[0].payload_type]
        count(context, Verdict.RTP_RETRANSMISSION_ACCEPTED)
    else:
        count(context, Verdict.RTP_ACCEPTED)
        if codec != RTX:  # else its number is not one of the media's
            advance = update_reception(context, row)
    if codec in (RTX, 0):
        return
    meta[0].codec = codec
    inbound = inbound_at(context, row)
    if inbound.repairable != 0:
        if not note_arrival(context, row, advance):
            return
    elif advance == 0:
        return  # RTX for a stream nothing is asked for
    accept_packet(context, row, buffer + meta[0].offset)


@helper
def _find_inbound(context: Any, peer: Any, ssrc: int) -> int:
    row = integer(peer.first_inbound)
    while row != NONE and inbound_at(context, row).ssrc != ssrc:
        row = integer(inbound_at(context, row).next_of_peer)
    return row


@kernel
def accept_packet(context: Any, inbound_row: int, source: int) -> None:
    """Take the canonical packet at hand into its track: level, keyframe, history, routes, slots.

    Called for packets of local publishers and for those that come through a tap. `source`: address of its bytes.
    """
    meta = packets_at(context.packet)
    inbound = inbound_at(context, inbound_row)
    track = track_at(context, inbound.track)
    if track.kind == AUDIO:
        if meta[0].level_dbov != NO_LEVEL:
            level = np.float32(meta[0].level_dbov)
            track.level_dbov += np.float32(LEVEL_SMOOTHING) * (level - track.level_dbov)
            track.level_ns = context.now_ns
    else:
        start = meta[0].header_length
        end = start + meta[0].payload_length
        if is_keyframe(bytes_at(source, meta[0].length), start, end, meta[0].codec):
            meta[0].keyframe = 1
            inbound.keyframe_wanted = 0
        else:
            meta[0].keyframe = 0
    note_speaker(context, inbound, track)
    if track.muted != 0:
        count(context, Verdict.RTP_MUTED)
        return
    if track.active_inbound != inbound_row:
        return
    shed = track.first_outbound != NONE and is_shed(context, inbound, track)
    if track.kind == VIDEO and not shed:
        keep_packet(context, inbound_row, source)
    if track.first_outbound != NONE and not shed:
        forward_packet(context, inbound.track, inbound_row, source)
    if track.group != NONE or track.tap_group != NONE:
        offer_packet(context, inbound_row, source)


@helper
def _unwrap_retransmission(context: Any, peer: Any, row: int, buffer: int) -> bool:
    """Turn the RTX packet at hand into the packet it repeats (RFC 4588 section 4), in place."""
    meta = packets_at(context.packet)
    if meta[0].payload_length < 2:
        return False
    start = buffer + meta[0].offset
    header = meta[0].header_length
    original = read_u16(bytes_at(start, meta[0].length), header)
    memmove(start + 2, start, header)
    meta[0].offset += 2
    meta[0].length -= 2
    meta[0].payload_length -= 2
    meta[0].payload_type = peer.rtx_associated[meta[0].payload_type]
    meta[0].sequence_number = original
    meta[0].ssrc = inbound_at(context, inbound_at(context, row).repairs).ssrc
    write_u16(bytes_at(start + 2, 12), 2, original)
    return True


@helper
def _report_unknown_stream(context: Any, peer: Any, peer_row: int) -> None:
    count(context, Verdict.RTP_UNKNOWN_STREAM)
    if context.now_ns - peer.unknown_reported_ns < UNKNOWN_STREAM_INTERVAL_NS:
        return
    index = slot_to_write(context.event_cursors, context.event_mask)
    if index < 0:
        count(context, Verdict.PUNT_OVERFLOW)
        return
    meta = packets_at(context.packet)
    peer.unknown_reported_ns = context.now_ns
    place = context.events + index * EVENT_SIZE
    event = record_at(EVENT, place)
    event.kind = EVENT_UNKNOWN_STREAM
    event.peer = peer_row
    event.length = meta[0].mid_length
    event.payload_type = meta[0].payload_type
    event.time_ns = context.now_ns
    event.ssrc = meta[0].ssrc
    memcpy(place + EVENT_DATA, context.names, 64)
    publish_slot(context.event_cursors)
    context.events_pending = 1
