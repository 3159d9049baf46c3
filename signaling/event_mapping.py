"""An event as plain values that JSON can carry: for the log, the store, the admin's stream and webhooks alike.

What people write to each other, and which keys they press, is left out, at any depth. Total: a value of a type that is not known here becomes text.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any

from pydantic import BaseModel

from signaling.events import DtmfPressed, Event
from signaling.messages import ChatMessage

#: class -> fields of it that leave the service only to whom they were meant for.
PRIVATE_FIELDS: dict[type, frozenset[str]] = {
    ChatMessage: frozenset({"text"}),
    # It may be one of a PIN, or of a credit card's number.
    DtmfPressed: frozenset({"digit"}),
}
_NONE: frozenset[str] = frozenset()
#: Names of fields that say which lobby an event is about, the surest first.
_LOBBY_FIELDS = ("lobby_id", "lobby")


def event_to_mapping(event: Event, *, without: AbstractSet[str] = _NONE) -> dict[str, Any]:
    """Return the event's fields; ``without`` names fields, at any depth, that are not wanted."""
    return _object_to_mapping(event, without)


def lobby_of(data: Mapping[str, Any]) -> str | None:
    """Return the id of the lobby that an event's mapping is about, or None."""
    for name in _LOBBY_FIELDS:
        value = data.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def session_of(data: Mapping[str, Any]) -> str | None:
    """Return the id of the session that an event's mapping is about, or None."""
    value = data.get("session_id")
    return value if isinstance(value, str) and value else None


def company_of(data: Mapping[str, Any]) -> str:
    """Return the company whose event this is; empty: nobody's."""
    value = data.get("company_id")
    return value if isinstance(value, str) else ""


def participant_of(data: Mapping[str, Any]) -> str | None:
    """Return the id of the participant that an event's mapping is about, or None."""
    for holder in (data, data.get("participant"), data.get("message")):
        if isinstance(holder, Mapping) and isinstance(holder.get("participant_id"), str):
            return str(holder["participant_id"])
    return None


def _object_to_mapping(value: object, without: AbstractSet[str]) -> dict[str, Any]:
    kind = type(value)
    if isinstance(value, BaseModel):
        names = list(type(value).model_fields)
    else:
        assert is_dataclass(value)
        names = [each.name for each in fields(value)]
    private = PRIVATE_FIELDS.get(kind, _NONE)
    return {
        name: _plain(getattr(value, name), without)
        for name in names
        if name not in private and name not in without
    }


def _plain(value: object, without: AbstractSet[str]) -> Any:
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)  # JSON has neither infinity nor NaN
    if isinstance(value, Enum):
        return _plain(value.value, without)
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        return _object_to_mapping(value, without)
    if isinstance(value, Mapping):
        return {str(key): _plain(each, without) for key, each in value.items() if key not in without}
    if isinstance(value, AbstractSet):
        return sorted((_plain(each, without) for each in value), key=str)
    if isinstance(value, tuple | list):
        return [_plain(each, without) for each in value]
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value)


def rfc3339(moment: datetime) -> str:
    """Return the time as all messages of the service show it."""
    return moment.isoformat().replace("+00:00", "Z")
