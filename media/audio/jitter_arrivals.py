"""The way into a jitter buffer: which stream a packet is of, whether it comes in time, and what that says of the network."""

from typing import Any, Final

import numpy as np

from media.audio.jitter_table import (
    MAX_PAYLOAD_BYTES,
    OUTLIERS,
    SLOTS,
    WINDOW,
    JitterVerdict,
    in_samples,
    remove_first,
)
from media.audio.opus import packet_samples
from media.jit import helper, integer, kernel

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

REMEMBERED: Final = 62  # sequence numbers of which it is known whether they have arrived
MAX_SEQUENCE_JUMP: Final = 1000  # either way; more is a sender that started afresh
MAX_TIME_JUMP_SAMPLES: Final = 48_000  # by which an arrival may differ from all of the window
STRAGGLERS_SAMPLES: Final = (
    24_000  # 500 ms, in which packets of the SSRC before the last change are no change
)
MAX_LATE_IN_ROW: Final = 25  # too late, one after the other: these are not late, this is another numbering


@kernel
def insert_packet(
    jitters: Any,
    row: int,
    payload: Bytes,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    arrival_ns: int,
) -> int:
    """Take a packet as it arrived.

    Shapes: jitters JITTER [n], payload uint8 [n], copied.

    Units: timestamp of a 48 kHz clock (RFC 7587); arrival_ns of the clock of `play_frame`, the packet's own time of arrival
    rather than that of its batch.

    Verdicts: JitterVerdict.
    """
    buffer = jitters[row]
    buffer.received += 1
    if payload.size > MAX_PAYLOAD_BYTES:
        buffer.too_big += 1
        return integer(JitterVerdict.TOO_BIG)
    samples = packet_samples(payload)
    if samples < 0:
        buffer.malformed += 1
        return integer(JitterVerdict.MALFORMED)
    ssrc = integer(ssrc) & 0xFFFFFFFF
    number = integer(sequence_number) & 0xFFFF
    stamp = integer(timestamp) & 0xFFFFFFFF
    arrival = in_samples(arrival_ns)
    if buffer.started == 1 and ssrc == buffer.previous_ssrc and arrival - buffer.changed < STRAGGLERS_SAMPLES:
        buffer.late += 1
        return integer(JitterVerdict.LATE)
    sequence = buffer.highest_sequence + _signed(number - buffer.highest_sequence, 16)
    extended = buffer.highest_timestamp + _signed(stamp - buffer.highest_timestamp, 32)
    lateness = arrival - extended
    plausible = (
        lateness <= buffer.latest + MAX_TIME_JUMP_SAMPLES
        and lateness >= buffer.earliest - MAX_TIME_JUMP_SAMPLES
    )
    ahead = sequence - buffer.highest_sequence
    late = sequence < _oldest(buffer) or (ahead <= 0 and not plausible)
    verdict = integer(JitterVerdict.STORED)
    if (
        buffer.started == 0
        or ssrc != buffer.ssrc
        or abs(ahead) > MAX_SEQUENCE_JUMP
        or (ahead > 0 and not plausible)
        or (late and buffer.late_in_row >= MAX_LATE_IN_ROW)
    ):
        buffer.previous_ssrc = -1
        if buffer.started == 1:
            buffer.restarts += 1
            verdict = integer(JitterVerdict.RESTARTED)
            if ssrc != buffer.ssrc:
                buffer.previous_ssrc = buffer.ssrc
                buffer.changed = arrival
        # Extended numbers begin above zero, so that what comes before the first packet has one, too.
        sequence = number + 0x10000
        extended = stamp + 0x100000000
        lateness = arrival - extended
        late = False
        plausible = True
        _begin_stream(buffer, ssrc, sequence, extended)
    if not _is_new(buffer, sequence, extended):
        buffer.duplicates += 1
        return integer(JitterVerdict.DUPLICATE)
    buffer.packet_samples = samples
    if plausible:
        _record_arrival(buffer, lateness, arrival, samples)
    if late:
        buffer.late += 1
        buffer.late_in_row += 1
        return integer(JitterVerdict.LATE)
    buffer.late_in_row = 0
    _store(buffer, payload, sequence, extended, samples)
    return verdict


@helper
def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((integer(difference) + half) & ((1 << bits) - 1)) - half


