"""The loop of a mixer: one call that returns when it is told to stop.

A tick begins every 20 ms, by absolute deadlines. In between the thread sleeps, and empties the taps every 5 ms so that
they do not fill up. When no mix has anything to do it sleeps until a worker or the control plane wakes it.
"""

from typing import Any

from media.atomics import full_fence, store_release
from media.audio.mix import add_with_gain, limit_frame
from media.audio.samples import FRAME_SAMPLES
from media.clock import read_clock
from media.jit import helper, integer, kernel
from media.memory import floats_at, record_at, words_at
from media.mixer.arrays import limiters_at
from media.mixer.commands import apply_mixer_commands
from media.mixer.inputs import (
    STIR_TICKS,
    hear_input,
    is_due,
    publish_input,
    rest_input,
    take_tapped,
)
from media.mixer.memory import frame_of, input_at, mix_at, mixed_of, tally
from media.mixer.outputs import give_outputs, settle_outputs
from media.mixer.tables import LATENESS_BUCKETS, MIXER_CONTEXT, PCM, TICK_NS, Tally
from media.native import CLOCK_MONOTONIC
from media.priority import watch_priority
from media.ring import release_slot, slot_to_read
from media.tables import NONE
from media.taps import cursors_of, ring_of, slot_of
from media.thread_loop import begin_loop, has_mail, wait, wake_control_plane

DRAIN_NS = 5_000_000

AWAKE_TICKS = 100
"""What is sent goes on for 2 s after the last sound, so that a pause in a conversation is a pause and no end."""

TRICKLE_NS = 200_000_000
"""Packets of parked voices came less than this ago: looking for them at each tick costs less than being woken by each."""

SKIP_TICKS = 5
"""A thread that is more than 100 ms late leaves ticks out rather than rush through them."""


@kernel
def run_mixer(address: int) -> None:
    """Mix until a STOP command. `address`: of a MIXER_CONTEXT record prepared by `media.mixer.state`."""
    context = record_at(MIXER_CONTEXT, address)
    begin_loop(context, TICK_NS)
    while context.stopping == 0:
        apply_mixer_commands(context)
        taken = _drain_taps(context)
        if taken > 0:
            context.trickle_ns = context.now_ns
            context.trickle = taken
        if context.now_ns >= context.next_tick_ns:
            _tick(context)
        if context.events_pending != 0 or context.acknowledgement_pending != 0:
            wake_control_plane(context)
        if context.stopping == 0:
            context.now_ns = read_clock(context, CLOCK_MONOTONIC)
            _sleep(context)
    wake_control_plane(context)


@kernel
def _drain_taps(context: Any) -> int:
    taken = integer(0)
    for writer in range(context.workers):
        if writer == context.worker:
            continue
        ring = ring_of(context, writer, context.worker)
        for _ in range(context.tap_mask + 1):
            index = slot_to_read(cursors_of(context, ring), context.tap_mask)
            if index < 0:
                break
            take_tapped(context, slot_of(context, ring, index))
            release_slot(cursors_of(context, ring))
            taken += 1
    return taken


@kernel
def _tick(context: Any) -> None:
    late_ns = context.now_ns - context.next_tick_ns
    missed = late_ns // TICK_NS
    if missed > SKIP_TICKS:
        tally(context, Tally.TICKS_SKIPPED, missed)
        _leave_out(context, missed)
    context.next_tick_ns += TICK_NS
    context.tick += 1
    if context.ticking != 0:
        _note_lateness(context, late_ns)
        tally(context, Tally.TICKS, 1)
    stirring = integer(0)
    for row in range(context.mix_limit):
        mix = mix_at(context, row)
        if mix.generation != 0:
            _stir_by_ports(context, mix)
            if mix.awake_ticks > 0 or mix.stirred_ticks > 0:
                _tick_mix(context, row)
                stirring = integer(1)
    context.stirring = stirring
    context.ticking = stirring
    watch_priority(context)


@helper
def _leave_out(context: Any, missed: int) -> None:
    """Let ticks pass."""
    context.next_tick_ns += missed * TICK_NS
    context.tick += missed


@kernel
def _note_lateness(context: Any, late_ns: int) -> None:
    context.latest_ns = max(context.latest_ns, late_ns)
    bucket = integer(0)
    while bucket < LATENESS_BUCKETS - 1 and (late_ns // 1000) >> bucket != 0:
        bucket += 1
    words_at(context.lateness, LATENESS_BUCKETS)[bucket] += 1


@helper
def _stir_by_ports(context: Any, mix: Any) -> None:
    row = integer(mix.first_input)
    while row != NONE:
        voice = input_at(context, row)
        if voice.kind == PCM and is_due(context, voice):
            mix.stirred_ticks = STIR_TICKS
            return
        row = integer(voice.next_of_mix)


@kernel
def _tick_mix(context: Any, row: int) -> None:
    mix = mix_at(context, row)
    total = floats_at(context.total, FRAME_SAMPLES)
    for index in range(FRAME_SAMPLES):
        total[index] = 0
    sounds = False
    each = integer(mix.first_input)
    while each != NONE:
        voice = input_at(context, each)
        if is_due(context, voice):
            hear_input(context, each)
            publish_input(context, each)
            if voice.sounds != 0:
                sounds = True
                if voice.private == 0:
                    add_with_gain(frame_of(context, each), voice.gain_from, voice.gain_to, total)
        else:
            rest_input(voice)
        each = integer(voice.next_of_mix)
    mix.stirred_ticks = max(integer(0), mix.stirred_ticks - 1)
    if sounds:
        mix.awake_ticks = AWAKE_TICKS
    elif mix.awake_ticks > 0:
        mix.awake_ticks -= 1
    if mix.awake_ticks == 0:
        mix.starts = 1
        mix.encodes = 0
        return
    # Before the limiter takes this frame in: who leaves the shared stream takes its state of the last tick along.
    settle_outputs(context, row)
    limited = limit_frame(
        total,
        limiters_at(context.mix_limiters, context.mix_capacity),
        row,
        mixed_of(context, row),
    )
    tally(context, Tally.SAMPLES_LIMITED, limited)
    give_outputs(context, row)
    mix.sequence = (mix.sequence + 1) & 0xFFFF
    mix.starts = 0


@kernel
def _sleep(context: Any) -> None:
    now_ns = context.now_ns
    context.busy_ns += now_ns - context.awake_since_ns
    flags = words_at(context.sleep_flags, context.workers * 8)
    mine = context.worker * 8
    if context.stirring != 0:
        wait(context, 1, max(integer(0), min(context.next_tick_ns - now_ns, integer(DRAIN_NS))))
    elif now_ns - context.trickle_ns < TRICKLE_NS:
        # Of a crowd that is silent more come in 20 ms than a tap holds.
        pause_ns = DRAIN_NS if context.trickle > context.tap_mask // 8 else TICK_NS
        wait(context, 1, max(integer(0), min(context.next_tick_ns - now_ns, integer(pause_ns))))
    else:
        store_release(flags, mine, integer(1))
        full_fence()
        if not has_mail(context):
            context.sleeps += 1
            wait(context, 1, integer(-1))
            # Whoever woke us may have filled a port: only a tick looks at those.
            context.stirring = 1
        store_release(flags, mine, integer(0))
    context.now_ns = read_clock(context, CLOCK_MONOTONIC)
    context.awake_since_ns = context.now_ns
    missed = (context.now_ns - context.next_tick_ns) // TICK_NS
    if context.ticking == 0 and missed > 0:
        # Nothing was to be heard meanwhile. What is opened now begins now, and not when we fell asleep.
        _leave_out(context, missed)
