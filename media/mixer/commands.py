"""Applies the control plane's commands to a mixer's tables, between ticks."""

from typing import Any

from media.audio.jitter import reset_jitter
from media.audio.opus import reset_codec
from media.jit import helper, integer, kernel
from media.memory import record_at
from media.mixer.arrays import (
    copy_limiter,
    input_encoder,
    input_jitters,
    reset_voice,
    set_resampler,
)
from media.mixer.memory import input_at, mix_at, output_at, tally
from media.mixer.operations import MixerOperation
from media.mixer.outputs import give_last_frame
from media.mixer.tables import MAX_OWN_INPUTS, MAX_WHISPERS, MAX_WORKERS, PCM, RTP, Tally
from media.ring import release_slot, slot_to_read
from media.tables import COMMAND, NONE

COMMAND_SIZE = COMMAND.itemsize


@kernel
def apply_mixer_commands(context: Any) -> None:
    """Apply every command in the ring."""
    while True:
        index = slot_to_read(context.command_cursors, context.command_mask)
        if index < 0:
            return
        command = record_at(COMMAND, context.commands + index * COMMAND_SIZE)
        operation = command.operation
        if operation == MixerOperation.STOP:
            context.stopping = 1
        elif operation < MixerOperation.STOP or operation > MixerOperation.CLOSE_OUTPUT:
            tally(context, Tally.COMMAND_REJECTED, 1)
        elif operation <= MixerOperation.CLOSE_MIX:
            _apply_to_mix(context, command)
        elif operation <= MixerOperation.CLOSE_INPUT:
            _apply_to_input(context, command)
        else:
            _apply_to_output(context, command)
        release_slot(context.command_cursors)
        context.acknowledgement_pending = 1


@helper
def _refused(context: Any, row: int, capacity: int) -> bool:
    if 0 <= row < capacity:
        return False
    tally(context, Tally.COMMAND_REJECTED, 1)
    return True


@kernel
def _apply_to_mix(context: Any, command: Any) -> None:
    if _refused(context, command.row, context.mix_capacity):
        return
    mix = mix_at(context, command.row)
    values = command.values
    if command.operation == MixerOperation.OPEN_MIX:
        mix.generation = command.generation
        mix.first_input = NONE
        mix.first_output = NONE
        mix.awake_ticks = 0
        mix.stirred_ticks = 0
        mix.sequence = values[0]
        mix.starts = 1
        mix.encodes = 0
        mix.shared_outputs = 0
        copy_limiter(context.mix_limiters, command.row, context.limiter_template, 0)
        for worker in range(MAX_WORKERS):
            mix.link_inbound[worker] = NONE
        context.mix_limit = max(context.mix_limit, command.row + 1)
    elif command.operation == MixerOperation.SET_LINK:
        if not _refused(context, values[0], MAX_WORKERS):
            mix.link_inbound[values[0]] = values[1]
            mix.link_generation[values[0]] = values[2]
    else:
        mix.generation = 0


@kernel
def _apply_to_input(context: Any, command: Any) -> None:
    row = command.row
    if _refused(context, row, context.input_capacity):
        return
    voice = input_at(context, row)
    values = command.values
    operation = command.operation
    if operation == MixerOperation.PUBLISH_INPUT:
        voice.worker = values[0]
        voice.inbound = values[1]
        voice.inbound_generation = values[2]
        voice.tail_ticks = 0
        reset_codec(input_encoder(context, row), context.encoder_template, context.encoder_size)
        return
    if operation == MixerOperation.CLOSE_INPUT:
        _unlink_input(context, row)
        voice.generation = 0
        return
    if _refused(context, values[0], context.mix_capacity):
        return
    is_pcm = operation == MixerOperation.OPEN_PCM_INPUT
    if is_pcm and _refused(context, values[1], context.port_capacity):
        return
    voice.generation = command.generation
    voice.mix = values[0]
    voice.kind = PCM if is_pcm else RTP
    voice.private = 0
    voice.sounds = 0
    voice.voiced = 0
    voice.gap = 0
    voice.open = 0
    voice.hold_ticks = 0
    voice.level_dbov = 127
    voice.gain_from = 0
    voice.gain_to = 0
    voice.listeners = 0
    voice.stream = 0
    voice.pauses = 0
    voice.quiet_packets = 0
    voice.parked = 0
    voice.idle_ticks = 0
    voice.port = NONE
    voice.live = 0
    voice.waits = 0
    voice.gain = 1
    voice.worker = NONE
    voice.sequence = 0
    voice.tail_ticks = 0
    reset_voice(context, row)
    if is_pcm:
        voice.port = values[1]
        voice.rate = values[2]
        voice.live = values[3]
        voice.waits = values[3]
        voice.private = values[4]
        set_resampler(context, context.input_resamplers, row, values[2], 0)
    else:
        reset_jitter(input_jitters(context), row)
    mix = mix_at(context, values[0])
    voice.next_of_mix = mix.first_input
    mix.first_input = row


