"""Opus in kernels: against libopus called by ctypes, against PyAV, and by what a tone must look like."""

import ctypes
import subprocess
import sys

import av
import numpy as np
import pytest
from both_ways import interpreted
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opus_streams import FRAME, RATE, Decoder, Encoder, StereoEncoder, as_payload, frames_of, tone, voice

from media.audio import opus_library
from media.audio.opus import (
    APPLICATIONS,
    MAX_PACKET_SAMPLES,
    OPUS_BAD_ARGUMENT,
    OPUS_INVALID_PACKET,
    conceal_frame,
    decode_fec,
    decode_frame,
    decoder_size,
    encode_frame,
    encoder_size,
    has_fec,
    new_decoder_template,
    new_encoder_template,
    new_states,
    packet_samples,
    reset_codec,
)
from media.audio.opus_library import OpusMissingError, libopus, load_libopus

SECOND = RATE


def peak(samples):
    """Frequency and amplitude of the strongest sinusoid."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    place = int(np.argmax(spectrum))
    return place * RATE / samples.size, 4 * spectrum[place] / samples.size


def libopus_decoder():
    state = ctypes.create_string_buffer(libopus.opus_decoder_get_size(1))
    assert libopus.opus_decoder_init(state, RATE, 1) == 0

    def decode(payload):
        output = np.zeros(MAX_PACKET_SAMPLES, np.float32)
        count = libopus.opus_decode_float(
            state,
            ctypes.c_void_p(payload.ctypes.data),
            ctypes.c_int32(payload.size),
            ctypes.c_void_p(output.ctypes.data),
            ctypes.c_int(output.size),
            ctypes.c_int(0),
        )
        return output[: max(count, 0)] if count >= 0 else count

    return decode


def framing(payload):
    """Frames, offset and length of the first, by libopus; an error as a negative number of frames."""
    places = (ctypes.c_void_p * 48)()
    sizes = (ctypes.c_int16 * 48)()
    data = ctypes.c_void_p(payload.ctypes.data)
    count = libopus.opus_packet_parse(data, ctypes.c_int32(payload.size), None, places, sizes, None)
    return (count, (places[0] or 0) - payload.ctypes.data, sizes[0]) if count >= 0 else (count, -1, 0)


def wheel_libopus():
    """The libopus of PyAV's wheel."""
    (name,) = [name for name in opus_library._candidates() if "av.libs" in name]
    return ctypes.CDLL(name)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_keeps_its_frequency_and_level(frequency):
    encoder, decoder = Encoder(), Decoder()
    payloads = encoder.encode_all(tone(SECOND, frequency))
    heard = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert heard.size == SECOND
    assert 60 < np.mean([payload.size for payload in payloads]) < 130  # 32 kbit/s are 80 bytes
    found, amplitude = peak(heard[SECOND // 2 :])
    assert found == pytest.approx(frequency, abs=2)
    assert amplitude == pytest.approx(0.5, rel=0.06)


@pytest.mark.parametrize("size", [120, 240, 480, 960, 1920, 2880])
def test_every_frame_length_comes_back_as_long_as_it_was(size):
    encoder, decoder = Encoder(application="audio"), Decoder()
    for payload in encoder.encode_all(voice(size * 10), size):
        assert packet_samples(payload) == size
        assert decoder.decode(payload).size == size


def test_decoding_is_what_libopus_does_when_called_from_python():
    decoder, twin = Decoder(), libopus_decoder()
    for payload in Encoder().encode_all(voice(SECOND)):
        assert np.array_equal(decoder.decode(payload), twin(payload))


def test_pyav_hears_the_same():
    payloads = Encoder().encode_all(voice(SECOND))
    decoder = Decoder()
    ours = np.concatenate([decoder.decode(payload) for payload in payloads])
    context = av.CodecContext.create("libopus", "r")
    context.sample_rate = RATE
    context.layout = "mono"
    theirs = np.concatenate(
        [
            frame.to_ndarray().ravel()
            for payload in payloads
            for frame in context.decode(av.Packet(bytes(payload)))
        ]
    )
    theirs = theirs.astype(np.float64) / (32768 if theirs.dtype == np.int16 else 1)
    # FFmpeg trims nothing without a container that says so. Another version of libopus, 16 bits: not the same bits.
    assert theirs.size == ours.size
    assert np.sqrt(np.mean((theirs - ours) ** 2)) < 0.01 * np.sqrt(np.mean(ours**2))


def test_stereo_is_mixed_down():
    encoder, decoder = StereoEncoder(), Decoder()
    both = np.stack([tone(SECOND, 600), tone(SECOND, 600)], axis=1)
    heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in both.reshape(-1, FRAME, 2)])
    found, amplitude = peak(heard[SECOND // 2 :])
    assert found == pytest.approx(600, abs=2)
    assert amplitude == pytest.approx(0.5, rel=0.06)


def test_fec_recovers_a_lost_frame_better_than_concealment():
    sound = voice(2 * SECOND)
    payloads = Encoder(expected_loss_percent=20).encode_all(sound)
    perfect = Decoder()
    wanted = [perfect.decode(payload) for payload in payloads]

    def error(with_fec):
        decoder, total = Decoder(), 0.0
        for index, payload in enumerate(payloads):
            if index % 5 == 4:  # lost
                continue
            if index % 5 == 0 and index:
                lost = decoder.decode_fec(payload) if with_fec else decoder.conceal()
                total += float(np.mean((lost - wanted[index - 1]) ** 2))
            decoder.decode(payload)
        return total

    assert error(with_fec=True) < 0.5 * error(with_fec=False)


def test_fec_of_a_packet_without_any_is_concealment():
    payloads = Encoder(fec=False).encode_all(voice(FRAME * 10))
    concealing, recovering = Decoder(), Decoder()
    for payload in payloads[:8]:
        concealing.decode(payload)
        recovering.decode(payload)
    assert not has_fec(payloads[9])
    assert np.array_equal(recovering.decode_fec(payloads[9]), concealing.conceal())


def test_concealment_goes_on_with_the_sound_and_fades():
    decoder = Decoder()
    for payload in Encoder().encode_all(tone(SECOND, 500)):
        decoder.decode(payload)
    loudness = [np.sqrt(np.mean(decoder.conceal() ** 2)) for _ in range(40)]
    assert loudness[0] > 0.1
    assert loudness[-1] < 0.02


def test_a_copied_state_goes_on_bit_exactly():
    sound = voice(SECOND)
    encoder, decoder = Encoder(), Decoder()
    half = sound.size // 2 // FRAME * FRAME
    for payload in encoder.encode_all(sound[:half]):
        decoder.decode(payload)
    encoder_copy, decoder_copy = Encoder(), Decoder()
    reset_codec(encoder_copy.address, encoder.address, encoder_size())
    reset_codec(decoder_copy.address, decoder.address, decoder_size())
    for frame in frames_of(sound[half:]):
        payload = encoder.encode(frame)
        assert np.array_equal(payload, encoder_copy.encode(frame))
        assert np.array_equal(decoder.decode(payload), decoder_copy.decode(payload))


def test_a_reset_codec_has_forgotten_everything():
    sound = voice(FRAME * 20)
    encoder = Encoder()
    first = encoder.encode_all(sound)
    reset_codec(encoder.address, encoder.template.ctypes.data, encoder.template.size)
    assert all(map(np.array_equal, first, encoder.encode_all(sound)))


def test_states_are_apart_and_aligned_to_cache_lines():
    template = new_encoder_template()
    states = new_states(template, 3)
    assert states.shape[0] == 3
    assert states.shape[1] % 64 == 0
    assert states.shape[1] >= encoder_size() == template.size
    assert new_decoder_template().size == decoder_size()


def test_dtx_says_that_silence_needs_not_be_sent():
    encoder = Encoder(dtx=True)
    encoder.encode_all(voice(SECOND))
    sizes = [encoder.encode(np.zeros(FRAME, np.float32)).size for _ in range(50)]
    assert sum(size <= 2 for size in sizes) > 25


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_application_reaches_the_encoder(application):
    payloads = Encoder(application=application).encode_all(voice(SECOND))
    kinds = {bool(payload[0] & 0x80) for payload in payloads[10:]}
    assert kinds == {application == "lowdelay"} or application == "audio"


@pytest.mark.parametrize(
    "wrong", [{"bitrate_bps": -5}, {"complexity": 11}, {"expected_loss_percent": 101}], ids=str
)
def test_settings_that_libopus_refuses_are_named(wrong):
    with pytest.raises(ValueError, match=f"libopus refuses {next(iter(wrong))}={next(iter(wrong.values()))}"):
        new_encoder_template(**wrong)


def test_sizes_that_do_not_fit_are_errors():
    encoder, decoder = Encoder(), Decoder()
    assert encode_frame(encoder.address, np.zeros(961, np.float32), np.zeros(400, np.uint8)) < 0
    payload = encoder.encode(tone(FRAME))
    assert decode_frame(decoder.address, payload, np.zeros(959, np.float32)) < 0
    assert conceal_frame(decoder.address, np.zeros(959, np.float32)) == OPUS_BAD_ARGUMENT
    assert decode_fec(decoder.address, payload, np.zeros(959, np.float32)) == OPUS_BAD_ARGUMENT
    empty = np.zeros(0, np.uint8)
    assert decode_frame(decoder.address, empty, np.zeros(5760, np.float32)) == OPUS_INVALID_PACKET
    assert decode_fec(decoder.address, empty, np.zeros(5760, np.float32)) == OPUS_INVALID_PACKET
    assert packet_samples(empty) == OPUS_INVALID_PACKET
    assert not has_fec(empty)


def test_samples_that_are_no_numbers_do_not_break_the_encoder():
    encoder, decoder = Encoder(), Decoder()
    for value in (np.nan, np.inf, 1e30):
        encoder.encode(np.full(FRAME, value, np.float32))
    heard = [decoder.decode(payload) for payload in encoder.encode_all(tone(SECOND, 1000))]
    found, amplitude = peak(np.concatenate(heard[25:]))
    assert found == pytest.approx(1000, abs=2)
    assert amplitude == pytest.approx(0.5, rel=0.1)


# Code 3 packets are where the framing is intricate: let half of all examples be some.
payloads = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=1500),
    st.builds(
        lambda toc, count, rest: bytes([toc | 3, count]) + rest,
        st.integers(0, 255),
        st.integers(0, 255),
        st.binary(max_size=60),
    ),
)
_decoder = Decoder()
_output = np.zeros(MAX_PACKET_SAMPLES, np.float32)
_packet_samples_slowly = interpreted(packet_samples)
_has_fec_slowly = interpreted(has_fec)


