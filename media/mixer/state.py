"""The memory of a mixer: every array its kernel reaches by address, owned here.

As in `media.state`, it must outlive the kernel, and rows that nobody has used cost no memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import numpy as np

from media.audio.jitter import new_jitter_buffers
from media.audio.mix import LIMITER, new_limiters
from media.audio.opus import new_decoder_template, new_encoder_template, new_states
from media.audio.resample import RESAMPLER, new_resamplers
from media.audio.samples import FRAME_SAMPLES, RATES, SAMPLE_RATE
from media.audio.voice_activity import VOICE, new_voices
from media.mixer.tables import (
    INPUT,
    LATENESS_BUCKETS,
    MAX_WORKERS,
    MIX,
    MIXER_CONTEXT,
    OUTPUT,
    PACKET_BYTES,
    PCM_FRAME,
    PCM_SLOTS,
    PORT_WORDS,
)
from media.native import POLLFD, POLLIN, TIMESPEC
from media.ring import new_cursors
from media.state import COUNTER_WORDS, SharedMemory, untouched
from media.tables import COMMAND, RING_CURSOR_WORDS

Array = np.ndarray[Any, np.dtype[Any]]

TALLY_WORDS = 32


class EncoderSettings(TypedDict):
    """Arguments of `new_encoder_template`."""

    bitrate_bps: int
    complexity: int
    expected_loss_percent: int
    fec: bool
    application: str


ENCODING: Final[EncoderSettings] = {
    "bitrate_bps": 32_000,
    "complexity": 0,
    "expected_loss_percent": 0,
    "fec": False,
    "application": "lowdelay",
}
"""A mix is no single voice, so it is coded as CELT, 4 ms sooner than a codec does that may choose. That takes 27 us for 20 ms, where the settings for speech with error
correction take 90 to 260 us (thread time on the machine of docs/benchmarks.md)."""


@dataclass(frozen=True)
class MixerCapacity:
    """How many rows the tables of one mixer have."""

    mixes: int = 2048
    inputs: int = 4096
    outputs: int = 8192
    commands: int = 8192

    @property
    def ports(self) -> int:
        """One for each input, and behind them one for each output."""
        return self.inputs + self.outputs


class MixerMemory:
    """The tables, rings and codecs of one mixer, and the MIXER_CONTEXT that points at them."""

    def __init__(
        self,
        *,
        index: int,
        shared: SharedMemory,
        capacity: MixerCapacity,
        wake_fd: int,
        event_fd: int,
        real_time: bool = False,
    ) -> None:
        if shared.workers > MAX_WORKERS:
            raise ValueError(f"{shared.workers} workers and mixers; expected {MAX_WORKERS} at most")
        self.capacity = capacity
        self.mixes: Array = untouched(capacity.mixes, MIX)
        self.inputs: Array = untouched(capacity.inputs, INPUT)
        self.outputs: Array = untouched(capacity.outputs, OUTPUT)
        self.commands: Array = untouched(capacity.commands, COMMAND)
        self.command_cursors = new_cursors()
        self.frames: Array = untouched((capacity.ports, PCM_SLOTS), PCM_FRAME)
        self.frame_cursors: Array = untouched((capacity.ports, RING_CURSOR_WORDS), np.int64)
        self.port_words: Array = untouched((capacity.ports, PORT_WORDS), np.int64)
        self.counters: Array = untouched(COUNTER_WORDS, np.int64)
        self.tallies: Array = untouched(TALLY_WORDS, np.int64)
        self.lateness: Array = untouched(LATENESS_BUCKETS, np.int64)
        encoder, decoder = new_encoder_template(**ENCODING), new_decoder_template()
        self._shared = shared
        self._buffers: dict[str, Array] = {
            "jitters": new_jitter_buffers(capacity.inputs),
            "voices": untouched(capacity.inputs, VOICE),
            "voice_template": new_voices(1),
            "decoders": new_states(decoder, capacity.inputs),
            "input_encoders": new_states(encoder, capacity.inputs),
            "input_resamplers": untouched(capacity.inputs, RESAMPLER),
            "input_frames": untouched((capacity.inputs, FRAME_SAMPLES), np.float32),
            "mix_encoders": new_states(encoder, capacity.mixes),
            "mix_limiters": untouched(capacity.mixes, LIMITER),
            "mix_frames": untouched((capacity.mixes, FRAME_SAMPLES), np.float32),
            "output_encoders": new_states(encoder, capacity.outputs),
            "output_limiters": untouched(capacity.outputs, LIMITER),
            "output_resamplers": untouched(capacity.outputs, RESAMPLER),
            "limiter_template": new_limiters(1),
            "encoder_template": encoder,
            "decoder_template": decoder,
            "resampler_templates": np.concatenate(
                [new_resamplers(1, rate, SAMPLE_RATE) for rate in RATES]
                + [new_resamplers(1, SAMPLE_RATE, rate) for rate in RATES]
            ),
            "poll": untouched(1, POLLFD),
            "clock": untouched(1, TIMESPEC),
            "wake_count": np.ones(2, np.int64),
            "total": untouched(FRAME_SAMPLES, np.float32),
            "apart": untouched(FRAME_SAMPLES, np.float32),
            "limited": untouched(FRAME_SAMPLES, np.float32),
            "payload": untouched(PACKET_BYTES, np.uint8),
        }
        self._buffers["poll"]["fd"] = wake_fd
        self._buffers["poll"]["events"] = POLLIN
        self.context: Array = untouched(1, MIXER_CONTEXT)
        self._set(
            {
                "worker": index,
                "workers": shared.workers,
                "wake_fd": wake_fd,
                "event_fd": event_fd,
                "mix_capacity": capacity.mixes,
                "input_capacity": capacity.inputs,
                "output_capacity": capacity.outputs,
                "port_capacity": capacity.ports,
                "encoder_size": encoder.size,
                "decoder_size": decoder.size,
                "encoder_stride": self._buffers["mix_encoders"].strides[0],
                "decoder_stride": self._buffers["decoders"].strides[0],
                "mixes": self.mixes.ctypes.data,
                "inputs": self.inputs.ctypes.data,
                "outputs": self.outputs.ctypes.data,
                "frames": self.frames.ctypes.data,
                "frame_cursors": self.frame_cursors.ctypes.data,
                "port_words": self.port_words.ctypes.data,
                "counters": self.counters.ctypes.data,
                "tallies": self.tallies.ctypes.data,
                "lateness": self.lateness.ctypes.data,
                "commands": self.commands.ctypes.data,
                "command_cursors": self.command_cursors.ctypes.data,
                "command_mask": capacity.commands - 1,
                "taps": shared.taps.ctypes.data,
                "tap_cursors": shared.cursors.ctypes.data,
                "tap_mask": shared.taps.shape[1] - 1,
                "sleep_flags": shared.sleep_flags.ctypes.data,
                "wake_fds": shared.wake_fds.ctypes.data,
                "real_time_wanted": real_time,
            }
        )
        self._set({name: array.ctypes.data for name, array in self._buffers.items()})
        shared.wake_fds[index] = wake_fd

    @property
    def address(self) -> int:
        """What `media.mixer.loop.run_mixer` takes."""
        return int(self.context.ctypes.data)

    def free(self) -> None:
        """Give the large arrays back; the kernel has returned. What is counted stays."""
        self._buffers.clear()
        self.inputs, self.outputs, self.frames = (
            self.inputs[:0].copy(),
            self.outputs[:0].copy(),
            self.frames[:0].copy(),
        )

    def _set(self, fields: Mapping[str, int]) -> None:
        for name, value in fields.items():
            self.context[name] = value
