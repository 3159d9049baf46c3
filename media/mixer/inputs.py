"""What comes into a mix: packets from the taps, PCM from ports, and the frame each voice gives at a tick."""

from typing import Any

import numpy as np

from media.atomics import load_acquire, store_release
from media.audio.jitter import (
    FrameKind,
    JitterVerdict,
    insert_packet,
    play_frame,
    reset_jitter,
)
from media.audio.levels import frame_level_dbov
from media.audio.resample import resample
from media.audio.samples import FRAME_SAMPLES, read_int16
from media.audio.voice_activity import detect_voice
from media.codecs import OPUS
from media.jit import helper, integer, kernel
from media.memory import (
    TAP_DATA,
    TAP_META,
    bytes_at,
    floats_at,
    packets_at,
    record_at,
    shorts_at,
    words_at,
)
from media.mixer.arrays import (
    input_decoder,
    input_encoder,
    input_jitters,
    input_voices,
    resamplers_at,
)
from media.mixer.memory import (
    PCM_DATA,
    frame_of,
    input_at,
    mix_at,
    port_cursors,
    port_words,
    slot_place,
    tally,
)
from media.mixer.packets import REPORT_TICKS, encode_payload, send_clock, send_packet
from media.mixer.tables import (
    PCM,
    PCM_FRAME,
    PCM_SLOTS,
    PORT_CLEARED,
    PORT_GAIN,
    PORT_PLAYED,
    PORT_SEEN,
    PORT_STARVED,
    Tally,
)
from media.ring import release_slot
from media.tables import NO_LEVEL, NONE, RING_CURSOR_WORDS, RING_READ, RING_WRITTEN, TAP, TAP_PACKET

OPEN_DBOV = 60
"""Louder than this is heard: -60 dBov lies between the noise of a room and a voice far from its microphone."""

HOLD_TICKS = 25
"""A voice stays in the mix for half a second after it was last loud enough: word ends are quiet."""

PARK_DBOV = 65
PARK_PACKETS = 25
"""Packets in a row whose RFC 6464 level is below PARK_DBOV, after which they are not decoded until a louder one comes."""

STIR_TICKS = 60
IDLE_TICKS = 50
"""Ticks in a row without anything to play after which a jitter buffer is left alone until a packet comes."""

LIVE_FRAMES = 2
"""Frames of a live port that must be there before it plays: they come over a network, and not on time."""

FADE_SAMPLES = 240
"""5 ms: what a voice that is cleared takes to be silent."""

TAIL_TICKS = 25


@kernel
def take_tapped(context: Any, place: int) -> None:
    """Take one record from a worker."""
    record = record_at(TAP, place)
    if record.kind != TAP_PACKET or record.inbound < 0 or record.inbound >= context.input_capacity:
        return
    row = integer(record.inbound)
    voice = input_at(context, row)
    if voice.generation != record.generation:
        return  # closed while this was under way
    meta = packets_at(place + TAP_META)
    tally(context, Tally.PACKETS_IN, 1)
    if meta[0].codec != OPUS:
        tally(context, Tally.PACKETS_REFUSED, 1)
        return
    if _is_parked(voice, meta[0].level_dbov):
        tally(context, Tally.PACKETS_PARKED, 1)
        return
    jitters = input_jitters(context)
    if voice.stream != record.stream or voice.pauses != record.pauses or record.resumes != 0:
        voice.stream = record.stream
        voice.pauses = record.pauses
        reset_jitter(jitters, row)
    start = place + TAP_DATA + meta[0].header_length
    verdict = insert_packet(
        jitters,
        row,
        bytes_at(start, integer(meta[0].payload_length)),
        meta[0].sequence_number,
        meta[0].timestamp,
        meta[0].ssrc,
        meta[0].arrival_ns,
    )
    if verdict > JitterVerdict.RESTARTED:
        tally(context, Tally.PACKETS_REFUSED, 1)
    voice.idle_ticks = 0
    mix_at(context, voice.mix).stirred_ticks = STIR_TICKS
    context.stirring = 1


@helper
def _is_parked(voice: Any, level_dbov: int) -> bool:
    """Whether a packet is of a voice that has been quiet for long, by the level its sender gives it."""
    if level_dbov == NO_LEVEL or level_dbov < PARK_DBOV or voice.listeners != 0:
        voice.quiet_packets = 0
        if voice.parked != 0:
            voice.parked = 0
            voice.stream = 0  # what came meanwhile was left out: no loss
        return False
    voice.quiet_packets += 1
    if voice.quiet_packets > PARK_PACKETS:
        voice.parked = 1
    return voice.parked != 0


@helper
def is_due(context: Any, voice: Any) -> bool:
    """Whether a voice may give something at this tick."""
    if voice.open != 0 or voice.gain_to > 0 or voice.tail_ticks > 0:
        return True
    if voice.kind == PCM:
        cursors = words_at(port_cursors(context, voice.port), RING_CURSOR_WORDS)
        words = port_words(context, voice.port)
        return load_acquire(cursors, RING_WRITTEN) != cursors[RING_READ] or words[PORT_SEEN] != load_acquire(
            words, PORT_CLEARED
        )
    return voice.idle_ticks < IDLE_TICKS


