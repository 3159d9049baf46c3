"""PROTOCOL.md and the code say the same."""

import json
import re
from pathlib import Path

import pytest

import signaling
from signaling import connection, events, handlers, outbox, preparations, replay, session
from signaling.announcements import ANNOUNCEMENTS
from signaling.messages import (
    CLIENT_MESSAGES,
    CLOSE_CODES,
    ERROR_CODES,
    SERVER_MESSAGES,
    ChatMessage,
    ErrorCode,
    Limits,
    Participant,
    Track,
    audio_frames,
    decode_client,
    decode_server,
)
from signaling.messages.client import MAX_SECTIONS
from signaling.messages.model import MAX_SDP_LENGTH, Message, Part
from signaling.session_limits import SESSION_LIMITS
from signaling.voices import hearing, mix, playouts, speakers, speech, stream

PAGE = (Path(signaling.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
NOUNS: dict[str, type[Part]] = {"participant": Participant, "track": Track, "chat message": ChatMessage}


class Section:
    def __init__(self, text: str) -> None:
        title, _, self.body = text.partition("\n")
        found = re.match(r"`(\w+)`( \((request|event)\))?", title)
        self.type = found[1] if found else title.strip("* ")
        self.is_request = found is not None and (
            found[3] == "request" if found[3] else self.type in CLIENT_MESSAGES
        )
        self.fields = re.findall(r"^\| `(\w+)` \|", self.body, re.MULTILINE)
        self.examples = re.findall(r"```json\n(.*?)```", self.body, re.DOTALL)

    @property
    def model(self) -> type[Message]:
        return (CLIENT_MESSAGES if self.is_request else SERVER_MESSAGES)[self.type]

    def __repr__(self) -> str:
        return f"{self.type}{'>' if self.is_request else '<'}"


def chapter(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def sections(*titles: str) -> list[Section]:
    return [Section(text) for title in titles for text in chapter(title).split("\n### ")[1:]]


MESSAGES = sections("Requests and their replies", "Events")


def test_every_message_has_one_section() -> None:
    requests = [one.type for one in MESSAGES if one.is_request]
    others = [one.type for one in MESSAGES if not one.is_request]
    assert sorted(requests) == sorted(CLIENT_MESSAGES)
    assert sorted(others) == sorted(SERVER_MESSAGES)


@pytest.mark.parametrize("section", MESSAGES, ids=repr)
def test_fields_of_a_message_are_those_of_its_model(section: Section) -> None:
    assert section.fields == list(section.model.model_fields) or (
        section.type == "joined" and sorted(section.fields) == sorted(section.model.model_fields)
    )


@pytest.mark.parametrize("section", MESSAGES, ids=repr)
def test_example_of_a_message_decodes_to_it(section: Section) -> None:
    (example,) = section.examples
    frame = (decode_client if section.is_request else decode_server)(example)
    assert type(frame.message) is section.model
    # Nothing in it is ignored as unknown, down to the innermost part.
    assert frame.message.model_dump(mode="json") == json.loads(example)["data"]


def test_nouns_have_the_fields_of_their_models() -> None:
    described = {one.type: one.fields for one in sections("Nouns")}
    assert described == {
        name: [*model.model_fields, *model.model_computed_fields] for name, model in NOUNS.items()
    }


def test_limits_named_are_those_sent() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `limits` |"))
    assert all(name in row for name in Limits.model_fields)


def test_error_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", chapter("Error codes"), re.MULTILINE)
    assert dict(rows) == {code.value: text for code, text in ERROR_CODES.items()}
    assert set(ERROR_CODES) == set(ErrorCode)


def test_close_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", chapter("Close codes"), re.MULTILINE)
    assert {int(code): text for code, text in rows} == {int(code): text for code, text in CLOSE_CODES.items()}


def test_numbers_in_the_page_are_those_of_the_code() -> None:
    text = " ".join(chapter("Life of a connection").split())
    for number, phrase in (
        (connection.MESSAGE_BURST, "{} messages in a burst"),
        (connection.MESSAGES_PER_SECOND, "{} a second on average"),
        (SESSION_LIMITS["chat"].burst, "{} chat lines in a burst"),
        (SESSION_LIMITS["chat"].per_second, "and {} a second,"),
        (SESSION_LIMITS["join"].burst, "{} joins in a burst"),
        (SESSION_LIMITS["join"].per_second * 60, "and {} a minute,"),
        (SESSION_LIMITS["audio_listen"].burst, "{} requests to listen in a burst"),
        (SESSION_LIMITS["audio_listen"].per_second, "listen in a burst and {} a second,"),
        (SESSION_LIMITS["play_open"].burst, "{} playouts in a burst"),
        (SESSION_LIMITS["play_open"].per_second, "playouts in a burst and {} a second,"),
        (SESSION_LIMITS["play_clear"].burst, "{} interruptions"),
        (SESSION_LIMITS["press"].per_second, "keys pressed in a burst and {} a second."),
        (connection.SOUND_BURST, "{} frames in a burst"),
        (connection.SOUND_FRAMES_PER_SECOND, "and {} frames a second"),
        (playouts.REMEMBERED, "how the last {} ended"),
        (replay.REPLAY_EVENTS, "keeps the last {} events"),
        (connection.REFUSAL_BURST, "more than {} refusals"),
        (connection.REFUSALS_PER_SECOND, "and {} more a second"),
        (outbox.MAX_FRAMES, "({} frames"),
        (MAX_SECTIONS, "at most {} entries"),
        (MAX_SDP_LENGTH, "`sdp` {} characters"),
        (session.MEDIA_LOST_SECONDS, "ends after {} s"),
    ):
        assert phrase.format(f"{number:,g}" if number < 400_000 else f"{number:,}") in text, phrase


def test_numbers_about_sound_are_those_of_the_code() -> None:
    text = " ".join(chapter("Sound as samples").split())
    for number, phrase in (
        (audio_frames.HEADER.size, "a header of {} bytes"),
        (audio_frames.VERSION, "| version | u8 | {} |"),
        (audio_frames.VOICED, "| {} *voiced*"),
        (audio_frames.GAP, "; {} *gap*"),
        (audio_frames.END, "; {} *end*"),
        (stream.MAX_FRAMES, "{} frames wait"),
        (hearing.MAX_LISTENING, "At most {} streams and subscriptions"),
        (speakers.MAX_SPEAKERS, "brings at most {} streams"),
        (playouts.MAX_PLAYOUTS, "At most {} playouts"),
        (playouts.MAX_WAITING_SECONDS, "beyond {} s of one"),
        (playouts.MAX_SESSION_WAITING_SECONDS, "or {} s of all"),
        (int(speech.PROGRESS_SECONDS * 1000), "every {} ms how much"),
        (mix.FRAME_MS, "a tick of {} ms"),
        (connection.BAD_FRAMES_SECONDS, "ten in a row within {} s"),
    ):
        assert phrase.format(f"{number:g}") in text, phrase
    assert audio_frames.HEADER.format in text
    words = (hearing.MAX_SUBSCRIPTIONS, playouts.MAX_FRAME_SECONDS, connection.BAD_FRAMES)
    assert words == (2, 1, 10)


def test_every_message_has_a_handler_and_every_lobby_event_an_announcement() -> None:
    assert set(handlers.HANDLERS) == set(CLIENT_MESSAGES.values())
    assert set(preparations.PREPARATIONS) < set(handlers.HANDLERS)
    defined = {
        one for one in vars(events).values() if isinstance(one, type) and issubclass(one, events.LobbyEvent)
    }
    unannounced = {events.LobbyEvent, events.LobbyOpened, events.LobbyUpdated}
    assert set(ANNOUNCEMENTS) == defined - unannounced


def test_every_reply_and_error_named_exists() -> None:
    for section in (one for one in MESSAGES if one.is_request):
        reply, *errors = re.findall(r"`(\w+)`", section.body.split("Reply: ")[1].split("\n\n")[0])
        assert reply in SERVER_MESSAGES
        assert set(errors) <= set(ERROR_CODES)
