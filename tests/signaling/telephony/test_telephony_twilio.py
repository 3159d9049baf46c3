"""Twilio's messages, read and written."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phone_parts import tone

from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.phone import (
    Call,
    CallRefusedError,
    Marked,
    PhoneFaultError,
    Pressed,
    Spoken,
    Started,
    Stopped,
)
from signaling.telephony.twilio import TwilioStream

#: As on Twilio's page, https://www.twilio.com/docs/voice/media-streams/websocket-messages.
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"lobby": "support", "count": 3},
    },
    "streamSid": "MZ1",
}


def started() -> TwilioStream:
    stream = TwilioStream()
    assert stream.receive(json.dumps(CONNECTED)) is None
    assert isinstance(stream.receive(json.dumps(START)), Started)
    return stream


def media(payload: str, number: object = "2", **more: object) -> str:
    fields = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": payload} | more
    return json.dumps({"event": "media", "sequenceNumber": number, "media": fields, "streamSid": "MZ1"})


def test_a_call_is_read_from_its_start() -> None:
    stream = TwilioStream()
    assert stream.receive(json.dumps(START)) == Started(
        Call(
            provider="twilio",
            stream_id="MZ1",
            call_id="CA1",
            account_id="AC1",
            rate=8000,
            parameters={"lobby": "support", "count": "3"},
        )
    )
    with pytest.raises(PhoneFaultError, match="twice"):
        stream.receive(json.dumps(START))


def test_audio_is_read_and_the_other_track_passed_over() -> None:
    stream = started()
    event = stream.receive(media("//8A"))
    assert isinstance(event, Spoken)
    assert event.samples.tolist() == [0, 0, -32124]
    assert stream.receive(media("//8A", track="outbound")) is None
    assert isinstance(stream.receive(media("")), Spoken)


def test_keys_marks_and_the_end_are_read() -> None:
    stream = started()
    for digit in "0123456789ABCD*#":
        message = {
            "event": "dtmf",
            "sequenceNumber": "5",
            "dtmf": {"track": "inbound_track", "digit": digit},
        }
        assert stream.receive(json.dumps(message)) == Pressed(digit)
    assert stream.receive('{"event":"mark","sequenceNumber":"4","mark":{"name":"m"}}') == Marked("m")
    assert stream.receive('{"event":"stop","sequenceNumber":"5","stop":{"callSid":"CA1"}}') == Stopped(
        "the call ended"
    )


@pytest.mark.parametrize("number", ["4", 4, 4.0, "4.0"])
def test_numbers_may_be_texts_and_gaps_are_counted(number: object) -> None:
    stream = started()
    stream.receive(media("", number))
    assert stream.gaps == 2
    stream.receive(media("", "3"))  # late: counted, as it is, among those that are missing
    stream.receive(media("", 5))
    assert stream.gaps == 2


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("", "no JSON"),
        ("[]", "no object"),
        ('{"event":"media"}', "`media` must be an object"),
        ('{"event":7,"media":{}}', "no such `event`"),
        ("{}", "`event` must be a text"),
        ('{"event":"dtmf","dtmf":{"digit":"10"}}', "`digit` must be one of"),
        ('{"event":"mark","mark":{"name":null}}', "`name` must be a text"),
        (media("%%%"), "no base64"),
        (media("/" * 11_000), "more than 8000 bytes"),
        (media(7), "must be audio in base64"),
        (media("", "x"), "`sequenceNumber` must be a whole number"),
        (media("", "²"), "`sequenceNumber` must be a whole number"),
        (media("", -1), "`sequenceNumber` must be a whole number"),
        ("[" * 10_000, "no JSON"),
        ('{"event":"media","media":{"payload":NaN}}', "no JSON"),
    ],
)
def test_what_is_no_message_is_a_fault_and_changes_nothing(message: str, what: str) -> None:
    stream = started()
    with pytest.raises(PhoneFaultError, match=what):
        stream.receive(message)
    assert isinstance(stream.receive(media("//8A")), Spoken)


def test_nothing_comes_before_the_start() -> None:
    with pytest.raises(PhoneFaultError, match="before `start`"):
        TwilioStream().receive(media(""))


@pytest.mark.parametrize(
    "wrong", [{"encoding": "audio/l16"}, {"sampleRate": "16000"}, {"channels": 2}], ids=str
)
def test_audio_of_another_kind_refuses_the_call(wrong: dict[str, object]) -> None:
    start = {**START["start"], "mediaFormat": {**START["start"]["mediaFormat"], **wrong}}
    with pytest.raises(CallRefusedError, match="must be audio/x-mulaw, 8000 Hz, 1 channel"):
        TwilioStream().receive(json.dumps({**START, "start": start}))


def test_what_is_said_is_in_twilios_words() -> None:
    stream = started()
    samples = tone(160)
    (message,) = stream.audio(samples)
    heard = json.loads(message)
    assert {**heard, "media": None} == {"event": "media", "streamSid": "MZ1", "media": None}
    # What Twilio sends is what it takes.
    echoed = TwilioStream()
    echoed.receive(json.dumps(START))
    event = echoed.receive(message)
    assert isinstance(event, Spoken)
    assert np.array_equal(event.samples, decode_mulaw(encode_mulaw(samples)))
    assert json.loads(stream.mark("a")) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "a"}}
    assert json.loads(stream.clear()) == {"event": "clear", "streamSid": "MZ1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"event": st.sampled_from(["start", "media", "dtmf", "mark", "clear", "stop", "connected", "x"])},
    optional={
        "sequenceNumber": JSON,
        "streamSid": JSON,
        "start": st.fixed_dictionaries(
            {},
            optional={"callSid": JSON, "mediaFormat": JSON, "customParameters": JSON, "streamSid": JSON},
        )
        | JSON,
        "media": st.fixed_dictionaries({}, optional={"track": JSON, "payload": JSON}) | JSON,
        "dtmf": JSON,
        "mark": JSON,
        "stop": JSON,
    },
)


@settings(max_examples=60)
@given(st.lists(FIELDS.map(json.dumps) | st.text(max_size=20), max_size=6))
def test_any_messages_are_events_or_faults(messages: list[str]) -> None:
    stream = started()
    for message in messages:
        fault = ""
        try:
            stream.receive(message)
        except (PhoneFaultError, CallRefusedError) as error:
            fault = str(error) or "nothing is said"
        assert len(fault) <= 200
        assert fault != "nothing is said"
