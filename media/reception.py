"""Reception statistics of an inbound stream, and the report blocks made of them (RFC 3550 6.4.1, A.1, A.3, A.8)."""

from typing import Any

from media.jit import helper, integer, kernel
from media.memory import inbound_at, packets_at
from media.rtp import sequence_delta

MAX_DROPOUT = 3000
"""A jump of more sequence numbers than this, either way, is a publisher that started afresh (RFC 3550 A.1)."""


@kernel
def update_reception(context: Any, inbound_row: int) -> int:
    """Account for the packet at hand, received from the network.

    Returns: by how much it advances the highest sequence number: 1 in order, more after a gap, 0 or less when late.
    """
    meta = packets_at(context.packet)
    inbound = inbound_at(context, inbound_row)
    sequence = meta[0].sequence_number
    inbound.packets += 1
    inbound.bytes += meta[0].length
    if inbound.started == 0:
        _start(inbound, sequence)
        advance = integer(1)
    else:
        advance = sequence_delta(sequence, inbound.highest_sequence & 0xFFFF)
        if advance > MAX_DROPOUT or advance < -MAX_DROPOUT:
            _start(inbound, sequence)
            advance = integer(1)
        elif advance > 0:
            inbound.highest_sequence += advance
    inbound.received += 1
    arrival = context.now_ns // 1000 * inbound.clock_rate // 1_000_000
    transit = (arrival - meta[0].timestamp) & 0xFFFFFFFF
    if inbound.received > 1:
        difference = (transit - inbound.transit_ticks) & 0xFFFFFFFF
        if difference > 0x7FFFFFFF:
            difference = 0x100000000 - difference
        inbound.jitter_16ths += difference - ((inbound.jitter_16ths + 8) >> 4)
    inbound.transit_ticks = transit
    return advance


@helper
def _start(inbound: Any, sequence: int) -> None:
    inbound.started = 1
    inbound.base_sequence = sequence
    inbound.highest_sequence = sequence
    inbound.received = 0
    inbound.received_before = 0
    inbound.expected_before = 0
    inbound.jitter_16ths = 0


@kernel
def take_fraction_lost(inbound: Any) -> int:
    """Fraction of packets lost since the last call, in 256ths (RFC 3550 A.3). Begins a new interval."""
    expected = inbound.highest_sequence - inbound.base_sequence + 1
    expected_interval = expected - inbound.expected_before
    received_interval = inbound.received - inbound.received_before
    inbound.expected_before = expected
    inbound.received_before = inbound.received
    lost = expected_interval - received_interval
    if expected_interval <= 0 or lost <= 0:
        return 0
    return min(integer(255), (lost << 8) // expected_interval)


@helper
def cumulative_lost(inbound: Any) -> int:
    """Packets lost since the stream began, clamped to 24 bits signed; negative when duplicates outnumber losses."""
    lost = inbound.highest_sequence - inbound.base_sequence + 1 - inbound.received
    return max(integer(-0x800000), min(integer(0x7FFFFF), lost))
