"""Exotel's messages, and the sizes of what is sent to it."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phone_parts import tone
from test_telephony_twilio import FIELDS

from signaling.telephony.exotel import (
    CHUNK_BYTES,
    MAX_CHUNK_BYTES,
    MIN_CHUNK_BYTES,
    Chunks,
    ExotelStream,
)
from signaling.telephony.phone import (
    CallRefusedError,
    Cleared,
    Marked,
    PhoneFaultError,
    Pressed,
    Spoken,
    Started,
    Stopped,
)


def start(**media_format: object) -> str:
    return json.dumps(
        {
            "event": "start",
            "sequence_number": "1",
            "stream_sid": "s1",
            "start": {
                "stream_sid": "s1",
                "call_sid": "c1",
                "account_sid": "a1",
                "from": "+919876543210",
                "to": "08047491899",
                "custom_parameters": {"lobby": "support"},
                "media_format": media_format,
            },
        }
    )


def started(**media_format: object) -> ExotelStream:
    stream = ExotelStream()
    assert stream.receive('{"event":"connected"}') is None
    assert isinstance(stream.receive(start(**media_format)), Started)
    return stream


def spoken(stream: ExotelStream, payload: bytes) -> np.ndarray:
    event = stream.receive(
        json.dumps({"event": "media", "media": {"chunk": 2, "payload": base64.b64encode(payload).decode()}})
    )
    assert isinstance(event, Spoken)
    return event.samples


def test_a_call_is_read_from_its_start() -> None:
    event = ExotelStream().receive(start(encoding="base64", sample_rate="8000", bit_rate="128kbps"))
    assert isinstance(event, Started)
    call = event.call
    assert (call.provider, call.stream_id, call.call_id, call.account_id) == ("exotel", "s1", "c1", "a1")
    assert (call.calling, call.called, call.rate) == ("+919876543210", "08047491899", 8000)
    assert call.parameters == {"lobby": "support"}


@pytest.mark.parametrize("given", [None, "", {}, "lobby=support&x=1"])
def test_parameters_may_be_missing_or_a_text(given: object) -> None:
    message = json.loads(start())
    message["start"]["custom_parameters"] = given
    event = ExotelStream().receive(json.dumps(message))
    assert isinstance(event, Started)
    assert event.call.parameters == ({"lobby": "support", "x": "1"} if given else {})


@pytest.mark.parametrize(
    ("media_format", "rate", "payload", "samples"),
    [
        ({}, 8000, b"\x01\x00\xff\x7f", [1, 32767]),
        ({"encoding": "raw", "sample_rate": 16000}, 16000, b"\x00\x80", [-32768]),
        ({"encoding": "audio/L16;rate=24000", "sample_rate": "24000"}, 24000, b"\x00\x00", [0]),
        ({"encoding": "audio/x-raw", "sample_rate": "8000", "bit_rate": "16"}, 8000, b"", []),
        ({"encoding": "audio/x-mulaw;rate=8000", "sample_rate": 8000}, 8000, b"\x80\xff", [32124, 0]),
        ({"encoding": "alaw"}, 8000, b"\xaa", [32256]),
    ],
)
def test_audio_is_what_the_start_says_it_is(media_format, rate, payload, samples) -> None:
    event = ExotelStream().receive(start(**media_format))
    assert isinstance(event, Started)
    assert event.call.rate == rate
    assert spoken(started(**media_format), payload).tolist() == samples


@pytest.mark.parametrize(
    "media_format",
    [
        {"encoding": "opus"},
        {"encoding": "mulaw", "sample_rate": 16000},
        {"sample_rate": 44100},
        {"sample_rate": 0},
    ],
    ids=str,
)
def test_audio_of_another_kind_refuses_the_call(media_format: dict[str, object]) -> None:
    with pytest.raises(CallRefusedError, match="16-bit samples of 8000, 16000 or 24000 Hz"):
        ExotelStream().receive(start(**media_format))


def test_keys_marks_clears_and_the_end_are_read() -> None:
    stream = started()
    assert stream.receive('{"event":"dtmf","dtmf":{"digit":"#","duration":"100"}}') == Pressed("#")
    assert stream.receive('{"event":"dtmf","dtmf":{"digit":7,"duration":100}}') == Pressed("7")
    assert stream.receive('{"event":"mark","mark":{"name":"m"}}') == Marked("m")
    assert stream.receive('{"event":"clear","stream_sid":"s1"}') == Cleared()
    assert stream.receive('{"event":"stop","stop":{"reason":"callended"}}') == Stopped("callended")
    assert stream.receive('{"event":"stop"}') == Stopped("the call ended")


def test_gaps_are_counted_where_messages_have_numbers() -> None:
    stream = started()
    spoken(stream, b"")
    stream.receive('{"event":"mark","sequence_number":5,"mark":{"name":"m"}}')
    stream.receive('{"event":"mark","sequence_number":"6","mark":{"name":"m"}}')
    assert stream.gaps == 2


def test_an_odd_number_of_bytes_is_a_fault() -> None:
    with pytest.raises(PhoneFaultError, match="odd number of bytes"):
        spoken(started(), b"123")


def test_what_is_said_comes_in_pieces_that_exotel_plays() -> None:
    stream = started()
    said = tone(1700)
    messages = [stream.audio(said[at : at + 160]) for at in range(0, 1600, 160)]
    assert [len(each) for each in messages] == [0] * 9 + [1]
    message = json.loads(messages[-1][0])
    assert {**message, "media": None} == {"event": "media", "stream_sid": "s1", "media": None}
    payload = base64.b64decode(message["media"]["payload"])
    assert len(payload) == MIN_CHUNK_BYTES
    assert np.array_equal(np.frombuffer(payload, "<i2"), said[:1600])
    assert json.loads(stream.mark("a")) == {"event": "mark", "stream_sid": "s1", "mark": {"name": "a"}}


def test_a_clear_drops_what_is_kept_for_the_next_piece() -> None:
    stream = started()
    assert stream.audio(np.full(1440, 7, np.int16)) == []
    assert json.loads(stream.clear()) == {"event": "clear", "stream_sid": "s1"}
    assert stream.audio(np.full(160, 1, np.int16)) == []
    (message,) = stream.audio(np.full(1440, 1, np.int16))
    payload = base64.b64decode(json.loads(message)["media"]["payload"])
    assert set(np.frombuffer(payload, "<i2").tolist()) == {1}


@given(st.lists(st.integers(0, 250_000), max_size=20))
def test_pieces_keep_exotels_rules_and_lose_nothing(sizes: list[int]) -> None:
    chunks, got, given_bytes = Chunks(), bytearray(), bytearray()
    for number, size in enumerate(sizes):
        payload = bytes([number]) * size
        given_bytes += payload
        for piece in chunks.add(payload):
            assert MIN_CHUNK_BYTES <= len(piece) <= MAX_CHUNK_BYTES
            assert len(piece) % CHUNK_BYTES == 0
            got += piece
        # No more is kept than a piece and what does not fill 320 bytes.
        assert len(given_bytes) - len(got) < MIN_CHUNK_BYTES
    assert given_bytes.startswith(got)


@settings(max_examples=60)
@given(st.lists(FIELDS.map(json.dumps) | st.text(max_size=20), max_size=6))
def test_any_messages_are_events_or_faults(messages: list[str]) -> None:
    stream = started()
    for message in messages:
        fault = ""
        try:
            stream.receive(message.replace("Sid", "_sid"))
        except (PhoneFaultError, CallRefusedError) as error:
            fault = str(error) or "nothing is said"
        assert len(fault) <= 200
        assert fault != "nothing is said"
