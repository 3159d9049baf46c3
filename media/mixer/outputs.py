"""What comes out of a mix: one stream for all who say nothing, one for each who speaks, and PCM for ports.

Two listeners who hear the same get the same packets, from one encoder. A participant who is heard in the mix gets one of
its own, without its own voice, from an encoder that takes over the state of the shared one: the decoder at the other
end does not notice.
"""

from typing import Any

from media.atomics import load_acquire
from media.audio.levels import frame_level_dbov
from media.audio.mix import add_with_gain, limit_frame, mix_minus
from media.audio.opus import reset_codec
from media.audio.resample import resample
from media.audio.samples import FRAME_SAMPLES, write_int16
from media.jit import helper, integer, kernel
from media.memory import floats_at, record_at, shorts_at, words_at
from media.mixer.arrays import (
    copy_limiter,
    limiters_at,
    mix_encoder,
    output_encoder,
    resamplers_at,
)
from media.mixer.memory import (
    FRAME_BYTES,
    PCM_DATA,
    frame_of,
    input_at,
    mix_at,
    mixed_of,
    output_at,
    port_cursors,
    port_words,
    slot_place,
    tally,
)
from media.mixer.packets import REPORT_TICKS, encode_payload, send_clock, send_packet, send_switch
from media.mixer.tables import (
    MAX_OWN_INPUTS,
    MAX_WHISPERS,
    PCM,
    PCM_FRAME,
    PCM_SLOTS,
    PORT_DROPPED,
    Tally,
)
from media.native import memcpy
from media.ring import publish_slot
from media.tables import NO_LEVEL, NONE, RING_CURSOR_WORDS, RING_READ, RING_WRITTEN


@kernel
def settle_outputs(context: Any, mix_row: int) -> None:
    """Let each listener take the shared stream or one of its own, by who is heard at this tick."""
    mix = mix_at(context, mix_row)
    row = integer(mix.first_output)
    while row != NONE:
        output = output_at(context, row)
        wanted = _is_personal(context, output)
        if output.kind == PCM:
            if wanted and output.personal == 0:
                _take_limiter(context, output, row, mix_row)
            output.personal = wanted
        elif wanted and output.personal == 0:
            _leave_shared(context, mix, mix_row, output, row)
        elif not wanted and output.personal != 0:
            _join_shared(context, mix, mix_row, output, row)
        output.fresh = 0
        row = integer(output.next_of_mix)
    if mix.shared_outputs == 0:
        mix.encodes = 0
    elif mix.encodes == 0:
        reset_codec(mix_encoder(context, mix_row), context.encoder_template, context.encoder_size)
        mix.encodes = 1


@helper
def _is_personal(context: Any, output: Any) -> bool:
    for index in range(MAX_WHISPERS):
        whisper = output.whispers[index]
        if whisper != NONE and input_at(context, whisper).sounds != 0:
            return True
    for index in range(MAX_OWN_INPUTS):
        own = output.own[index]
        if own != NONE and input_at(context, own).sounds != 0:
            return True
    return False


@helper
def _take_limiter(context: Any, output: Any, row: int, mix_row: int) -> None:
    """Go on with what the limiter of all has looked ahead to. Who is new begins without: its own voice may be in there."""
    if output.fresh != 0:
        copy_limiter(context.output_limiters, row, context.limiter_template, 0)
    else:
        copy_limiter(context.output_limiters, row, context.mix_limiters, mix_row)


@kernel
def _leave_shared(context: Any, mix: Any, mix_row: int, output: Any, row: int) -> None:
    if not send_switch(
        context,
        output.worker,
        output.outbound,
        output.outbound_generation,
        mix.link_inbound[output.worker],
        output.inbound,
        output.inbound_generation,
        mix.generation,
    ):
        return
    send_clock(context, output.worker, output.inbound, output.inbound_generation, mix.generation)
    if mix.encodes != 0 and output.fresh == 0:
        memcpy(output_encoder(context, row), mix_encoder(context, mix_row), context.encoder_size)
    else:
        reset_codec(output_encoder(context, row), context.encoder_template, context.encoder_size)
    _take_limiter(context, output, row, mix_row)
    output.personal = 1
    mix.shared_outputs -= 1


@kernel
def _join_shared(context: Any, mix: Any, mix_row: int, output: Any, row: int) -> None:
    if not send_switch(
        context,
        output.worker,
        output.outbound,
        output.outbound_generation,
        output.inbound,
        mix.link_inbound[output.worker],
        mix.link_generation[output.worker],
        mix.generation,
    ):
        return
    if mix.encodes == 0:
        memcpy(mix_encoder(context, mix_row), output_encoder(context, row), context.encoder_size)
        mix.encodes = 1
    output.personal = 0
    mix.shared_outputs += 1


@kernel
def give_outputs(context: Any, mix_row: int) -> None:
    """Encode and hand out what there is to hear: `context.total` before, and `mixed_of` behind the limiter."""
    mix = mix_at(context, mix_row)
    if mix.shared_outputs > 0:
        _give_shared(context, mix, mix_row)
    row = integer(mix.first_output)
    while row != NONE:
        output = output_at(context, row)
        if output.kind == PCM:
            _give_pcm(context, output, row)
        elif output.personal != 0:
            _give_personal(context, mix, output, row)
        row = integer(output.next_of_mix)


