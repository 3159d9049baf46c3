"""Typed views of a mixer's arrays, for its kernels (see `media.memory`)."""

from typing import Any

from media.audio.samples import FRAME_SAMPLES
from media.jit import helper, integer
from media.memory import floats_at, record_at, words_at
from media.mixer.tables import INPUT, MIX, OUTPUT, PCM_FRAME, PCM_SLOTS, PORT_WORDS
from media.tables import RING_CURSOR_WORDS

MIX_SIZE = MIX.itemsize
INPUT_SIZE = INPUT.itemsize
OUTPUT_SIZE = OUTPUT.itemsize
PCM_FRAME_SIZE = PCM_FRAME.itemsize
PCM_DATA = PCM_FRAME.fields["data"][1]  # type: ignore[index]
FRAME_BYTES = FRAME_SAMPLES * 4


@helper
def mix_at(context: Any, row: int) -> Any:
    """Row of the mixes table."""
    return record_at(MIX, context.mixes + integer(row) * MIX_SIZE)


@helper
def input_at(context: Any, row: int) -> Any:
    """Row of the inputs table."""
    return record_at(INPUT, context.inputs + integer(row) * INPUT_SIZE)


@helper
def output_at(context: Any, row: int) -> Any:
    """Row of the outputs table."""
    return record_at(OUTPUT, context.outputs + integer(row) * OUTPUT_SIZE)


@helper
def frame_of(context: Any, input_row: int) -> Any:
    """float32 [960]: what an input gave this tick."""
    return floats_at(context.input_frames + integer(input_row) * FRAME_BYTES, FRAME_SAMPLES)


@helper
def mixed_of(context: Any, mix_row: int) -> Any:
    """float32 [960]: all of a mix behind its limiter, as of its last tick awake."""
    return floats_at(context.mix_frames + integer(mix_row) * FRAME_BYTES, FRAME_SAMPLES)


@helper
def port_words(context: Any, port: int) -> Any:
    """int64 [PORT_WORDS] of a port."""
    return words_at(context.port_words + integer(port) * PORT_WORDS * 8, PORT_WORDS)


@helper
def port_cursors(context: Any, port: int) -> int:
    """Address of the counts of a port's ring."""
    return context.frame_cursors + integer(port) * RING_CURSOR_WORDS * 8


@helper
def slot_place(context: Any, port: int, index: int) -> int:
    """Address of a slot of a port."""
    return context.frames + (integer(port) * PCM_SLOTS + index) * PCM_FRAME_SIZE


@helper
def tally(context: Any, which: int, number: int) -> None:
    """Add to one of the tallies."""
    words_at(context.tallies, 32)[which] += number
