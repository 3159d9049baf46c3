"""The codec is total, and what it writes it reads."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from signaling.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    ChatSend,
    ErrorCode,
    Join,
    MessageError,
    Mute,
    Ok,
    Participant,
    ParticipantJoined,
    Ping,
    Resumed,
    decode_client,
    decode_server,
    encode_client,
    encode_server,
)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.text() | st.binary())
def test_any_text_is_a_message_or_a_message_error(text) -> None:
    for decode in (decode_client, decode_server):
        with pytest.raises(MessageError):
            decode(text)


@given(st.sampled_from(sorted(CLIENT_MESSAGES)), ANY_JSON, ANY_JSON)
def test_any_content_is_a_message_or_a_message_error(message_type, content, number) -> None:
    text = json.dumps({"type": message_type, "data": content, "id": number})
    refused: list[MessageError] = []
    try:
        frame = decode_client(text)
        assert decode_client(encode_client(frame.message, frame.id)) == frame
    except MessageError as error:
        refused.append(error)
    for error in refused:
        assert error.code in {ErrorCode.INVALID_JSON, ErrorCode.INVALID_MESSAGE}
        assert len(error.error) < 500


@given(
    st.text(min_size=1, max_size=64).filter(str.strip),
    st.text(min_size=1, max_size=64).filter(str.strip),
    st.integers(0, 2**53 - 1) | st.none(),
)
def test_a_join_comes_back_as_it_was(lobby, name, number) -> None:
    try:
        message = Join(lobby=lobby, name=name)
    except ValidationError:
        return
    frame = decode_client(encode_client(message, number))
    assert frame.message == message
    assert frame.id == number
    assert message.name == message.name.strip()


@pytest.mark.parametrize("text", ["a\nb", "\tcode", "\U0001f469‍\U0001f680", "<script>", "עברית"])
def test_chat_may_hold_what_people_write(text) -> None:
    assert ChatSend(text=text).text == text.strip()


@pytest.mark.parametrize("text", ["", " \n ", "a\x00", "a\x1b[31m", "\u2028", "a\u2066", "\x85"])
def test_chat_may_not_hold_control_characters(text) -> None:
    with pytest.raises(ValidationError):
        ChatSend(text=text)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Ping().x = 1
    with pytest.raises(ValidationError, match="frozen"):
        Mute(track_id="t", muted=True).muted = False


def test_frames_have_the_documented_form() -> None:
    assert json.loads(encode_client(Ping())) == {"type": "ping", "data": {}}
    assert json.loads(encode_client(Ping(), 0)) == {"type": "ping", "data": {}, "id": 0}
    assert json.loads(encode_server(Ok(), 3)) == {"type": "ok", "data": {}, "re": 3}
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    participant = Participant(participant_id="p", name='"\\\n', is_bot=False, joined_at=at, tracks=())
    frame = json.loads(encode_server(ParticipantJoined(participant=participant)))
    assert frame["data"]["participant"]["joined_at"] == "2026-01-31T12:00:00Z"
    assert frame["data"]["participant"]["name"] == '"\\\n'
    resumed = Resumed(session_id="s", lobby=None, media_state="new")
    assert json.loads(encode_server(resumed))["data"]["lobby"] is None


def test_types_are_unique_snake_case() -> None:
    for table in (CLIENT_MESSAGES, SERVER_MESSAGES):
        for message_type, model in table.items():
            assert message_type == model.type
            assert message_type.replace("_", "").isalpha()
            assert message_type.islower()


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(MessageError) as caught:
        decode_server('{"type":"pong","data":{"time":"2026-01-31T12:00:00"}}')
    assert caught.value.field == "time"
