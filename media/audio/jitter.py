"""An adaptive jitter buffer for Opus: packets go in as they arrive, 20 ms of sound come out at every tick of a mixer.

Sans-IO, one row of a table per stream, no clock inside. Packets are kept as they came and decoded when their sound is due.

**Delay.** Each arrival says how late a packet was: its time of arrival minus its timestamp, both in samples. Of the last
`WINDOW` of these the largest, after the few largest of all are left out, says when a packet is surely there; a packet is due
that long after its timestamp, plus one tick (`FRAME_SAMPLES`: a packet waits for the next tick) and a margin. This gives for
every moment the timestamp that should be playing, and no clock drift or change of route escapes it, as only arrivals in the
window count. Packets that come in one burst count as one, so that a single stall is an outlier, and many are a reason to wait.

**Getting there.** While something plays, 2.5 to 10 ms are spliced out or in (`media.audio.stretch`) until the right timestamp
plays. When the next packet is not there, its place is concealed and the timestamp stands still, so that what comes late is
still heard. What turns out to be lost is then subtracted. After `FADE_END_SAMPLES` of nothing, or where a sender stops in
silence (DTX), the stream is idle; with the next packet it begins again at the right timestamp, without the part of a backlog
that is older than `BACKLOG_SAMPLES`.

**Loss.** A hole is filled from the in-band FEC of the packet behind it if that is there, else concealed. When losses are
frequent and packets carry FEC, one packet more is waited for, so that it is there.

Timestamps and sequence numbers are extended to int64. Times are samples of 48 kHz. The rows belong to one thread.
"""

from enum import IntEnum
from typing import Any, Final

import numpy as np

from media.audio.opus import (
    FRAME_SAMPLES,
    conceal_samples,
    decode_frame,
    has_fec,
    packet_samples,
    recover_samples,
    reset_codec,
    samples_per_frame,
)
from media.audio.stretch import LONGEST_SPLICE, lengthen, shorten
from media.jit import helper, integer, kernel

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Samples = np.ndarray[Any, np.dtype[np.float32]]

SLOTS: Final = 64  # packets that can wait: 1.28 s of 20 ms packets
MAX_PAYLOAD_BYTES: Final = (
    1276  # a longest frame; packets of several frames are as long only above 170 kbit/s
)
PCM_SAMPLES: Final = 7680  # a longest packet behind a frame and two splices

WINDOW: Final = 256  # arrivals that say how late packets are: 5 s of 20 ms packets
OUTLIERS: Final = 4  # of a full window, the arrivals that need not be waited for: 1.6 %
MARGIN_SAMPLES: Final = 120  # 2.5 ms
MAX_DELAY_SAMPLES: Final = 19_200  # 400 ms; no packet is waited for longer
SHORTEN_FROM_SAMPLES: Final = 240  # 5 ms more than wanted
LENGTHEN_FROM_SAMPLES: Final = 96  # 2 ms less than wanted
JUMP_SAMPLES: Final = 24_000  # 500 ms off: no splice mends that, begin again
BACKLOG_SAMPLES: Final = 4800  # 100 ms: more of what came too late is not played
SPLICE_REST_TICKS: Final = 2  # ticks between two splices
FAR_OFF_SAMPLES: Final = 1920  # 40 ms off: a splice every other tick
SIMILARITY: Final = 0.9  # of the two sides of a splice
SIMILARITY_DROP: Final = 0.01  # what is conceded with each tick that a splice is due

FADE_FROM_SAMPLES: Final = 1920  # concealed sound is heard in full for 40 ms
FADE_END_SAMPLES: Final = 4800  # and not at all after 100 ms
FADE_IN_SAMPLES: Final = 240  # 5 ms
CONCEAL_SAMPLES: Final = 480  # at once, where it is open how long: SILK conceals in steps of 10 ms
SHORTEST_FRAME: Final = 120  # 2.5 ms: libopus conceals multiples of it

