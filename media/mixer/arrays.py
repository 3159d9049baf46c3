"""The codecs, limiters and other states of a mixer, by row: addresses and typed views, for its kernels."""

from typing import Any

from numba import carray

from media.audio.jitter import JITTER
from media.audio.mix import LIMITER
from media.audio.resample import RESAMPLER
from media.audio.samples import RATES
from media.audio.voice_activity import VOICE
from media.jit import helper, integer
from media.memory import pointer_at
from media.native import memcpy

VOICE_SIZE = VOICE.itemsize
LIMITER_SIZE = LIMITER.itemsize
RESAMPLER_SIZE = RESAMPLER.itemsize


@helper
def input_jitters(context: Any) -> Any:
    """JITTER [input_capacity]."""
    return carray(pointer_at(JITTER, context.jitters), (context.input_capacity,))


@helper
def input_voices(context: Any) -> Any:
    """VOICE [input_capacity]."""
    return carray(pointer_at(VOICE, context.voices), (context.input_capacity,))


@helper
def reset_voice(context: Any, row: int) -> None:
    """Forget what the voice activity of an input was judged by."""
    memcpy(context.voices + integer(row) * VOICE_SIZE, context.voice_template, VOICE_SIZE)


@helper
def input_decoder(context: Any, row: int) -> int:
    """Address of the decoder of an input."""
    return context.decoders + integer(row) * context.decoder_stride


@helper
def input_encoder(context: Any, row: int) -> int:
    """Address of the encoder of an input that is also a track."""
    return context.input_encoders + integer(row) * context.encoder_stride


@helper
def mix_encoder(context: Any, row: int) -> int:
    """Address of the encoder whose packets all get who say nothing."""
    return context.mix_encoders + integer(row) * context.encoder_stride


@helper
def output_encoder(context: Any, row: int) -> int:
    """Address of the encoder of an output whose mix is its own."""
    return context.output_encoders + integer(row) * context.encoder_stride


@helper
def limiters_at(address: int, count: int) -> Any:
    """LIMITER [count]."""
    return carray(pointer_at(LIMITER, address), (count,))


@helper
def copy_limiter(target: int, target_row: int, source: int, source_row: int) -> None:
    """Let one limiter go on as another would; both by the address of their array and their row."""
    memcpy(
        target + integer(target_row) * LIMITER_SIZE, source + integer(source_row) * LIMITER_SIZE, LIMITER_SIZE
    )


@helper
def resamplers_at(address: int, count: int) -> Any:
    """RESAMPLER [count]."""
    return carray(pointer_at(RESAMPLER, address), (count,))


@helper
def set_resampler(context: Any, resamplers: int, row: int, rate: int, outwards: int) -> None:
    """Make the resampler in a row one between `rate` and 48 kHz, with nothing in its history."""
    template = integer(0)
    for index in range(len(RATES)):
        if RATES[index] == rate:
            template = integer(outwards) * len(RATES) + index
    memcpy(
        resamplers + integer(row) * RESAMPLER_SIZE,
        context.resampler_templates + template * RESAMPLER_SIZE,
        RESAMPLER_SIZE,
    )