@kernel
def _apply_to_output(context: Any, command: Any) -> None:
    row = command.row
    if _refused(context, row, context.output_capacity):
        return
    output = output_at(context, row)
    values = command.values
    operation = command.operation
    if operation == MixerOperation.SET_OWN:
        for index in range(MAX_OWN_INPUTS):
            output.own[index] = values[index]
        for index in range(MAX_WHISPERS):
            output.whispers[index] = values[MAX_OWN_INPUTS + index]
        return
    if operation == MixerOperation.CLOSE_OUTPUT:
        _unlink_output(context, row)
        output.generation = 0
        return
    if _refused(context, values[0], context.mix_capacity):
        return
    is_pcm = operation == MixerOperation.OPEN_PCM_OUTPUT
    if is_pcm and _refused(context, values[1], context.port_capacity):
        return
    mix = mix_at(context, values[0])
    output.generation = command.generation
    output.mix = values[0]
    output.kind = PCM if is_pcm else RTP
    output.personal = 0
    output.fresh = 1
    for index in range(MAX_WHISPERS):
        output.whispers[index] = NONE
    for index in range(MAX_OWN_INPUTS):
        output.own[index] = NONE
    if is_pcm:
        output.port = values[1]
        output.rate = values[2]
        output.source = values[3]
        output.opened_tick = context.tick
        output.missed = 0
        set_resampler(context, context.output_resamplers, row, values[2], 1)
        if output.source != NONE:
            input_at(context, output.source).listeners += 1
        if values[4] != 0:
            give_last_frame(context, row)
    else:
        output.worker = values[1]
        output.outbound = values[2]
        output.outbound_generation = values[3]
        output.inbound = values[4]
        output.inbound_generation = values[5]
        mix.shared_outputs += 1
    output.next_of_mix = mix.first_output
    mix.first_output = row


@kernel
def _unlink_input(context: Any, row: int) -> None:
    voice = input_at(context, row)
    mix = mix_at(context, voice.mix)
    if mix.first_input == row:
        mix.first_input = voice.next_of_mix
        return
    before = integer(mix.first_input)
    while before != NONE:
        candidate = input_at(context, before)
        if candidate.next_of_mix == row:
            candidate.next_of_mix = voice.next_of_mix
            return
        before = integer(candidate.next_of_mix)


@kernel
def _unlink_output(context: Any, row: int) -> None:
    output = output_at(context, row)
    mix = mix_at(context, output.mix)
    if output.kind == RTP and output.personal == 0:
        mix.shared_outputs -= 1
    if output.kind == PCM and output.source != NONE:
        source = input_at(context, output.source)
        source.listeners = max(integer(0), source.listeners - 1)
    if mix.first_output == row:
        mix.first_output = output.next_of_mix
        return
    before = integer(mix.first_output)
    while before != NONE:
        candidate = output_at(context, before)
        if candidate.next_of_mix == row:
            candidate.next_of_mix = output.next_of_mix
            return
        before = integer(candidate.next_of_mix)