DTX_BYTES: Final = 2  # a payload up to this long says only that there is nothing to hear
REMEMBERED: Final = 62  # sequence numbers of which it is known whether they have arrived
MAX_SEQUENCE_JUMP: Final = 1000  # either way; more is a sender that started afresh
MAX_TIME_JUMP_SAMPLES: Final = 48_000  # by which an arrival may differ from all of the window
MAX_LATE_IN_ROW: Final = 25  # too late, one after the other: these are not late, this is another numbering

RATE_MEMORY: Final = 0.02  # weight of a packet in the rates of losses and of FEC
WAIT_FOR_FEC_FROM: Final = 0.03  # loss rates
WAIT_FOR_FEC_UNTIL: Final = 0.01
MUCH_FEC: Final = 0.3  # share of packets; encoders leave it out where there is nothing to hear
LITTLE_FEC: Final = 0.1


class JitterVerdict(IntEnum):
    """What `insert_packet` did with a packet."""

    STORED = 0
    RESTARTED = 1  # stored, as the first of another stream: SSRC, numbering or timestamps jumped
    DUPLICATE = 2
    LATE = 3  # its place has been played, or it is REMEMBERED or more behind
    TOO_BIG = 4  # more than MAX_PAYLOAD_BYTES
    MALFORMED = 5  # no Opus packet (RFC 6716 section 3.4)


class FrameKind(IntEnum):
    """What `play_frame` put out; of several the worst."""

    SILENCE = 0  # all zeros: nothing came yet, the stream is idle, or it says that it is silent
    DECODED = 1
    RECOVERED = 2  # in part from forward error correction
    CONCEALED = 3  # in part made up


JITTER = np.dtype(
    [
        ("started", "i8"),  # 0: no packet yet
        ("ssrc", "i8"),
        ("playing", "i8"),  # 0: idle; `end` says nothing then
        ("ending", "i8"),  # 1: another stream begins, what plays has to be faded out first
        ("decoder_ready", "i8"),
        ("highest_sequence", "i8"),  # extended, and the timestamp of that packet
        ("highest_timestamp", "i8"),
        ("arrived", "i8"),  # bit n: the packet n before the highest one has arrived
        ("next_sequence", "i8"),  # of the packet to be decoded next; -1 before the first
        ("late_in_row", "i8"),
        ("packet_samples", "i8"),  # duration of the packet received last
        # Sound on its way out.
        ("end", "i8"),  # timestamp behind the last sample of `pcm`
        ("pcm_count", "i8"),  # samples of `pcm` in use
        ("audible", "i8"),  # behind these they are zeros
        ("debt", "i8"),  # samples concealed while `end` stood still, as nothing had come
        ("run", "i8"),  # samples since the last sound that a packet brought
        ("gain", "f8"),  # of the last sample in `pcm`
        ("dtx", "i8"),  # the packet decoded last said that there is nothing to hear
        ("kind", "i8"),  # FrameKind of what was added to `pcm` last
        ("splice_rest", "i8"),  # ticks until the next splice
        ("splice_wait", "i8"),  # ticks that one has been due
        # How late packets are.
        ("arrivals", "i8"),  # counted, a burst as one
        ("last_arrival", "i8"),
        ("earliest", "i8"),  # of `lateness`
        ("latest", "i8"),
        ("due", "i8"),  # likewise, without the outliers: when packets are surely there
        ("lateness", "i8", (WINDOW,)),  # time of arrival minus timestamp
        ("top", "i8", (OUTLIERS + 1,)),  # scratch: the largest ones
        ("loss_rate", "f8"),
        ("fec_rate", "f8"),  # share of packets that carry FEC, lately
        ("wait_for_fec", "i8"),
        # Packets, in order: order[:count] are their slots, order[count:] the free ones.
        ("count", "i8"),
        ("order", "u1", (SLOTS,)),
        ("sequence", "i8", (SLOTS,)),
        ("timestamp", "i8", (SLOTS,)),
        ("samples", "i8", (SLOTS,)),
        ("length", "i8", (SLOTS,)),
        # For others to read.
        ("target_samples", "i8"),  # the delay wanted, from the arrival of the fastest packets on
        ("delay_samples", "i8"),  # the delay at the last tick
        ("received", "i8"),  # packets, whatever the verdict
        ("duplicates", "i8"),
        ("late", "i8"),
        ("malformed", "i8"),
        ("too_big", "i8"),
        ("overflowed", "i8"),  # oldest packets that made room for newer ones
        ("skipped", "i8"),  # packets of a backlog that were not played
        ("undecodable", "i8"),
        ("lost", "i8"),  # packets that were not there when due; also those that come later
        ("recovered", "i8"),  # packets of these that FEC brought back
        ("concealed_samples", "i8"),
        ("shortened_samples", "i8"),
        ("lengthened_samples", "i8"),
        ("restarts", "i8"),
        ("payload", "u1", (SLOTS, MAX_PAYLOAD_BYTES)),
        ("pcm", "f4", (PCM_SAMPLES,)),
    ],
    align=True,
)
"""One stream. 117 KB, of which few are touched: the slots used last are used again first."""