@settings(deadline=None, max_examples=400)
@given(payloads)
@example(b"\x03\x41\xff")
@example(b"\x03\x81")
@example(b"\x02\xfc")
@example(bytes([0]) + bytes(1276))
@example(bytes([1]) + bytes(2552))
@example(bytes([3, 1]) + bytes(1276))
def test_any_payload_is_decoded_or_refused_as_libopus_says(content):
    payload = as_payload(content)
    count, first, length = framing(payload)
    samples = packet_samples(payload)
    if payload.size == 0 or count < 0:
        assert samples == OPUS_INVALID_PACKET
        assert not has_fec(payload)
    else:
        data = ctypes.c_void_p(payload.ctypes.data)
        assert samples == libopus.opus_packet_get_nb_samples(data, ctypes.c_int32(payload.size), RATE)
        assert has_fec(payload) == has_lbrr(payload)
        assert first + length <= payload.size
    assert decode_frame(_decoder.address, payload, _output) == samples
    assert np.isfinite(_output).all()
    assert decode_fec(_decoder.address, payload, _output) in (FRAME, OPUS_INVALID_PACKET)


@settings(deadline=None)
@given(payloads)
def test_payloads_are_read_alike_compiled_and_interpreted(content):
    payload = as_payload(content)
    assert packet_samples(payload) == _packet_samples_slowly(payload)
    assert has_fec(payload) == _has_fec_slowly(payload)


