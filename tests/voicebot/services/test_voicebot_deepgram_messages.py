"""What Deepgram says, and the turn rule."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebot.services.api_key import ApiKey
from voicebot.services.deepgram import (
    MAX_TURN_LENGTH,
    DeepgramSettings,
    Fault,
    Metadata,
    Results,
    SpeechStarted,
    Turn,
    TurnAssembler,
    UtteranceEnd,
    parse_message,
)
from voicebot.services.errors import MissingKeyError, ServiceFormatError


def results(
    text: str, *, start: float = 0.0, final: bool = True, speech_final: bool = False, **more
) -> Results:
    words = [
        {"word": word, "start": start + n, "end": start + n + 0.5, "confidence": 0.5}
        for n, word in enumerate(text.split())
    ]
    message = parse_message(
        json.dumps(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": start,
                "duration": 3.0,
                "is_final": final,
                "speech_final": speech_final,
                "channel": {"alternatives": [{"transcript": text, "confidence": 0.5, "words": words}]},
                **more,
            }
        )
    )
    assert isinstance(message, Results)
    return message


def test_turn_is_what_was_final_until_speech_final() -> None:
    turns = TurnAssembler()
    assert turns.apply(results("good mor", final=False)) is None
    assert turns.apply(results("good morning")) is None
    assert turns.apply(results("", start=2)) is None
    assert turns.text == "good morning"
    turn = turns.apply(results("dear all", start=4, speech_final=True))
    assert turn == Turn("good morning dear all", 0.0, 5.5, 0.5, "speech_final")
    assert turns.text == ""


def test_turn_is_ended_by_the_end_of_the_utterance_when_no_silence_was_heard() -> None:
    turns = TurnAssembler()
    turns.apply(results("in the noise"))
    turn = turns.apply(UtteranceEnd(last_word_end=2.5))
    assert turn is not None
    assert (turn.text, turn.ended_by) == ("in the noise", "utterance_end")
    assert turns.apply(UtteranceEnd()) is None  # it also comes after speech_final


def test_empty_speech_final_ends_the_turn_before_it() -> None:
    turns = TurnAssembler()
    turns.apply(results("well"))
    turn = turns.apply(results("", start=5, speech_final=True))
    assert turn is not None
    assert (turn.text, turn.end_s) == ("well", 0.5)


def test_finalized_result_ends_the_turn() -> None:
    turn = TurnAssembler().apply(results("so", from_finalize=True))
    assert turn is not None
    assert turn.ended_by == "finalize"


def test_turn_without_an_end_is_ended_by_its_length() -> None:
    turns = TurnAssembler()
    ended = [turns.apply(results("word " * 100)) for _ in range(100)]
    lengths = [len(turn.text) for turn in ended if turn is not None]
    assert lengths
    assert max(lengths) < MAX_TURN_LENGTH + 600


def test_text_without_words_has_the_time_of_its_result() -> None:
    message = Results.model_validate(
        {
            "channel": {"alternatives": [{"transcript": "hm", "confidence": 1.0}]},
            "start": 3.0,
            "duration": 0.5,
            "is_final": True,
        }
    )
    turns = TurnAssembler()
    turns.apply(message)
    assert turns.flush("closed") == Turn("hm", 3.0, 3.5, 1.0, "closed")


def test_other_messages_are_read() -> None:
    assert parse_message('{"type": "SpeechStarted", "channel": [0], "timestamp": 1.5}') == SpeechStarted(
        timestamp=1.5
    )
    assert parse_message(
        '{"type": "Metadata", "request_id": "r", "duration": 2.0, "channels": 1}'
    ) == Metadata(request_id="r", duration=2.0)
    fault = parse_message('{"type": "Error", "description": "no such model"}')
    assert isinstance(fault, Fault)
    assert fault.text == "no such model"
    assert parse_message('{"type": "TurnInfo", "event": "Update"}') is None


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '{"type": 7}',
        "{}",
        b"\xff\xfe",
        '{"type": "Results"}',
        "[" * 100_000,
        '{"type": "Results", "channel": {"alternatives": [{"transcript": 7}]}}',
    ],
)
def test_garbage_is_told_as_such(frame: str | bytes) -> None:
    with pytest.raises(ServiceFormatError, match="Deepgram sent"):
        parse_message(frame)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "channel", "alternatives", "transcript", "words", "start", "is_final"])
            | st.text(max_size=3),
            inner | st.sampled_from(["Results", "UtteranceEnd", "SpeechStarted"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.lists(_JSON | st.binary(max_size=20), max_size=5))
def test_whatever_it_says_leads_to_a_message_or_to_the_error(said: list) -> None:
    turns = TurnAssembler()
    for each in said:
        try:
            message = parse_message(each if isinstance(each, bytes) else json.dumps(each))
        except ServiceFormatError:
            continue
        if message is not None:
            turns.apply(message)


def test_address_says_what_is_sent_and_wanted() -> None:
    settings = DeepgramSettings(
        key=None,
        base_url="wss://speech.example/",
        language="de",
        keyterms=("Trio", "a&b"),
        endpointing_ms=400,
    )
    url = urlsplit(settings.url(16000))
    assert (url.scheme, url.netloc, url.path) == ("wss", "speech.example", "/v1/listen")
    query = parse_qs(url.query)
    assert query["keyterm"] == ["Trio", "a&b"]
    del query["keyterm"]
    assert {name: value for name, (value,) in query.items()} == {
        "model": "nova-3",
        "language": "de",
        "encoding": "linear16",
        "sample_rate": "16000",
        "channels": "1",
        "interim_results": "true",
        "endpointing": "400",
        "utterance_end_ms": "1000",
        "vad_events": "true",
        "punctuate": "true",
        "smart_format": "true",
    }


@pytest.mark.parametrize("wrong", [{"utterance_end_ms": 500}, {"endpointing_ms": 0}])
def test_settings_that_the_service_would_refuse_are_refused_here(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DeepgramSettings(key=None, **wrong)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x", "wss://", "wss://x:port", "wss://user:secret@x", "wss://[::1"]
)
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected a base URL"):
        DeepgramSettings(key=None, base_url=url)


def test_settings_come_from_the_environment() -> None:
    settings = DeepgramSettings.from_environment({"DEEPGRAM_API_KEY": "k-1", "DEEPGRAM_LANGUAGE": "fr"})
    assert settings.key is not None
    assert settings.key.reveal() == "k-1"
    assert (settings.base_url, settings.language) == ("wss://api.deepgram.com", "fr")
    assert DeepgramSettings.from_environment({"DEEPGRAM_URL": "ws://here"}).key is None
    with pytest.raises(MissingKeyError, match="set DEEPGRAM_API_KEY, or DEEPGRAM_API_KEY_FILE"):
        DeepgramSettings.from_environment({})


def test_key_is_in_no_text(tmp_path) -> None:
    path = tmp_path / "key"
    path.write_text("k-secret\n")
    key = ApiKey.from_environment("X", {"X_FILE": str(path)})
    assert key.reveal() == "k-secret"
    settings = DeepgramSettings(key=key)
    for text in (repr(key), str(key), f"{key}", repr(settings), key.redact("bad key k-secret")):
        assert "k-secret" not in text
    for wrong in ("two words", "\x00", "schlüssel"):
        with pytest.raises(MissingKeyError) as raised:
            ApiKey.from_environment("X", {"X": wrong})
        assert wrong not in str(raised.value)
    with pytest.raises(MissingKeyError, match="cannot be read"):
        ApiKey.from_environment("X", {"X_FILE": str(tmp_path / "none")})