JITTER_COUNTERS: Final = (
    "received",
    "duplicates",
    "late",
    "malformed",
    "too_big",
    "overflowed",
    "skipped",
    "undecodable",
    "lost",
    "recovered",
    "concealed_samples",
    "shortened_samples",
    "lengthened_samples",
    "restarts",
)
"""Fields that only grow, until `reset_jitter`."""


def new_jitter_buffers(count: int) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return JITTER [count], ready for use: memory that the system gives when it is first touched."""
    return np.zeros(count, JITTER)


@kernel
def reset_jitter(jitters: Any, row: int) -> None:
    """Make a row as new, counters too. Its next stream begins with a decoder that has seen nothing."""
    buffer = jitters[row]
    buffer.started = 0
    buffer.playing = 0
    buffer.ending = 0
    buffer.decoder_ready = 0
    buffer.count = 0
    buffer.pcm_count = 0
    buffer.audible = 0
    buffer.gain = 0.0
    buffer.splice_rest = 0
    buffer.splice_wait = 0
    buffer.target_samples = 0
    buffer.delay_samples = 0
    buffer.received = 0
    buffer.duplicates = 0
    buffer.late = 0
    buffer.malformed = 0
    buffer.too_big = 0
    buffer.overflowed = 0
    buffer.skipped = 0
    buffer.undecodable = 0
    buffer.lost = 0
    buffer.recovered = 0
    buffer.concealed_samples = 0
    buffer.shortened_samples = 0
    buffer.lengthened_samples = 0
    buffer.restarts = 0


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
    arrival = _in_samples(arrival_ns)
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
        if buffer.started == 1:
            buffer.restarts += 1
            verdict = integer(JitterVerdict.RESTARTED)
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


@kernel
def play_frame(
    jitters: Any,
    row: int,
    decoder_address: int,
    template_address: int,
    decoder_size: int,
    now_ns: int,
    output: Samples,
) -> int:
    """Put out the next 20 ms.

    Shapes: jitters JITTER [n], output float32 [960].

    Units: now_ns is when this tick was due, not when the caller got round to it. The decoder is copied from the template by
    this function when a stream begins.

    Returns: FrameKind. SILENCE says that `output` is all zeros.

    Cost: 1 us and what libopus takes to decode.
    """
    buffer = jitters[row]
    now = _in_samples(now_ns)
    if buffer.ending == 1:
        _fade_out(buffer, decoder_address)
        buffer.ending = 0
    if buffer.decoder_ready == 0 and buffer.started == 1:
        reset_codec(decoder_address, template_address, decoder_size)
        buffer.decoder_ready = 1
    if buffer.playing == 1 and buffer.debt == 0 and abs(_samples_behind(buffer, now)) > JUMP_SAMPLES:
        _fade_out(buffer, decoder_address)
        buffer.playing = 0
    if buffer.playing == 0 and buffer.count > 0:
        _start_playing(buffer, now)
    if buffer.playing == 1:
        _fill(buffer, decoder_address, FRAME_SAMPLES, 0)
    if buffer.playing == 1 and buffer.debt == 0:
        _approach_target(buffer, decoder_address, now)
        buffer.delay_samples = now - (buffer.end - buffer.pcm_count) - buffer.earliest
    return _put_out(buffer, output)


@helper
def _in_samples(time_ns: int) -> int:
    return integer(time_ns) // 1000 * 48 // 1000


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
        _remove_first(buffer)
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
    buffer.payload[slot, : payload.size] = payload
    buffer.count = count + 1


@helper
def _remove_first(buffer: Any) -> None:
    slot = buffer.order[0]
    last = buffer.count - 1
    for index in range(last):
        buffer.order[index] = buffer.order[index + 1]
    buffer.order[last] = slot
    buffer.count = last


@helper
def _samples_behind(buffer: Any, now: int) -> int:
    """By how much what plays is later than it should be; the delay wanted is left in `target_samples`."""
    extra = buffer.packet_samples if buffer.wait_for_fec == 1 else 0
    # No more can be waited for than there is room for packets.
    most = min(MAX_DELAY_SAMPLES, buffer.packet_samples * (SLOTS - 8))
    spread = buffer.due - buffer.earliest + FRAME_SAMPLES + MARGIN_SAMPLES + extra
    buffer.target_samples = max(min(spread, most), FRAME_SAMPLES + MARGIN_SAMPLES)
    return now - buffer.earliest - buffer.target_samples - (buffer.end - buffer.pcm_count)


@helper
def _start_playing(buffer: Any, now: int) -> None:
    """Leave idleness, if the first packet is due in this frame."""
    room = FRAME_SAMPLES - buffer.pcm_count
    if room <= 0:
        return
    first = buffer.order[0]
    buffer.end = buffer.timestamp[first]
    behind = _samples_behind(buffer, now)
    if behind <= -room:
        return
    if buffer.next_sequence >= 0:
        buffer.lost += buffer.sequence[first] - buffer.next_sequence
    while buffer.count > 1 and behind > BACKLOG_SAMPLES:
        _remove_first(buffer)
        buffer.skipped += 1
        following = buffer.timestamp[buffer.order[0]]
        behind -= following - buffer.end
        buffer.end = following
    if behind < 0:
        _append_silence(buffer, -behind)
    buffer.next_sequence = buffer.sequence[buffer.order[0]]
    buffer.playing = 1
    buffer.debt = 0
    buffer.run = 0
    buffer.splice_wait = 0


@kernel
def _fill(buffer: Any, decoder_address: int, needed: int, ahead: int) -> None:
    """Bring `pcm` to at least `needed` samples, or stop playing. `ahead`: only with packets that follow without a hole."""
    while buffer.pcm_count < needed:
        if buffer.count == 0:
            if ahead == 1:
                return
            if buffer.dtx == 1:
                _fade_out(buffer, decoder_address)
                buffer.playing = 0
                return
            if buffer.run >= FADE_END_SAMPLES:
                buffer.playing = 0
                return
            steps = (needed - buffer.pcm_count + CONCEAL_SAMPLES - 1) // CONCEAL_SAMPLES
            _append_concealment(buffer, decoder_address, steps * CONCEAL_SAMPLES)
            buffer.debt += steps * CONCEAL_SAMPLES
            continue
        first = buffer.order[0]
        hole = buffer.timestamp[first] - buffer.end
        if buffer.debt > 0:
            covered = min(buffer.debt, max(hole, 0))
            buffer.end += covered
            hole -= covered
            buffer.debt = 0
        if hole > 0:
            if ahead == 1:
                return
            if not _fill_hole(buffer, decoder_address, first, hole):
                buffer.playing = 0
                return
            continue
        _append_packet(buffer, decoder_address, first)


@kernel
def _fill_hole(buffer: Any, decoder_address: int, first: int, hole: int) -> bool:
    """Fill some of the samples missing before a packet. Returns: False if it is better to be idle until it is due."""
    frame = samples_per_frame(buffer.payload[first, 0])
    if buffer.sequence[first] == buffer.next_sequence:
        # Nothing is lost: the sender had nothing to send.
        if hole > FRAME_SAMPLES:
            _fade_out(buffer, decoder_address)
            return False
    elif buffer.run >= FADE_END_SAMPLES:
        return False
    elif hole <= frame and has_fec(buffer.payload[first, : buffer.length[first]]):
        if hole == frame:
            payload = buffer.payload[first, : buffer.length[first]]
            if recover_samples(decoder_address, payload, buffer.pcm[buffer.pcm_count :], frame) == frame:
                buffer.recovered += 1
                _append_sound(buffer, frame, FrameKind.RECOVERED)
                buffer.end += frame
                return True
    elif hole > frame and has_fec(buffer.payload[first, : buffer.length[first]]):
        hole -= frame
    samples = min(hole, FRAME_SAMPLES)
    _append_concealment(buffer, decoder_address, samples)
    buffer.end += samples
    return True


@kernel
def _append_packet(buffer: Any, decoder_address: int, first: int) -> None:
    """Decode the first packet, behind what `pcm` holds."""
    samples = buffer.samples[first]
    missing = buffer.sequence[first] - buffer.next_sequence
    buffer.lost += missing
    buffer.loss_rate += RATE_MEMORY * ((1.0 if missing > 0 else 0.0) - buffer.loss_rate)
    carries_fec = has_fec(buffer.payload[first, : buffer.length[first]])
    buffer.fec_rate += RATE_MEMORY * ((1.0 if carries_fec else 0.0) - buffer.fec_rate)
    if buffer.loss_rate > WAIT_FOR_FEC_FROM and buffer.fec_rate > MUCH_FEC:
        buffer.wait_for_fec = 1
    elif buffer.loss_rate < WAIT_FOR_FEC_UNTIL or buffer.fec_rate < LITTLE_FEC:
        buffer.wait_for_fec = 0
    buffer.next_sequence = buffer.sequence[first] + 1
    buffer.end = buffer.timestamp[first] + samples
    length = buffer.length[first]
    _remove_first(buffer)
    buffer.dtx = 1 if length <= DTX_BYTES else 0
    if buffer.dtx == 1 and buffer.run >= FADE_END_SAMPLES:
        _append_silence(buffer, samples)
        return
    payload = buffer.payload[first, :length]
    if decode_frame(decoder_address, payload, buffer.pcm[buffer.pcm_count :]) != samples:
        buffer.undecodable += 1
        while samples > 0:
            _append_concealment(buffer, decoder_address, min(samples, FRAME_SAMPLES))
            samples -= FRAME_SAMPLES
    elif buffer.dtx == 1:  # comfort noise, for a while
        _append_fading(buffer, samples, FrameKind.DECODED)
    else:
        _append_sound(buffer, samples, FrameKind.DECODED)


@helper
def _append_concealment(buffer: Any, decoder_address: int, samples: int) -> None:
    """Append up to 20 ms that continue what was heard last, fading."""
    asked = (samples + SHORTEST_FRAME - 1) // SHORTEST_FRAME * SHORTEST_FRAME
    if conceal_samples(decoder_address, buffer.pcm[buffer.pcm_count :], asked) != asked:
        buffer.pcm[buffer.pcm_count : buffer.pcm_count + samples] = 0
    buffer.concealed_samples += samples
    _append_fading(buffer, samples, FrameKind.CONCEALED)


@helper
def _append_fading(buffer: Any, samples: int, kind: int) -> None:
    """Take over samples that libopus has written, for a sound that must end unless there is news of it."""
    buffer.run += samples
    over = buffer.run - FADE_FROM_SAMPLES
    gain = 1.0 - max(over, 0) / (FADE_END_SAMPLES - FADE_FROM_SAMPLES)
    _append_ramp(buffer, samples, samples, min(buffer.gain, max(gain, 0.0)), kind)


@helper
def _append_sound(buffer: Any, samples: int, kind: int) -> None:
    """Take over samples that libopus has written."""
    buffer.run = 0
    _append_ramp(buffer, samples, min(samples, FADE_IN_SAMPLES), 1.0, kind)


@kernel
def _append_ramp(buffer: Any, samples: int, ramp: int, gain: float, kind: int) -> None:
    if buffer.gain != 1.0 or gain != 1.0:
        step = (gain - buffer.gain) / ramp
        for index in range(samples):
            factor = buffer.gain + step * (index + 1) if index < ramp else gain
            buffer.pcm[buffer.pcm_count + index] *= factor
        buffer.gain = gain
    buffer.pcm_count += samples
    buffer.audible = buffer.pcm_count
    buffer.kind = max(buffer.kind, integer(kind))


@helper
def _append_silence(buffer: Any, samples: int) -> None:
    for index in range(buffer.pcm_count, buffer.pcm_count + samples):
        buffer.pcm[index] = 0
    buffer.pcm_count += samples
    buffer.gain = 0.0


@helper
def _fade_out(buffer: Any, decoder_address: int) -> None:
    """Let what is heard end within 10 ms, without a click."""
    if buffer.gain > 0.0:
        place = buffer.pcm_count
        if conceal_samples(decoder_address, buffer.pcm[place:], CONCEAL_SAMPLES) != CONCEAL_SAMPLES:
            buffer.pcm[place : place + CONCEAL_SAMPLES] = 0
        _append_ramp(buffer, CONCEAL_SAMPLES, CONCEAL_SAMPLES, 0.0, FrameKind.SILENCE)


@kernel
def _approach_target(buffer: Any, decoder_address: int, now: int) -> None:
    """Splice a little out or in, if what plays is not where it should be."""
    behind = _samples_behind(buffer, now)
    if -LENGTHEN_FROM_SAMPLES <= behind <= SHORTEN_FROM_SAMPLES:
        buffer.splice_wait = 0
        return
    buffer.splice_wait += 1
    if buffer.splice_rest > 0:
        buffer.splice_rest -= 1
        return
    similarity = SIMILARITY - SIMILARITY_DROP * buffer.splice_wait
    if behind > 0:
        longest = min(behind, LONGEST_SPLICE)
        _fill(buffer, decoder_address, FRAME_SAMPLES + longest, 1)
        longest = min(longest, buffer.pcm_count - FRAME_SAMPLES)
        spliced = shorten(buffer.pcm, buffer.pcm_count, longest, similarity)
        buffer.pcm_count -= spliced
        buffer.shortened_samples += spliced
        buffer.audible = min(buffer.audible, buffer.pcm_count)
    else:
        # Not so far that it would have to come back.
        longest = min(SHORTEN_FROM_SAMPLES - behind, LONGEST_SPLICE)
        spliced = lengthen(buffer.pcm, buffer.pcm_count, longest, similarity)
        buffer.pcm_count += spliced
        buffer.lengthened_samples += spliced
        if buffer.audible > 0:
            buffer.audible += spliced
    if spliced > 0:
        buffer.splice_wait = 0
        buffer.splice_rest = 1 if abs(behind) > FAR_OFF_SAMPLES else SPLICE_REST_TICKS


@helper
def _put_out(buffer: Any, output: Samples) -> int:
    count = min(buffer.pcm_count, FRAME_SAMPLES)
    output[:count] = buffer.pcm[:count]
    output[count:FRAME_SAMPLES] = 0
    rest = buffer.pcm_count - count
    for index in range(rest):
        buffer.pcm[index] = buffer.pcm[index + count]
    buffer.pcm_count = rest
    audible = buffer.audible
    buffer.audible = max(audible - count, 0)
    kind = buffer.kind
    buffer.kind = 0
    if audible <= 0:
        return integer(FrameKind.SILENCE)
    return max(kind, integer(FrameKind.DECODED))
