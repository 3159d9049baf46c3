"""The jitter buffer behind a bad network: sound goes on, and the delay comes back to what is needed."""

from dataclasses import replace

import numpy as np
import pytest
from opus_streams import RATE, Encoder, tone, voice
from packet_network import TICK, Listener, Network, send

from media.audio.jitter import FADE_END_SAMPLES, MAX_DELAY_SAMPLES, FrameKind, JitterVerdict

SECONDS = 20
FREQUENCY = 300.0
STEP = 0.5 * 2 * np.pi * FREQUENCY / RATE
"""The largest difference between samples of the tone."""
LEAST = 0.0225
"""The delay for a perfect network: one tick and the margin."""

TONE = Encoder(application="lowdelay", bitrate_bps=64_000, complexity=0).encode_all(
    tone(SECONDS * RATE, FREQUENCY)
)
VOICE = Encoder(expected_loss_percent=20, complexity=0).encode_all(voice(SECONDS * RATE))


def play(network, payloads=TONE, seconds=SECONDS, phase=0.0073, **sending):
    listener = Listener(phase)
    return listener, listener.listen(network.carry(send(payloads, **sending)), seconds)


def assert_no_clicks(playout, end=SECONDS):
    """Nothing is much steeper than the tone: a cut would be up to its whole height, which is 50 steps."""
    assert np.abs(np.diff(playout.part(0, end - 0.2))).max() < 2.5 * STEP


