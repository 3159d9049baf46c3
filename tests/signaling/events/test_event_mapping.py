"""Every event becomes plain values, and what people write stays out."""

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

import pytest
from pydantic_core import to_json

from signaling import events
from signaling.event_mapping import (
    PRIVATE_FIELDS,
    company_of,
    event_to_mapping,
    lobby_of,
    participant_of,
    session_of,
)
from signaling.event_types import event_types
from signaling.events import Event
from signaling.messages import ChatMessage, Participant, Track

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRACK = Track(track_id="t-1", kind="audio", source="microphone", muted=False)
PERSON = Participant(participant_id="p-1", name="Ada", is_bot=False, joined_at=AT, tracks=(TRACK,))
LINE = ChatMessage(seq=3, participant_id="p-1", name="Ada", text="a secret between us", sent_at=AT)

#: A value for every field that an event may have.
VALUES: dict[str, Any] = {
    "participant": PERSON,
    "track": TRACK,
    "message": LINE,
    "shed": {"video": 3},
    "digit": "secret",
    "wait_ms": 1.5,
}


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    colour: Colour
    said: tuple[ChatMessage, ...]


@dataclass(frozen=True, slots=True)
class OddEvent(Event):
    inner: Inner
    mapping: Any
    names: frozenset[str]
    when: datetime
    address: Any
    ratio: float
    raw: bytes


@pytest.mark.parametrize("name", sorted(vars(events)))
def test_every_event_of_the_service_becomes_json(name: str) -> None:
    kind = getattr(events, name)
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        return
    event = kind(**{each.name: VALUES.get(each.name, f"{each.name}-1") for each in fields(kind)})
    data = event_to_mapping(event)
    assert set(data) == {each.name for each in fields(kind)} - PRIVATE_FIELDS.get(kind, frozenset())
    text = to_json(data).decode()
    assert json.loads(text) == data
    assert "secret" not in text


def test_values_of_all_kinds_become_plain() -> None:
    event = OddEvent(
        inner=Inner(Colour.RED, (LINE,)),
        mapping=MappingProxyType({1: (AT, None, True)}),
        names=frozenset("ba"),
        when=AT.astimezone(timezone(timedelta(hours=1))),
        address=ip_address("127.0.0.1"),
        ratio=float("inf"),
        raw=b"x",
    )
    data = event_to_mapping(event)
    assert data == {
        "inner": {
            "colour": "red",
            "said": [{"seq": 3, "participant_id": "p-1", "name": "Ada", "sent_at": "2026-01-31T12:00:00Z"}],
        },
        "mapping": {"1": ["2026-01-31T12:00:00Z", None, True]},
        "names": ["a", "b"],
        "when": "2026-01-31T13:00:00+01:00",
        "address": "127.0.0.1",
        "ratio": "inf",
        "raw": "b'x'",
    }


def test_unwanted_fields_are_left_out_at_any_depth() -> None:
    event = events.ParticipantEntered("garden", "s-1", PERSON)
    data = event_to_mapping(event, without=frozenset({"tracks", "lobby"}))
    assert set(data) == {"company_id", "lobby_id", "session_id", "participant"}
    assert "tracks" not in data["participant"]


def test_it_tells_what_an_event_is_about() -> None:
    assert lobby_of({"lobby": "garden", "lobby_id": "l-1"}) == "l-1"
    assert lobby_of({"lobby": "garden", "lobby_id": ""}) == "garden"
    assert lobby_of({"lobby": 3}) is None
    assert session_of({"session_id": "s-1"}) == "s-1"
    assert session_of({"session_id": ""}) is session_of({}) is None
    assert company_of({"company_id": "acme"}) == "acme"
    assert company_of({}) == company_of({"company_id": None}) == ""
    for event in (
        events.ParticipantEntered("garden", "s-1", PERSON),
        events.ParticipantRenamed("garden", PERSON),
        events.ChatSaid("garden", LINE),
        events.TrackEnded("garden", "p-1", "t-1"),
    ):
        assert participant_of(event_to_mapping(event)) == "p-1"
    assert participant_of(event_to_mapping(events.LobbyOpened("garden"))) is None


def test_types_are_those_that_can_happen() -> None:
    types = event_types()
    assert {"ChatSaid", "SessionOpened", "SpeakingChanged", "OddEvent"} <= types
    assert not {"Event", "LobbyEvent"} & types
