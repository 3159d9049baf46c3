"""Frames of the peer path: any text is a request or a named fault, and what is sent is JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.messages import ErrorCode, MessageError
from signaling.peer_path.messages import (
    PEER_REQUESTS,
    PeerError,
    PeerPong,
    PeerRequest,
    Signal,
    SignalRequest,
    decode_request,
    encode_reply,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*PEER_REQUESTS, "x"]) | JSON,
        "to_peer": JSON,
        "data": JSON,
        "message": JSON,
    },
)


def decode_or_fault(text: str | bytes) -> PeerRequest | MessageError:
    try:
        return decode_request(text)
    except MessageError as error:
        return error


@given(st.text() | st.binary() | FRAMES.map(json.dumps))
def test_anything_is_a_request_or_a_fault_that_can_be_sent(frame: str | bytes) -> None:
    found = decode_or_fault(frame)
    if isinstance(found, PeerRequest):
        assert PEER_REQUESTS[found.type] is type(found)
        return
    assert found.code in {
        ErrorCode.INVALID_JSON, ErrorCode.INVALID_MESSAGE, ErrorCode.UNKNOWN_TYPE, ErrorCode.UNSUPPORTED,
    }  # fmt: skip
    sent = json.loads(encode_reply(PeerError(code=found.code, error=found.error, field=found.field)))
    assert (sent["type"], sent["error"]) == ("error", found.error)
    assert len(found.error) < 600


@given(st.dictionaries(st.text("abc", max_size=3), JSON, max_size=4))
def test_what_a_peer_signals_arrives_as_it_was(data: dict[str, object]) -> None:
    request = decode_request(json.dumps({"type": "signal", "to_peer": "bob", "data": data}))
    assert isinstance(request, SignalRequest)
    frame = json.loads(encode_reply(Signal(from_peer="ada", data=request.data)))
    assert frame == {"type": "signal", "from_peer": "ada", "data": json.loads(json.dumps(data))}


def test_without_fields_there_is_the_type() -> None:
    assert encode_reply(PeerPong()) == '{"type":"pong"}'


@pytest.mark.parametrize("depth", range(180, 220))
def test_what_is_nested_as_deep_as_can_be_read_can_be_sent(depth: int) -> None:
    found = decode_or_fault('{"type":"signal","data":{"x":' + "[" * depth + "]" * depth + "}}")
    if isinstance(found, SignalRequest):
        encode_reply(Signal(from_peer="ada", data=found.data))
    else:
        assert found.code == ErrorCode.INVALID_JSON
        assert depth > 190