@helper
def _begin_stream(buffer: Any, ssrc: int, sequence: int, timestamp: int) -> None:
    buffer.ending = 1 if buffer.playing == 1 or buffer.ending == 1 else 0
    buffer.started = 1
    buffer.ssrc = ssrc
    buffer.playing = 0
    buffer.decoder_ready = 0
    buffer.highest_sequence = sequence
    buffer.highest_timestamp = timestamp
    buffer.next_sequence = -1
    buffer.late_in_row = 0
    buffer.debt = 0
    buffer.dtx = 0
    buffer.arrivals = 0
    buffer.loss_rate = 0.0
    buffer.fec_rate = 0.0
    buffer.wait_for_fec = 0
    buffer.arrived = 0
    buffer.count = 0
    for slot in range(SLOTS):
        buffer.order[slot] = slot


@helper
def _oldest(buffer: Any) -> int:
    """The first sequence number that is not too late. One that is not remembered might be a copy of one that waits."""
    return max(buffer.next_sequence, buffer.highest_sequence - REMEMBERED + 1)


@helper
def _is_new(buffer: Any, sequence: int, timestamp: int) -> bool:
    """Note that a packet has arrived. Returns: False if it had before; of what is older than all that is known, True."""
    ahead = sequence - buffer.highest_sequence
    if ahead > 0:
        known = (1 << REMEMBERED) - 1
        buffer.arrived = (buffer.arrived << ahead) & known if ahead < REMEMBERED else 0
        buffer.highest_sequence = sequence
        buffer.highest_timestamp = timestamp
        ahead = 0
    if -ahead >= REMEMBERED:
        return True
    if (buffer.arrived >> -ahead) & 1 == 1:
        return False
    buffer.arrived |= 1 << -ahead
    return True


@helper
def _record_arrival(buffer: Any, lateness: int, arrival: int, samples: int) -> None:
    lateness = integer(lateness)
    burst = buffer.arrivals > 0 and arrival - buffer.last_arrival < samples // 4
    buffer.last_arrival = arrival
    if not burst:
        buffer.lateness[buffer.arrivals % WINDOW] = lateness
        buffer.arrivals += 1
    else:
        place = (buffer.arrivals - 1) % WINDOW
        # The burst behind a stall ends with what is on time; when nothing else is known, that counts.
        if buffer.arrivals == 1:
            buffer.lateness[place] = min(buffer.lateness[place], lateness)
        else:
            buffer.lateness[place] = max(buffer.lateness[place], lateness)
    if buffer.arrivals < 32 or buffer.arrivals & 3 == 0:
        _measure_lateness(buffer)


@kernel
def _measure_lateness(buffer: Any) -> None:
    known = min(buffer.arrivals, WINDOW)
    wanted = OUTLIERS * known // WINDOW + 1
    earliest = buffer.lateness[0]
    for index in range(wanted):
        buffer.top[index] = buffer.lateness[0] if index == 0 else -(1 << 62)
    for index in range(1, known):
        value = buffer.lateness[index]
        earliest = min(earliest, value)
        place = wanted - 1
        if value > buffer.top[place]:
            while place > 0 and buffer.top[place - 1] < value:
                buffer.top[place] = buffer.top[place - 1]
                place -= 1
            buffer.top[place] = value
    buffer.earliest = earliest
    buffer.latest = buffer.top[0]
    buffer.due = buffer.top[wanted - 1]


@helper
def _store(buffer: Any, payload: Bytes, sequence: int, timestamp: int, samples: int) -> None:
    """Put a packet in its place."""
    count = buffer.count
    place = count
    while place > 0 and buffer.sequence[buffer.order[place - 1]] > sequence:
        place -= 1
    if count == SLOTS:
        # At least one is older than this one: REMEMBERED is less than SLOTS.
        buffer.overflowed += 1
        remove_first(buffer)
        count -= 1
        place -= 1
    slot = buffer.order[count]
    for index in range(count, place, -1):
        buffer.order[index] = buffer.order[index - 1]
    buffer.order[place] = slot
    buffer.sequence[slot] = sequence
    buffer.timestamp[slot] = timestamp
    buffer.samples[slot] = samples
    buffer.length[slot] = payload.size
    # Slices would be compiled together with the text of an error about shapes, for seconds.
    for index in range(payload.size):
        buffer.payload[slot, index] = payload[index]
    buffer.count = count + 1