def has_lbrr(payload):
    data = ctypes.c_void_p(payload.ctypes.data)
    return wheel_libopus().opus_packet_has_lbrr(data, ctypes.c_int32(payload.size)) == 1


@pytest.mark.parametrize("size", [480, 960, 1920, 2880])
@pytest.mark.parametrize("channels", [1, 2])
def test_fec_is_seen_where_libopus_sees_it(size, channels):
    sound = voice(size * 40)
    if channels == 1:
        sent = Encoder(expected_loss_percent=20).encode_all(sound, size)
    else:
        encoder = StereoEncoder()
        sent = [encoder.encode(np.stack([frame, frame], axis=1)) for frame in frames_of(sound, size)]
    seen = [has_fec(payload) for payload in sent]
    assert seen == [has_lbrr(payload) for payload in sent]
    assert any(seen)


def test_the_wheel_serves_where_the_system_has_no_libopus(monkeypatch):
    names = list(opus_library._candidates())
    monkeypatch.setattr(opus_library.ctypes.util, "find_library", lambda _name: "libopus-nowhere.so")
    assert list(opus_library._candidates()) == ["libopus-nowhere.so", *names[1:]]
    library = load_libopus()
    assert library._name == names[1]
    library.opus_get_version_string.restype = ctypes.c_char_p
    assert library.opus_get_version_string().startswith(b"libopus")


def test_an_absent_libopus_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(opus_library, "_candidates", lambda: ["libopus-nowhere.so"])
    with pytest.raises(OpusMissingError, match=r"apt-get install libopus0.*libopus-nowhere\.so"):
        load_libopus()


def test_media_can_be_imported_where_there_is_no_libopus():
    script = (
        "import sys, media, media.audio, media.worker; sys.exit('media.audio.opus_library' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
