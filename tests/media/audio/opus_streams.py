"""Opus encoders and decoders for tests, on states of their own, and signals to feed them."""

import ctypes

import numpy as np

from media.audio.opus import (
    MAX_PACKET_SAMPLES,
    conceal_frame,
    decode_fec,
    decode_frame,
    encode_frame,
    new_decoder_template,
    new_encoder_template,
    new_states,
    reset_codec,
)
from media.audio.opus_library import libopus

FRAME = 960
RATE = 48_000


def tone(samples, frequency=440.0, amplitude=0.5, start=0):
    moments = np.arange(start, start + samples) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency * moments)).astype(np.float32)


def voice(samples, seed=7):
    """Something like speech: harmonics of a gliding pitch, swelling and fading."""
    rng = np.random.default_rng(seed)
    moments = np.arange(samples) / RATE
    pitch = 140 + 30 * np.sin(2 * np.pi * 0.7 * moments)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 14))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 2.1 * moments)
    return (0.15 * swell * sound + 0.002 * rng.standard_normal(samples)).astype(np.float32)


def frames_of(samples, size=FRAME):
    return samples[: samples.size // size * size].reshape(-1, size)


def as_payload(content):
    return np.frombuffer(bytes(content), np.uint8).copy()


class Codec:
    def __init__(self, template):
        self.template = template
        self.state = new_states(template, 1)[0]
        reset_codec(self.address, template.ctypes.data, template.size)

    @property
    def address(self):
        return self.state.ctypes.data


class Encoder(Codec):
    def __init__(self, **settings):
        super().__init__(new_encoder_template(**settings))

    def encode(self, samples):
        output = np.zeros(1500, np.uint8)
        size = encode_frame(self.address, samples, output)
        assert size > 0, size
        return output[:size].copy()

    def encode_all(self, samples, size=FRAME):
        return [self.encode(frame) for frame in frames_of(samples, size)]


class Decoder(Codec):
    def __init__(self):
        super().__init__(new_decoder_template())
        self._output = np.zeros(MAX_PACKET_SAMPLES, np.float32)

    def _written(self, count):
        assert count > 0, count
        return self._output[:count].copy()

    def decode(self, payload):
        return self._written(decode_frame(self.address, payload, self._output))

    def conceal(self):
        return self._written(conceal_frame(self.address, self._output))

    def decode_fec(self, payload):
        return self._written(decode_fec(self.address, payload, self._output))


class StereoEncoder:
    """libopus' own encoder, by ctypes."""

    def __init__(self, application=2048):
        self._state = ctypes.create_string_buffer(libopus.opus_encoder_get_size(2))
        assert libopus.opus_encoder_init(self._state, RATE, 2, application) == 0
        for request, value in ((4002, 48_000), (4012, 1), (4014, 20)):  # bit rate, FEC, expected loss
            assert libopus.opus_encoder_ctl(self._state, ctypes.c_int(request), ctypes.c_int(value)) == 0

    def encode(self, samples):
        """`samples`: float32 [n, 2]."""
        samples = np.ascontiguousarray(samples)
        output = np.zeros(1500, np.uint8)
        size = libopus.opus_encode_float(
            self._state,
            ctypes.c_void_p(samples.ctypes.data),
            ctypes.c_int(len(samples)),
            ctypes.c_void_p(output.ctypes.data),
            ctypes.c_int32(output.size),
        )
        assert size > 0
        return output[:size].copy()