def assert_no_gaps(playout, start, end, limit=0.01):
    """There is a tone in every 20 ms but for `limit` of them."""
    parts = playout.part(start, end)
    parts = parts[: parts.size // 960 * 960].reshape(-1, 960)
    assert np.mean(np.sqrt(np.mean(parts**2, axis=1)) < 0.1) <= limit


@pytest.mark.parametrize("phase", [0.0001, 0.0073, 0.0152])
def test_a_perfect_network_costs_a_tick(phase):
    listener, playout = play(Network(), phase=phase)
    assert playout.kinds.count(FrameKind.CONCEALED) == 0
    assert LEAST - 0.002 <= playout.delays[10:-3].min() <= playout.delays.max() <= LEAST + 0.006
    counters = listener.counters()
    assert counters.pop("received") == len(listener.verdicts)
    assert not any(counters.values())
    assert_no_clicks(playout)


@pytest.mark.parametrize("jitter", [0.005, 0.02, 0.06, 0.2])
def test_the_delay_is_what_jitter_asks_for(jitter):
    listener, playout = play(Network(jitter=jitter, seed=4))
    settled = playout.delays[round(8 / TICK) : -10]
    assert settled.max() < LEAST + jitter + 0.01
    assert settled.min() > LEAST + 0.8 * jitter - 0.005
    assert playout.share(FrameKind.CONCEALED, 8, SECONDS - 0.5) < 0.02
    assert listener.buffer["restarts"] == 0
    assert_no_clicks(playout)
    assert_no_gaps(playout, 2, SECONDS - 1)


def test_the_delay_returns_when_jitter_ends():
    calm, wild = Network(), Network(jitter=0.2)
    packets = send(TONE)
    carried = wild.carry(packets[:400]) + calm.carry(packets[400:])
    listener = Listener()
    playout = listener.listen(sorted(carried, key=lambda packet: packet.arrival), SECONDS)
    assert playout.delays[380] > 0.15
    assert playout.delays[-10] < LEAST + 0.006
    assert listener.buffer["shortened_samples"] > 0.1 * RATE
    assert_no_clicks(playout)
    assert_no_gaps(playout, 2, SECONDS - 1)


@pytest.mark.parametrize("burst", [1.0, 3.0])
@pytest.mark.parametrize("loss", [0.02, 0.05, 0.1, 0.2])
def test_sound_goes_on_when_packets_are_lost(loss, burst):
    listener, playout = play(Network(loss=loss, burst=burst, seed=2))
    counters = listener.counters()
    lost = len(TONE) - counters["received"]
    assert lost == pytest.approx(loss * len(TONE), rel=0.5)
    assert abs(counters["lost"] - lost) < 5  # but for the ends
    assert counters["late"] == counters["restarts"] == 0
    assert playout.share(FrameKind.DECODED, 1, SECONDS - 1) > 1 - 2.2 * loss
    assert playout.delays[50:].max() < LEAST + 0.03
    assert_no_clicks(playout)
    assert_no_gaps(playout, 1, SECONDS - 1, limit=0.01 if burst == 1 else 0.08)


def test_frequent_losses_are_a_reason_to_wait_for_fec():
    listener, playout = play(Network(loss=0.1, seed=2), VOICE)
    counters = listener.counters()
    assert counters["recovered"] > 0.6 * counters["lost"]
    assert LEAST + 0.015 < np.median(playout.delays) < LEAST + 0.03
    # The delay is chosen once, not anew with every packet that has or has not any.
    assert counters["shortened_samples"] + counters["lengthened_samples"] < 0.1 * RATE


def test_rare_losses_are_not():
    _listener, playout = play(Network(loss=0.005, seed=2), VOICE)
    assert np.median(playout.delays) < LEAST + 0.006


def test_packets_that_overtake_each_other_are_put_in_order():
    packets = send(TONE)
    for index in range(100, len(packets), 7):
        packets[index] = replace(packets[index], sent=packets[index].sent + 1.5 * TICK)
    listener = Listener()
    playout = listener.listen(Network(duplicates=0.1).carry(packets), SECONDS)
    assert playout.share(FrameKind.DECODED, 6, SECONDS - 1) == 1.0
    assert playout.delays[-10] < LEAST + 0.04
    assert set(listener.verdicts) <= {JitterVerdict.STORED, JitterVerdict.DUPLICATE, JitterVerdict.LATE}
    assert_no_clicks(playout)


@pytest.mark.parametrize("length", [0.06, 0.3, 0.9, 4.0])
def test_a_stall_leaves_no_delay_behind(length):
    listener, playout = play(Network(stalls=((8.0, 8.0 + length),)))
    end = 8.0 + length
    assert playout.share(FrameKind.DECODED, 0.1, 8.0) == 1.0
    assert playout.share(FrameKind.DECODED, end + 0.1, SECONDS - 1) == 1.0
    assert playout.delays.max() < LEAST + 0.13
    assert playout.delays[round((end + 1.5) / TICK) :].max() < LEAST + 0.006
    assert listener.buffer["concealed_samples"] <= FADE_END_SAMPLES + 960
    assert_no_clicks(playout)
    assert_no_gaps(playout, end + 0.1, SECONDS - 1)


def test_stalls_again_and_again_are_waited_for():
    stalls = tuple((second, second + 0.15) for second in np.arange(1.0, SECONDS, 0.5))
    _listener, playout = play(Network(stalls=stalls))
    assert playout.share(FrameKind.CONCEALED, 10, SECONDS - 1) < 0.01
    assert playout.delays[round(10 / TICK) :].max() < LEAST + 0.17


def test_no_delay_is_longer_than_the_most_there_is():
    _listener, playout = play(Network(jitter=0.9, seed=3))
    assert playout.targets.max() <= MAX_DELAY_SAMPLES / RATE
    assert playout.delays.max() < MAX_DELAY_SAMPLES / RATE + 0.15
    assert_no_clicks(playout)


@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_clocks_may_drift_for_ten_minutes(drift):
    # The same 18 s again and again, without the beginning: the tone is in phase with itself, the encoder settled.
    listener, playout = play(Network(jitter=0.003), TONE[50:950] * 34, seconds=599.0, drift=drift)
    assert playout.share(FrameKind.DECODED, 1, 598) > 0.9999
    assert playout.delays[20:].max() < LEAST + 0.013
    assert playout.delays[20:].min() > LEAST - 0.004
    drifted = 598 * 200e-6 * RATE
    counters = listener.counters()
    more, less = counters["shortened_samples"], counters["lengthened_samples"]
    assert more - less == pytest.approx(np.sign(drift) * drifted, abs=600)
    assert more + less < 1.5 * drifted
    assert_no_clicks(playout, end=598)
    assert_no_gaps(playout, 1, 598)


@pytest.mark.parametrize("milliseconds", [2.5, 5, 10, 40, 60, 120])
def test_packets_may_be_short_or_long(milliseconds):
    samples = round(milliseconds * 48)
    payloads = Encoder(application="audio", fec=False, complexity=0).encode_all(
        tone(8 * RATE, FREQUENCY), samples
    )
    for network in (Network(), Network(jitter=0.03), Network(loss=0.03)):
        if network.loss and milliseconds < 5:
            continue  # libopus itself booms when frames that short are lost
        listener, playout = play(network, payloads, seconds=8.0, samples=samples)
        if network.loss == 0:
            assert playout.share(FrameKind.DECODED, 3, 7.5) == 1.0
        assert playout.delays[-20] < LEAST + network.jitter + 0.015
        assert listener.buffer["lost"] == pytest.approx(network.loss * len(payloads), rel=0.6, abs=3)
        assert_no_clicks(playout, end=8)
        # A lost packet of 120 ms is more than is ever concealed.
        assert_no_gaps(playout, 1, 7.5, limit=0.01 + network.loss * (milliseconds > 40))


def test_another_stream_takes_over_without_a_stall():
    network = Network()
    first = network.carry(send(TONE[:300]))
    second = network.carry(send(TONE[300:600], ssrc=77, first_sequence=9, first_timestamp=123, start=6.0))
    listener = Listener(0.0073)
    playout = listener.listen(first + second, 12.0)
    assert listener.verdicts.count(JitterVerdict.RESTARTED) == 1
    assert (
        playout.kinds.count(FrameKind.SILENCE) <= 4
    )  # before the first packet, perhaps one in between, at the end
    assert_no_gaps(playout, 1, 11.5)
    assert_no_clicks(playout, end=12)
    assert playout.delays[-20] < LEAST + 0.006


def test_streams_that_contend_for_a_row_do_no_harm():
    network = Network()
    packets = network.carry(send(TONE[:200])) + network.carry(send(TONE[:200], ssrc=77, first_sequence=500))
    listener = Listener()
    listener.listen(sorted(packets, key=lambda packet: packet.arrival), 4.0)
    after = Network().carry(send(TONE[:300], ssrc=5, start=4.0))
    playout = listener.listen(after, 10.0)
    assert playout.share(FrameKind.DECODED, 0.3, 5.5) == 1.0


def test_all_of_it_together_does_not_stop_the_sound():
    rng = np.random.default_rng(9)
    packets = send(VOICE[:400]) + send(VOICE[400:], ssrc=8, start=8.0)
    for packet in packets[::50]:
        packet.payload = rng.integers(0, 256, rng.integers(0, 1400), dtype=np.uint8)
    network = Network(loss=0.05, burst=2.0, jitter=0.2, duplicates=0.05, stalls=((5.0, 5.7), (12.0, 12.2)))
    listener = Listener()
    playout = listener.listen(network.carry(packets), SECONDS)
    for start in (2, 6.5, 9, 13):
        assert playout.share(FrameKind.DECODED, start, start + 2) > 0.8
    assert playout.delays.max() < MAX_DELAY_SAMPLES / RATE + 0.15
    assert listener.buffer["restarts"] == 1
