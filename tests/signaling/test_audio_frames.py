"""The codec of binary frames is total, and what it writes it reads; the layout is the documented one."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.messages import (
    AudioFrameError,
    AudioFrameWire,
    AudioListen,
    MessageError,
    PlayCleared,
    PlayOpen,
    Press,
    decode_audio_frame_untrusted,
    decode_client,
    decode_server,
    encode_audio_frame,
    encode_client,
    encode_server,
)

#: Bytes that nearly are a frame: any of them, a true header with any length behind it, a true frame cut or prolonged.
HEADERS = st.builds(
    lambda *fields: struct.pack("<BBHBxHQ", *fields),
    st.sampled_from((0, 1, 2, 255)),
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.integers(0, 8),
    st.integers(0, 2**64 - 1),
)
NEARLY = st.binary(max_size=40) | st.builds(lambda head, tail: head + tail, HEADERS, st.binary(max_size=17))


@given(NEARLY)
def test_any_bytes_are_a_frame_or_the_documented_error(message: bytes) -> None:
    faults: list[str] = []
    try:
        frame = decode_audio_frame_untrusted(message)
    except AudioFrameError as error:
        faults.append(str(error))
    else:
        version, _, stream, level, samples, timestamp = struct.unpack("<BBHBxHQ", message[:16])
        assert (version, stream, samples, timestamp) == (1, frame.stream, frame.samples, frame.timestamp)
        assert frame.level_dbov == min(level, 127)
        assert frame.pcm == message[16:]
    for fault in faults:
        assert "expected" in fault
        assert len(fault) < 200


@given(
    st.integers(0, 0xFFFF),
    st.binary(max_size=64).filter(lambda pcm: len(pcm) % 2 == 0),
    st.integers(0, 2**64 - 1),
    st.integers(0, 127),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_frame_comes_back_as_it_was(stream, pcm, timestamp, level, voiced, gap, end) -> None:
    marks = {"timestamp": timestamp, "level_dbov": level, "voiced": voiced, "gap": gap, "end": end}
    frame = decode_audio_frame_untrusted(encode_audio_frame(stream, pcm, **marks))
    assert frame == AudioFrameWire(stream, pcm, **marks)


def test_the_layout_is_the_one_of_the_page() -> None:
    samples = np.array([1, -2, 3], dtype="<i2")
    frame = encode_audio_frame(
        0x0201, samples.tobytes(), timestamp=7, level_dbov=30, voiced=True, gap=False, end=True
    )
    assert frame.hex(" ") == "01 05 01 02 1e 00 03 00 07 00 00 00 00 00 00 00 01 00 fe ff 03 00"


def test_the_longest_frame_passes_and_one_sample_more_does_not() -> None:
    assert decode_audio_frame_untrusted(encode_audio_frame(1, bytes(2 * 0xFFFF))).samples == 0xFFFF
    with pytest.raises(ValueError, match="send several"):
        encode_audio_frame(1, bytes(2 * 0x10000))


@pytest.mark.parametrize(
    ("stream", "pcm", "marks"),
    [
        (1, b"odd", {}),
        (-1, b"", {}),
        (0x10000, b"", {}),
        (1, b"", {"timestamp": -1}),
        (1, b"", {"timestamp": 2**64}),
        (1, b"", {"level_dbov": 256}),
    ],
)
def test_what_does_not_fit_into_a_frame_is_refused(stream, pcm, marks) -> None:
    with pytest.raises(ValueError, match=r"bytes|field"):
        encode_audio_frame(stream, pcm, **marks)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"", "0 bytes are too short"),
        (bytes(15), "15 bytes are too short"),
        (bytes(16), "version 0"),
        (b"\x02" + bytes(15), "version 2"),
        (b"\x01" + bytes(16), "even number"),
        (b"\x01" + bytes(17), "0 samples: expected as many as follow, 1"),
    ],
)
def test_an_error_says_what_was_wrong(message: bytes, fault: str) -> None:
    with pytest.raises(AudioFrameError, match=fault):
        decode_audio_frame_untrusted(message)


@pytest.mark.parametrize(
    ("message_type", "data", "field"),
    [
        ("audio_listen", {"what": "mixed"}, "rate"),
        ("audio_listen", {"what": "mixed", "rate": 44100}, "rate"),
        ("audio_listen", {"what": "mixed", "rate": 16000, "frame_ms": 30}, "frame_ms"),
        ("audio_listen", {"what": "all", "rate": 16000}, "what"),
        ("audio_listen", {"what": "participant", "rate": 16000}, "data"),
        ("audio_listen", {"what": "mixed", "rate": 16000, "participant_id": "p"}, "data"),
        ("audio_unlisten", {"stream": 0}, "stream"),
        ("audio_unlisten", {"stream": 65536}, "stream"),
        ("play_open", {"rate": True}, "rate"),
        ("press", {"digit": "E"}, "digit"),
        ("press", {"digit": "55"}, "digit"),
        ("press", {"digit": "5\n"}, "digit"),
        ("press", {}, "digit"),
    ],
)
def test_requests_that_make_no_sense_are_refused_with_the_field(message_type, data, field) -> None:
    text = str({"type": message_type, "data": data}).replace("'", '"').replace("True", "true")
    with pytest.raises(MessageError) as caught:
        decode_client(text)
    assert caught.value.field == field


def test_messages_come_back_as_they_were() -> None:
    for request in (AudioListen(what="mixed", rate=16000), PlayOpen(rate=24000, to="p"), Press(digit="#")):
        assert decode_client(encode_client(request, 1)).message == request
    cleared = PlayCleared(played_ms={3: 120.5, 4: 0})
    assert decode_server(encode_server(cleared, 1)).message == cleared
