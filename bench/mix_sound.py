"""What the participants of `relay bench mix` and `relay bench bots` send: Opus as browsers make it, of a voice or of a quiet room."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from media.audio.opus import encode_frame, new_encoder_template
from media.audio.samples import FRAME_SAMPLES, SAMPLE_RATE

Samples = np.ndarray[Any, np.dtype[np.float32]]

TALK_FRAMES: Final = 250
QUIET_FRAMES: Final = 50
QUIET_LEVEL_DBOV: Final = 80
TALK_LEVEL_DBOV: Final = 22
_BROWSER: Final[dict[str, Any]] = {
    "bitrate_bps": 32_000,
    "complexity": 9,
    "expected_loss_percent": 10,
    "fec": True,
    "application": "voip",
}
_PAYLOAD_BYTES: Final = 400


@dataclass(frozen=True)
class OpusLoop:
    """Payloads of consecutive frames, to be sent over and over."""

    payloads: tuple[bytes, ...]
    level_dbov: int


def talking(seed: int = 7) -> OpusLoop:
    """Somebody who talks without a pause."""
    return OpusLoop(encode_as_browser(voice(TALK_FRAMES * FRAME_SAMPLES, seed)), TALK_LEVEL_DBOV)


def silent() -> OpusLoop:
    """Somebody who says nothing: the noise of a room, far below what is mixed."""
    noise = np.random.default_rng(1).standard_normal(QUIET_FRAMES * FRAME_SAMPLES)
    return OpusLoop(encode_as_browser((noise * 1e-4).astype(np.float32)), QUIET_LEVEL_DBOV)


def voice(samples: int, seed: int = 7) -> Samples:
    """Return something like speech: harmonics of a gliding pitch, swelling and fading, and breath."""
    dice = np.random.default_rng(seed)
    moments = np.arange(samples) / SAMPLE_RATE
    pitch = 110 + 90 * dice.random() + 30 * np.sin(2 * np.pi * 0.7 * moments)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = sum(np.sin(k * phase + dice.uniform(0, 6)) / k for k in range(1, 14))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 2.1 * moments + dice.uniform(0, 6))
    return (0.15 * swell * sound + 0.002 * dice.standard_normal(samples)).astype(np.float32)


def encode_as_browser(samples: Samples) -> tuple[bytes, ...]:
    """Encode as Chromium does for a connection with loss: 32 kbit/s, with error correction."""
    encoder = new_encoder_template(**_BROWSER)
    output = np.zeros(_PAYLOAD_BYTES, np.uint8)
    payloads = []
    for frame in samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES):
        length = encode_frame(encoder.ctypes.data, frame, output)
        assert length > 0, length
        payloads.append(output[:length].tobytes())
    return tuple(payloads)
