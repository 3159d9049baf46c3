"""The compiled loop of `relay bench mix`: plays a worker towards a mixer, on a core of its own.

Every voice has a packet in each 20 ms, at a moment of its own, written into the tap ring as `media.taps` does; what the
mixer sends back is read as a worker would, and its numbers are checked. No socket, no SRTP: this measures the mixer.
"""

from typing import Any

import numpy as np

from bench.mix_tables import (
    FRAME_NS,
    FRAME_TICKS,
    LATE_NS,
    MIX_PLAYER,
    MIX_STREAM,
    MIX_VOICE,
    PAYLOAD_SLOT_BYTES,
    PlayerTally,
)
from media.atomics import load_acquire
from media.clock import read_clock
from media.codecs import OPUS
from media.jit import helper, integer, kernel
from media.memory import TAP_DATA, TAP_META, bytes_at, packets_at, record_at, words_at
from media.native import CLOCK_MONOTONIC, TIMESPEC, memcpy, ppoll
from media.ring import release_slot, slot_to_read
from media.rtp import write_u16, write_u32
from media.tables import TAP, TAP_PACKET, TAP_SWITCH
from media.taps import cursors_of, publish_tap, reserve_tap, ring_of, slot_of

HEADER_BYTES = 12
VOICE_SIZE = MIX_VOICE.itemsize
STREAM_SIZE = MIX_STREAM.itemsize
TALLIES = len(PlayerTally)
STOPPING = MIX_PLAYER.fields["stopping"][1]  # type: ignore[index] # of a structured dtype


@kernel
def play_voices(address: int) -> None:
    """Send and receive until `stopping`. `address`: of a MIX_PLAYER record."""
    player = record_at(MIX_PLAYER, address)
    stopping = words_at(address + STOPPING, 1)
    player.began_ns = read_clock(player, CLOCK_MONOTONIC)
    while load_acquire(stopping, 0) == 0:
        player.now_ns = read_clock(player, CLOCK_MONOTONIC)
        _send_due(player)
        _receive(player)
        _pause(player)


@helper
def _due_ns(player: Any, number: int) -> int:
    """When a packet is due: those of one round are spread evenly over the frame."""
    count = player.voice_count
    return player.began_ns + number // count * FRAME_NS + number % count * FRAME_NS // count


@kernel
def _send_due(player: Any) -> None:
    tallies = words_at(player.tallies, TALLIES)
    while player.voice_count > 0:
        late_ns = player.now_ns - _due_ns(player, player.next)
        if late_ns < 0:
            return
        player.latest_ns = max(player.latest_ns, late_ns)
        if late_ns > LATE_NS:
            tallies[PlayerTally.SENT_LATE] += 1
        _send(player, player.next % player.voice_count)
        player.next += 1


@kernel
def _send(player: Any, row: int) -> None:
    voice = record_at(MIX_VOICE, player.voices + integer(row) * VOICE_SIZE)
    sequence = (voice.sequence + 1) & 0xFFFF
    timestamp = (voice.timestamp + FRAME_TICKS) & 0xFFFFFFFF
    voice.sequence = sequence
    voice.timestamp = timestamp
    payload = voice.first_payload + voice.payload % voice.payload_count
    voice.payload += 1
    tallies = words_at(player.tallies, TALLIES)
    place = reserve_tap(player, player.mixer)
    if place == 0:
        tallies[PlayerTally.REFUSED] += 1
        return
    length = words_at(player.payload_lengths, player.payload_count)[payload]
    record = record_at(TAP, place)
    record.kind = TAP_PACKET
    record.inbound = voice.input
    record.generation = voice.generation
    record.stream = integer(row) + 1
    record.resumes = 0
    record.pauses = 0
    meta = packets_at(place + TAP_META)
    meta[0].arrival_ns = player.now_ns
    meta[0].ssrc = integer(row) + 1
    meta[0].timestamp = timestamp
    meta[0].sequence_number = sequence
    meta[0].codec = OPUS
    meta[0].marker = 0
    meta[0].level_dbov = voice.level_dbov
    meta[0].voiced = voice.talks
    meta[0].length = HEADER_BYTES + length
    meta[0].header_length = HEADER_BYTES
    meta[0].payload_length = length
    packet = bytes_at(place + TAP_DATA, HEADER_BYTES)
    packet[0] = 0x80
    packet[1] = 111
    write_u16(packet, 2, sequence)
    write_u32(packet, 4, timestamp)
    write_u32(packet, 8, integer(row) + 1)
    memcpy(place + TAP_DATA + HEADER_BYTES, player.payloads + payload * PAYLOAD_SLOT_BYTES, length)
    publish_tap(player, player.mixer)
    tallies[PlayerTally.SENT] += 1


@kernel
def _receive(player: Any) -> None:
    tallies = words_at(player.tallies, TALLIES)
    ring = ring_of(player, player.mixer, player.worker)
    cursors = cursors_of(player, ring)
    while True:
        index = slot_to_read(cursors, player.tap_mask)
        if index < 0:
            return
        place = slot_of(player, ring, index)
        record = record_at(TAP, place)
        if record.kind == TAP_SWITCH:
            tallies[PlayerTally.SWITCHES] += 1
        elif record.kind == TAP_PACKET and 0 <= record.inbound < player.stream_count:
            tallies[PlayerTally.RECEIVED] += 1
            stream = record_at(MIX_STREAM, player.streams + integer(record.inbound) * STREAM_SIZE)
            meta = packets_at(place + TAP_META)
            sequence = integer(meta[0].sequence_number)
            if record.resumes == 0 and stream.sequence >= 0 and sequence != (stream.sequence + 1) & 0xFFFF:
                stream.gaps += 1
            stream.sequence = sequence
            stream.packets += 1
            stream.bytes += integer(meta[0].payload_length)
        release_slot(cursors)


@helper
def _pause(player: Any) -> None:
    now_ns = read_clock(player, CLOCK_MONOTONIC)
    until_ns = now_ns + player.pause_ns
    if player.voice_count > 0:
        until_ns = max(until_ns, min(_due_ns(player, player.next), now_ns + FRAME_NS // 4))
    time = record_at(TIMESPEC, player.clock)
    time.seconds = 0
    time.nanoseconds = until_ns - now_ns
    ppoll(np.uintp(0), np.uint64(0), player.clock, np.uint64(0))