@kernel
def hear_input(context: Any, row: int) -> None:
    """Fetch the frame of this tick, and decide whether it is in the mix."""
    voice = input_at(context, row)
    frame = frame_of(context, row)
    heard = _read_port(context, row) if voice.kind == PCM else _play(context, row)
    voice.level_dbov = frame_level_dbov(frame) if heard else integer(127)
    loud = voice.level_dbov < OPEN_DBOV
    if loud:
        voice.hold_ticks = HOLD_TICKS
    elif voice.hold_ticks > 0:
        voice.hold_ticks -= 1
    voice.open = voice.hold_ticks > 0
    voice.gain_from = voice.gain_to
    voice.gain_to = np.float32(1 if voice.open != 0 else 0)
    if loud and voice.gain_from == 0:
        voice.gain_from = np.float32(
            1
        )  # a word must not lose its beginning; what was there before was silence
    voice.sounds = voice.gain_from > 0
    voice.voiced = detect_voice(frame, input_voices(context), row) if heard else 0


@helper
def rest_input(voice: Any) -> None:
    """Nothing came of it at this tick."""
    voice.sounds = 0
    voice.voiced = 0
    voice.gap = 0
    voice.level_dbov = 127
    voice.gain_from = 0
    voice.gain_to = 0


@kernel
def _play(context: Any, row: int) -> bool:
    voice = input_at(context, row)
    frame = frame_of(context, row)
    kind = play_frame(
        input_jitters(context),
        row,
        input_decoder(context, row),
        context.decoder_template,
        context.decoder_size,
        context.now_ns,
        frame,
    )
    voice.gap = kind == FrameKind.CONCEALED
    if kind == FrameKind.SILENCE:
        voice.idle_ticks += 1
        return False
    voice.idle_ticks = 0
    if kind == FrameKind.DECODED:
        tally(context, Tally.FRAMES_DECODED, 1)
    elif kind == FrameKind.CONCEALED:
        tally(context, Tally.FRAMES_CONCEALED, 1)
    elif kind == FrameKind.RECOVERED:
        tally(context, Tally.FRAMES_RECOVERED, 1)
    return True


@kernel
def _read_port(context: Any, row: int) -> bool:
    """Take the next 20 ms of a port into the input's frame. Returns False, and silence, when there are none."""
    voice = input_at(context, row)
    frame = frame_of(context, row)
    words = port_words(context, voice.port)
    cursors = words_at(port_cursors(context, voice.port), RING_CURSOR_WORDS)
    written = load_acquire(cursors, RING_WRITTEN)
    read = cursors[RING_READ]
    cleared = load_acquire(words, PORT_CLEARED)
    if words[PORT_SEEN] != cleared:
        context.events_pending = 1
        fades = voice.sounds != 0 and read < min(cleared, written)
        if fades:
            _convert_slot(context, row, read)
            for index in range(FRAME_SAMPLES):
                frame[index] *= np.float32(max(0.0, 1.0 - index / FADE_SAMPLES))
        if cleared > read:
            store_release(cursors, RING_READ, min(cleared, written))
        store_release(words, PORT_SEEN, cleared)
        voice.waits = voice.live
        if fades:
            return True
        read = cursors[RING_READ]
    waiting = written - read
    if waiting == 0 or (voice.waits != 0 and waiting < LIVE_FRAMES):
        if voice.sounds != 0 and voice.waits == 0 and voice.hold_ticks == HOLD_TICKS:
            words[PORT_STARVED] += 1
        voice.waits = voice.live
        for index in range(FRAME_SAMPLES):
            frame[index] = 0
        return False
    voice.waits = 0
    _convert_slot(context, row, read)
    release_slot(port_cursors(context, voice.port))
    store_release(words, PORT_PLAYED, words[PORT_PLAYED] + 1)
    tally(context, Tally.PCM_FRAMES_IN, 1)
    context.events_pending = 1
    gain = np.float32(words[PORT_GAIN]) / np.float32(1000)
    if gain != 1 or voice.gain != 1:
        step = (gain - voice.gain) / np.float32(FRAME_SAMPLES)
        for index in range(FRAME_SAMPLES):
            frame[index] *= voice.gain + step * np.float32(index + 1)
        voice.gain = gain
    return True


@kernel
def _convert_slot(context: Any, row: int, position: int) -> None:
    voice = input_at(context, row)
    place = slot_place(context, voice.port, position & (PCM_SLOTS - 1))
    samples = integer(record_at(PCM_FRAME, place).samples)
    samples = max(integer(0), min(samples, integer(FRAME_SAMPLES)))
    decoded = floats_at(context.limited, FRAME_SAMPLES)
    read_int16(shorts_at(place + PCM_DATA, samples), decoded)
    frame = frame_of(context, row)
    written = resample(
        decoded[:samples], resamplers_at(context.input_resamplers, context.input_capacity), row, frame
    )
    for index in range(written, FRAME_SAMPLES):
        frame[index] = 0


@kernel
def publish_input(context: Any, row: int) -> None:
    """Send what a port plays as a packet of its track, for those who take the track and not the mix."""
    voice = input_at(context, row)
    if voice.worker == NONE:
        return
    begins = voice.tail_ticks == 0
    if voice.sounds != 0:
        voice.tail_ticks = TAIL_TICKS
    elif begins:
        return
    else:
        voice.tail_ticks -= 1
    length = encode_payload(context, input_encoder(context, row), frame_of(context, row))
    if length <= 0:
        return
    voice.sequence = (voice.sequence + 1) & 0xFFFF
    stream = voice.inbound_generation
    if begins or context.tick % REPORT_TICKS == 0:
        send_clock(context, voice.worker, voice.inbound, voice.inbound_generation, stream)
    send_packet(
        context,
        voice.worker,
        voice.inbound,
        voice.inbound_generation,
        stream,
        voice.sequence,
        integer(begins),
        voice.level_dbov,
        length,
    )