@kernel
def _give_shared(context: Any, mix: Any, mix_row: int) -> None:
    length = encode_payload(context, mix_encoder(context, mix_row), mixed_of(context, mix_row))
    if length <= 0:
        return
    for worker in range(context.workers):
        inbound = integer(mix.link_inbound[worker])
        if inbound == NONE:
            continue
        generation = mix.link_generation[worker]
        if mix.starts != 0 or context.tick % REPORT_TICKS == 0:
            send_clock(context, worker, inbound, generation, mix.generation)
        send_packet(
            context,
            worker,
            inbound,
            generation,
            mix.generation,
            mix.sequence,
            integer(mix.starts),
            NO_LEVEL,
            length,
        )


@kernel
def _give_personal(context: Any, mix: Any, output: Any, row: int) -> None:
    length = encode_payload(context, output_encoder(context, row), _without_own(context, output, row))
    if length <= 0:
        return
    send_packet(
        context,
        output.worker,
        output.inbound,
        output.inbound_generation,
        mix.generation,
        mix.sequence,
        integer(mix.starts),
        NO_LEVEL,
        length,
    )


@kernel
def _without_own(context: Any, output: Any, row: int) -> Any:
    """float32 [960]: the mix without the listener's own inputs, with what is for it alone."""
    apart = floats_at(context.apart, FRAME_SAMPLES)
    before = floats_at(context.total, FRAME_SAMPLES)
    for index in range(MAX_OWN_INPUTS):
        own = output.own[index]
        if own != NONE:
            voice = input_at(context, own)
            if voice.sounds != 0 and voice.private == 0:
                mix_minus(before, frame_of(context, own), voice.gain_from, voice.gain_to, apart)
                before = apart
    if before.ctypes.data != apart.ctypes.data:
        memcpy(context.apart, context.total, FRAME_BYTES)
    for index in range(MAX_WHISPERS):
        whisper = output.whispers[index]
        if whisper != NONE:
            voice = input_at(context, whisper)
            if voice.sounds != 0:
                add_with_gain(frame_of(context, whisper), voice.gain_from, voice.gain_to, apart)
    limited = limit_frame(apart, limiters_at(context.output_limiters, context.output_capacity), row, apart)
    tally(context, Tally.SAMPLES_LIMITED, limited)
    return apart


@kernel
def give_last_frame(context: Any, row: int) -> None:
    """Let a port that was opened between two ticks begin with the frame of the tick before, if its mix is awake.

    Otherwise who is asked to listen waits for up to 20 ms before there is anything.
    """
    output = output_at(context, row)
    if mix_at(context, output.mix).awake_ticks > 0:
        _give_pcm(context, output, row)


@kernel
def _give_pcm(context: Any, output: Any, row: int) -> None:
    cursors = words_at(port_cursors(context, output.port), RING_CURSOR_WORDS)
    written = cursors[RING_WRITTEN]
    context.events_pending = 1
    if written - load_acquire(cursors, RING_READ) >= PCM_SLOTS:
        port_words(context, output.port)[PORT_DROPPED] += 1
        tally(context, Tally.PCM_FRAMES_DROPPED, 1)
        output.missed = 1
        return
    place = slot_place(context, output.port, written & (PCM_SLOTS - 1))
    record = record_at(PCM_FRAME, place)
    record.gap = output.missed
    output.missed = 0
    resampled = floats_at(context.limited, FRAME_SAMPLES)
    resamplers = resamplers_at(context.output_resamplers, context.output_capacity)
    if output.source != NONE:
        voice = input_at(context, output.source)
        frame = frame_of(context, output.source)
        if voice.level_dbov >= 127:
            for index in range(FRAME_SAMPLES):
                frame[index] = 0
        record.level_dbov = voice.level_dbov
        record.voiced = voice.voiced
        record.gap |= voice.gap
        count = resample(frame, resamplers, row, resampled)
    else:
        record.voiced = _anyone_else_speaks(context, output)
        if output.personal != 0:
            apart = _without_own(context, output, row)
            record.level_dbov = frame_level_dbov(apart)
            count = resample(apart, resamplers, row, resampled)
        else:
            mixed = mixed_of(context, output.mix)
            record.level_dbov = frame_level_dbov(mixed)
            count = resample(mixed, resamplers, row, resampled)
    record.samples = write_int16(resampled[:count], shorts_at(place + PCM_DATA, FRAME_SAMPLES))
    record.timestamp = (context.tick - output.opened_tick) * (output.rate // 50)
    publish_slot(port_cursors(context, output.port))
    tally(context, Tally.PCM_FRAMES_OUT, 1)


@kernel
def _anyone_else_speaks(context: Any, output: Any) -> bool:
    row = integer(mix_at(context, output.mix).first_input)
    while row != NONE:
        voice = input_at(context, row)
        if voice.voiced != 0 and voice.private == 0:
            own = False
            for index in range(MAX_OWN_INPUTS):
                own |= integer(output.own[index]) == row
            if not own:
                return True
        row = integer(voice.next_of_mix)
    return False
