"""The compiled loop of `relay bench mix --what relay`: peers that send Opus over SRTP and decrypt the mix they get.

Every peer has a packet in each 20 ms, at a moment of its own. Packets say how loud they are (RFC 6464, extension 1), as
browsers' do. The numbers of what comes are checked; whether it is the right sound is a matter of tests.
"""

from typing import Any

import numpy as np

from bench.mix_tables import (
    CONSENT_SLOT_BYTES,
    CROWD_EVENTS,
    FRAME_NS,
    FRAME_TICKS,
    LATE_NS,
    MIX_CROWD,
    MIX_PEER,
    PACKET_SLOT_BYTES,
    PAYLOAD_SLOT_BYTES,
    CrowdTally,
)
from bench.native import EPOLL_EVENT, epoll_wait, recv, send
from media.atomics import load_acquire
from media.clock import read_clock
from media.jit import helper, integer, kernel
from media.memory import bytes_at, record_at, words_at
from media.native import CLOCK_MONOTONIC, MSG_DONTWAIT, memcpy, srtp_protect, srtp_unprotect
from media.rtp import write_u16, write_u32

PEER_SIZE = MIX_PEER.itemsize
EVENT_SIZE = EPOLL_EVENT.itemsize
TALLIES = len(CrowdTally)
STOPPING = MIX_CROWD.fields["stopping"][1]  # type: ignore[index] # of a structured dtype
HEADER_BYTES = 20  # with the extension
PAYLOAD_TYPE = 111
MAX_WAIT_MS = 5
LENGTH = np.dtype([("value", "i4")])


@kernel
def play_crowd(address: int) -> None:
    """Send and receive until `stopping`. `address`: of a MIX_CROWD record."""
    crowd = record_at(MIX_CROWD, address)
    stopping = words_at(address + STOPPING, 1)
    crowd.began_ns = read_clock(crowd, CLOCK_MONOTONIC)
    crowd.consent_due_ns = crowd.began_ns
    wait_ms = integer(0)
    while load_acquire(stopping, 0) == 0:
        ready = integer(
            epoll_wait(np.int32(crowd.epoll_fd), crowd.events, np.int32(CROWD_EVENTS), np.int32(wait_ms))
        )
        for index in range(ready):
            event = record_at(EPOLL_EVENT, crowd.events + index * EVENT_SIZE)
            _receive(crowd, words_at(crowd.peer_of_fd, crowd.fd_count)[event.fd])
        crowd.now_ns = read_clock(crowd, CLOCK_MONOTONIC)
        _send_due(crowd)
        _renew_consent(crowd)
        due_ns = _due_ns(crowd, crowd.next) - read_clock(crowd, CLOCK_MONOTONIC)
        wait_ms = max(integer(0), min(integer(MAX_WAIT_MS), due_ns // 1_000_000))
        if ready == 0 and wait_ms == 0:
            wait_ms = integer(1)  # what is due meanwhile goes in one batch


@helper
def _peer_at(crowd: Any, row: int) -> Any:
    return record_at(MIX_PEER, crowd.peers + integer(row) * PEER_SIZE)


@helper
def _due_ns(crowd: Any, number: int) -> int:
    count = crowd.peer_count
    return crowd.began_ns + number // count * FRAME_NS + number % count * FRAME_NS // count


@kernel
def _send_due(crowd: Any) -> None:
    tallies = words_at(crowd.tallies, TALLIES)
    while True:
        late_ns = crowd.now_ns - _due_ns(crowd, crowd.next)
        if late_ns < 0:
            return
        if late_ns > LATE_NS:
            tallies[CrowdTally.SENT_LATE] += 1
        _send(crowd, crowd.next % crowd.peer_count)
        crowd.next += 1


@kernel
def _send(crowd: Any, row: int) -> None:
    peer = _peer_at(crowd, row)
    peer.sequence = (peer.sequence + 1) & 0xFFFF
    peer.timestamp = (peer.timestamp + FRAME_TICKS) & 0xFFFFFFFF
    payload = peer.first_payload + peer.payload % peer.payload_count
    peer.payload += 1
    size = words_at(crowd.payload_lengths, crowd.total_payloads)[payload]
    packet = bytes_at(crowd.packet, PACKET_SLOT_BYTES)
    packet[0] = 0x90
    packet[1] = PAYLOAD_TYPE
    write_u16(packet, 2, peer.sequence)
    write_u32(packet, 4, peer.timestamp)
    write_u32(packet, 8, peer.ssrc)
    write_u32(packet, 12, 0xBEDE0001)
    packet[16] = 0x10  # extension 1, one byte
    packet[17] = peer.level_dbov
    packet[18] = 0
    packet[19] = 0
    memcpy(crowd.packet + HEADER_BYTES, crowd.payloads + payload * PAYLOAD_SLOT_BYTES, np.uintp(size))
    length = record_at(LENGTH, crowd.length)
    length.value = HEADER_BYTES + size
    tallies = words_at(crowd.tallies, TALLIES)
    if (
        srtp_protect(np.uintp(peer.send_session), crowd.packet, crowd.length) != 0
        or send(np.int32(peer.fd), crowd.packet, np.uintp(length.value), MSG_DONTWAIT) < 0
    ):
        tallies[CrowdTally.FAILED] += 1
        return
    tallies[CrowdTally.SENT] += 1


@helper
def _renew_consent(crowd: Any) -> None:
    while crowd.now_ns >= crowd.consent_due_ns:
        peer = _peer_at(crowd, crowd.consent_next)
        send(
            np.int32(peer.fd),
            crowd.consents + crowd.consent_next * CONSENT_SLOT_BYTES,
            np.uintp(peer.consent_length),
            MSG_DONTWAIT,
        )
        crowd.consent_next = (crowd.consent_next + 1) % crowd.peer_count
        crowd.consent_due_ns += crowd.consent_interval_ns


@kernel
def _receive(crowd: Any, row: int) -> None:
    peer = _peer_at(crowd, row)
    tallies = words_at(crowd.tallies, TALLIES)
    packet = bytes_at(crowd.packet, PACKET_SLOT_BYTES)
    length = record_at(LENGTH, crowd.length)
    while True:
        size = integer(recv(np.int32(peer.fd), crowd.packet, np.uintp(PACKET_SLOT_BYTES), MSG_DONTWAIT))
        if size < 0:
            return
        if size < 12 or packet[0] & 0xC0 != 0x80 or 192 <= packet[1] <= 223:
            continue
        length.value = size
        if srtp_unprotect(np.uintp(peer.receive_session), crowd.packet, crowd.length) != 0:
            tallies[CrowdTally.UNPROTECT_FAILED] += 1
            continue
        tallies[CrowdTally.RECEIVED] += 1
        peer.packets += 1
        sequence = (integer(packet[2]) << 8) | integer(packet[3])
        if peer.heard_sequence >= 0:
            ahead = (sequence - peer.heard_sequence) & 0xFFFF
            if ahead < 0x8000:
                peer.gaps += ahead - 1
        peer.heard_sequence = sequence
