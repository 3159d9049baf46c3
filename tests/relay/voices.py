"""People of the mix: who talk in Opus tones, in real time, and measure the tones of what they hear."""

import numpy as np
import trio
from client_sdp import audio
from media_peer import MediaPeer

from media.audio.opus import (
    MAX_PACKET_SAMPLES,
    decode_frame,
    encode_frame,
    new_decoder_template,
    new_encoder_template,
)

FRAME = 960
RATE = 48_000
FRAME_S = 0.02


def tone(frequency, seconds, *, rate=RATE, level=0.2):
    """int16 of a sine; `level` is its amplitude, 1 full scale."""
    moments = np.arange(round(seconds * rate)) / rate
    return np.rint(32_767 * level * np.sin(2 * np.pi * frequency * moments)).astype(np.int16)


def amplitudes(samples, frequencies, *, rate=RATE):
    """Amplitude of each frequency, 1 full scale, in int16 or float samples; the frequencies lie 50 Hz apart or more."""
    sound = samples / 32_767 if samples.dtype == np.int16 else samples
    window = np.hanning(sound.size)
    moments = np.arange(sound.size) / rate
    return {
        frequency: 2 * abs(np.sum(sound * window * np.exp(-2j * np.pi * frequency * moments))) / window.sum()
        for frequency in frequencies
    }


class Talker:
    """Sends a tone as Opus in section "0" of a peer, a packet every 20 ms, until cancelled; `frequency` None: silence."""

    def __init__(self, peer: MediaPeer, frequency, *, level=0.2, extensions=None):
        self.peer = peer
        self.frequency = frequency
        self.level = level
        self.sent = 0
        self._state = new_encoder_template()

    def frame(self):
        if self.frequency is None:
            return np.zeros(FRAME, np.float32)
        moments = (self.sent * FRAME + np.arange(FRAME)) / RATE
        return (self.level * np.sin(2 * np.pi * self.frequency * moments)).astype(np.float32)

    def send(self):
        payload = np.zeros(400, np.uint8)
        length = encode_frame(self._state.ctypes.data, self.frame(), payload)
        self.peer.send_media("0", self.sent, self.sent * FRAME, payload[:length].tobytes())
        self.sent += 1

    async def run(self):
        due = trio.current_time()
        while True:
            self.send()
            due += FRAME_S
            await trio.sleep_until(due)


async def measure_unbroken(router, measure):
    """Return what `measure()` does once the mixer had every packet in time meanwhile.

    Whoever talks here shares its cores with much else: held up for long, it leaves a hole that any listener hears. The mixer counts
    what it had to make up. Raises: AssertionError when ten times were not enough.
    """
    broken = []
    for _ in range(10):
        before = router.statistics().mixers[0].tallies
        measured = await measure()
        after = router.statistics().mixers[0].tallies
        broken.append({name: after[name] - before[name] for name in ("frames_concealed", "ticks_skipped")})
        if not any(broken[-1].values()):
            return measured
    raise AssertionError(f"there was always something missing: {broken}")


def heard(packets):
    """float32 samples of Opus packets, those of one stream in order."""
    state = new_decoder_template()
    output = np.zeros(MAX_PACKET_SAMPLES, np.float32)
    sound = []
    for packet in sorted(packets, key=lambda one: one.timestamp):
        count = decode_frame(state.ctypes.data, np.frombuffer(packet.payload, np.uint8).copy(), output)
        assert count > 0
        sound.append(output[:count].copy())
    return np.concatenate(sound)


def talk_and_listen(mid_out="0", mid_in="1", ssrc=1):
    """Sections of somebody who publishes a microphone and takes the mix."""
    return audio(mid_out, "sendonly", ssrc=ssrc), audio(mid_in, "recvonly")
