"""What the participants of `relay bench mix` and `relay bench bots` send: Opus as browsers make it, of a voice or of a quiet room."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bench.mix_tables import PAYLOAD_SLOT_BYTES
from media.audio.opus import encode_frame, new_encoder_template
from media.audio.samples import FRAME_SAMPLES, SAMPLE_RATE

Samples = np.ndarray[Any, np.dtype[np.float32]]

VOICES: Final = 8
OFFSET_FRAMES: Final = 37  # between two talkers who say the same
TALK_FRAMES: Final = 250
QUIET_FRAMES: Final = 50
QUIET_LEVEL_DBOV: Final = 80
TALK_LEVEL_DBOV: Final = 25
BROWSER: Final[dict[str, Any]] = {
    "bitrate_bps": 32_000,
    "complexity": 9,
    "expected_loss_percent": 10,
    "fec": True,
    "application": "voip",
}
"""Settings of an encoder (`media.audio.opus.new_encoder_template`) as Chromium has them where packets are lost."""
_PAYLOAD_BYTES: Final = 400


@dataclass(frozen=True)
class OpusLoop:
    """Payloads of consecutive frames, to be sent over and over."""

    payloads: tuple[bytes, ...]
    level_dbov: int


@dataclass(frozen=True)
class PayloadTable:
    """The payloads of all who take part, for a compiled loop: those of a quiet room first, then those of several voices."""

    payloads: np.ndarray[Any, np.dtype[np.uint8]]  # [n][PAYLOAD_SLOT_BYTES]
    lengths: np.ndarray[Any, np.dtype[np.int64]]  # [n]
    loops: tuple[OpusLoop, ...]

    def give(self, record: Any, talker: int | None) -> None:
        """Let a MIX_VOICE or MIX_PEER say what talker number `talker` says; None: nothing."""
        which = 0 if talker is None else 1 + talker % (len(self.loops) - 1)
        record["first_payload"] = sum(len(loop.payloads) for loop in self.loops[:which])
        record["payload_count"] = len(self.loops[which].payloads)
        record["payload"] = (talker or 0) * OFFSET_FRAMES
        record["level_dbov"] = self.loops[which].level_dbov


def payload_table(talkers: int) -> PayloadTable:
    """Make one for so many talkers: up to VOICES of them say different things."""
    loops = (silent(), *(talking(seed) for seed in range(min(VOICES, max(talkers, 1)))))
    payloads = [payload for loop in loops for payload in loop.payloads]
    rows = np.zeros((len(payloads), PAYLOAD_SLOT_BYTES), np.uint8)
    for row, payload in zip(rows, payloads, strict=True):
        row[: len(payload)] = np.frombuffer(payload, np.uint8)
    return PayloadTable(rows, np.array([len(payload) for payload in payloads], np.int64), loops)


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
    encoder = new_encoder_template(**BROWSER)
    output = np.zeros(_PAYLOAD_BYTES, np.uint8)
    payloads = []
    for frame in samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES):
        length = encode_frame(encoder.ctypes.data, frame, output)
        assert length > 0, length
        payloads.append(output[:length].tobytes())
    return tuple(payloads)
