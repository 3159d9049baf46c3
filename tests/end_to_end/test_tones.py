"""The measuring instruments themselves."""

import av
import numpy as np
import pytest
from tones import RATE_HZ, dominant_hz, encode_tone, make_tone, purity


@pytest.mark.parametrize("frequency_hz", [110, 440, 997, 3_000, 12_345])
def test_frequency_of_half_a_second_is_found(frequency_hz: int) -> None:
    samples = make_tone(frequency_hz)[: RATE_HZ // 2]
    assert dominant_hz(samples) == pytest.approx(frequency_hz, abs=0.2)
    assert purity(samples, frequency_hz) > 0.999


def test_purity_falls_when_another_tone_is_heard() -> None:
    mixed = make_tone(440)[: RATE_HZ // 2] + make_tone(900)[: RATE_HZ // 2] // 2
    assert purity(mixed, 440) == pytest.approx(0.8, abs=0.01)


def test_encoded_tone_can_be_looped() -> None:
    packets = encode_tone(700, 60)
    assert len(packets) == 50
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate = RATE_HZ
    decoder.layout = "mono"
    decoder.format = "s16"
    decoded = [
        frame.to_ndarray()[0] for packet in packets + packets for frame in decoder.decode(av.Packet(packet))
    ]
    samples = np.concatenate(decoded)
    assert len(samples) == 2 * 3 * RATE_HZ
    across_the_seam = samples[3 * RATE_HZ - RATE_HZ // 4 : 3 * RATE_HZ + RATE_HZ // 4]
    assert dominant_hz(across_the_seam) == pytest.approx(700, abs=1)
    assert purity(across_the_seam, 700) > 0.98
