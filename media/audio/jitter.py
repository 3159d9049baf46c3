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

from typing import Any, Final

import numpy as np

from media.audio.jitter_arrivals import insert_packet
from media.audio.jitter_table import (
    JITTER,
    JITTER_COUNTERS,
    MAX_PAYLOAD_BYTES,
    SLOTS,
    FrameKind,
    JitterVerdict,
    in_samples,
    new_jitter_buffers,
    remove_first,
    reset_jitter,
)
from media.audio.opus import (
    FRAME_SAMPLES,
    conceal_samples,
    decode_frame,
    has_fec,
    recover_samples,
    reset_codec,
    samples_per_frame,
)
from media.audio.stretch import LONGEST_SPLICE, lengthen, shorten
from media.jit import helper, integer, kernel

__all__ = [
    "JITTER",
    "JITTER_COUNTERS",
    "MAX_PAYLOAD_BYTES",
    "FrameKind",
    "JitterVerdict",
    "insert_packet",
    "new_jitter_buffers",
    "play_frame",
    "reset_jitter",
]

Samples = np.ndarray[Any, np.dtype[np.float32]]

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

RATE_MEMORY: Final = 0.02  # weight of a packet in the rates of losses and of FEC
WAIT_FOR_FEC_FROM: Final = 0.03  # loss rates
WAIT_FOR_FEC_UNTIL: Final = 0.01
MUCH_FEC: Final = 0.3  # share of packets; encoders leave it out where there is nothing to hear
LITTLE_FEC: Final = 0.1


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

    Cost: 1.5 us beside what libopus takes to decode (30 to 50 us).
    """
    buffer = jitters[row]
    now = in_samples(now_ns)
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
    buffer.next_sequence = buffer.sequence[first]
    while buffer.count > 1 and behind > BACKLOG_SAMPLES:
        remove_first(buffer)
        buffer.skipped += 1
        first = buffer.order[0]
        buffer.lost += buffer.sequence[first] - buffer.next_sequence - 1
        buffer.next_sequence = buffer.sequence[first]
        behind -= buffer.timestamp[first] - buffer.end
        buffer.end = buffer.timestamp[first]
    if behind <= -room:
        return
    if behind < 0:
        _append_silence(buffer, -behind)
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
    remove_first(buffer)
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
        _silence(buffer, samples)
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
    _silence(buffer, samples)
    buffer.pcm_count += samples
    buffer.gain = 0.0


@helper
def _silence(buffer: Any, samples: int) -> None:
    for index in range(buffer.pcm_count, buffer.pcm_count + samples):
        buffer.pcm[index] = 0


@helper
def _fade_out(buffer: Any, decoder_address: int) -> None:
    """Let what is heard end within 10 ms, without a click."""
    if buffer.gain > 0.0:
        room = buffer.pcm[buffer.pcm_count :]
        if conceal_samples(decoder_address, room, CONCEAL_SAMPLES) != CONCEAL_SAMPLES:
            _silence(buffer, CONCEAL_SAMPLES)
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
    for index in range(count):
        output[index] = buffer.pcm[index]
    for index in range(count, FRAME_SAMPLES):
        output[index] = 0
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
