"""Reading the old server's ``sessions.json``. No IO; any bytes give what could be read, or one error that says where.

The file is a list of sessions, or an object with ``sessions``, ``name_passwords`` (or ``nameToPassword``) and
``lobbies``:

    {"sessions": [{"id": "...", "name": "Ada", "created_at": 1700000000, "last_used": ..., "displaced": false,
                   "lobbies": [{"id": "...", "name": "den", "private": true}]}],
     "name_passwords": {"Ada": {"salt": "...", "hash": "..."}},
     "lobbies": [{"id": "...", "name": "den", "private": true, "chat": [{"name": ..., "text": ..., "sent_at": ...}]}]}

What is wrong inside is left out and told of, with its path, and costs nothing beside it. Nothing is guessed: a password
whose salt is missing is not imported without one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from signaling.legacy.passwords import wrap_legacy

#: Times before and after these are counted in milliseconds, or nonsense.
_LATEST_SECONDS = 4_102_444_800  # the year 2100

_SESSIONS = ("sessions",)
_PASSWORDS = ("name_passwords", "nameToPassword", "name_to_password", "namePasswords", "passwords")
_LOBBIES = ("lobbies",)
_CHAT = ("chat", "chat_messages", "chatMessages", "messages")
_CREATED = ("created_at", "createdAt", "created")
_LAST_USED = ("last_used", "lastUsed", "last_seen", "last_seen_at")
_TEXT = ("text", "message", "content")
_SENDER = ("name", "sender_name", "senderName", "sender")
_SENT = ("sent_at", "timestamp", "time", "created_at")


class LegacyFileError(Exception):
    """The file as a whole cannot be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class LegacyChat:
    """A line of chat."""

    name: str
    text: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class LegacyLobby:
    """A lobby; ``path`` is where it stands in the file."""

    lobby_id: str
    name: str
    private: bool
    created_at: datetime | None
    chat: tuple[LegacyChat, ...]
    path: str


@dataclass(frozen=True, slots=True)
class LegacySession:
    """A session; its id was what its client showed to come back."""

    session_id: str
    name: str | None
    created_at: datetime | None
    last_used: datetime | None
    #: Somebody with the right password has taken its name.
    displaced: bool
    is_bot: bool
    path: str


@dataclass(frozen=True, slots=True)
class LegacyName:
    """A protected name, with what ``verify_legacy`` needs."""

    name: str
    password_hash: str
    path: str


@dataclass(frozen=True, slots=True)
class LegacyFile:
    """All that could be read, and what could not: path and reason."""

    sessions: tuple[LegacySession, ...]
    lobbies: tuple[LegacyLobby, ...]
    names: tuple[LegacyName, ...]
    faults: tuple[str, ...]


def read_sessions_file(content: bytes) -> LegacyFile:
    """Return what stands in the file.

    Raises: LegacyFileError when it is no JSON, or not of the shape.
    """
    return _Reader().read(_parse(content))


def _parse(content: bytes) -> Any:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LegacyFileError(f"byte {error.start} is not UTF-8; expected a JSON file in UTF-8") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        ends = " (the file ends there: is it whole?)" if error.pos >= len(text.rstrip()) else ""
        raise LegacyFileError(f"not valid JSON: {where}: {error.msg}{ends}") from None
    except (RecursionError, ValueError) as error:
        # Nested too deep, or a number of thousands of digits.
        raise LegacyFileError(f"not a sessions file: {str(error).splitlines()[0]}") from None


@dataclass(slots=True)
class _Reader:
    sessions: list[LegacySession] = field(default_factory=list)
    lobbies: list[LegacyLobby] = field(default_factory=list)
    names: list[LegacyName] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def read(self, content: Any) -> LegacyFile:
        """Read the whole file."""
        if isinstance(content, list):
            content = {"sessions": content}
        if not isinstance(content, Mapping):
            raise LegacyFileError(
                f"the file holds {_kind(content)}; expected a list of sessions, or an object with sessions, name_passwords "
                "and lobbies"
            )
        known = (*_SESSIONS, *_PASSWORDS, *_LOBBIES)
        if content and not any(key in content for key in known):
            found = ", ".join(repr(key)[:40] for key in list(content)[:5])
            raise LegacyFileError(
                f"none of its keys is known ({found}); expected sessions, name_passwords or lobbies"
            )
        for path, one in self._members(content, _SESSIONS, ""):
            self._session(path, one)
        for path, one in self._members(content, _LOBBIES, ""):
            self._lobby(path, one)
        self._passwords(content)
        return LegacyFile(tuple(self.sessions), tuple(self.lobbies), tuple(self.names), tuple(self.faults))

    def _session(self, path: str, content: Any) -> None:
        with_fault = self._checked(path, content)
        if with_fault is None:
            return
        for inner, lobby in self._members(content, _LOBBIES, f"{path}."):
            self._lobby(inner, lobby)
        session_id = with_fault("id")
        if session_id is None:
            return
        name = content.get("name")
        if name is not None and not isinstance(name, str):
            self.faults.append(f"{path}.name: {_kind(name)}, expected a text; imported without a name")
            name = None
        self.sessions.append(
            LegacySession(
                session_id,
                name or None,
                self._time(path, content, _CREATED),
                self._time(path, content, _LAST_USED),
                displaced=bool(content.get("displaced") or content.get("displaced_at")),
                is_bot=bool(content.get("is_bot")),
                path=path,
            )
        )

    def _lobby(self, path: str, content: Any) -> None:
        with_fault = self._checked(path, content)
        if with_fault is None:
            return
        name = with_fault("name")
        if name is None:
            return
        private = content.get("private", False)
        if not isinstance(private, bool):
            # Who meant it to be private must not find it open.
            self.faults.append(f"{path}.private: {_kind(private)}, expected true or false; taken for true")
            private = True
        lobby_id = content.get("id")
        self.lobbies.append(
            LegacyLobby(
                lobby_id if isinstance(lobby_id, str) else "",
                name,
                private,
                self._time(path, content, _CREATED),
                tuple(self._chat(path, content)),
                path,
            )
        )

    def _chat(self, path: str, content: Mapping[str, Any]) -> Iterator[LegacyChat]:
        for inner, line in self._members(content, _CHAT, f"{path}."):
            if self._checked(inner, line) is None:
                continue
            text, name = _first(line, _TEXT), _first(line, _SENDER)
            if not isinstance(text, str):
                self.faults.append(f"{inner}: has no text")
                continue
            yield LegacyChat(
                name if isinstance(name, str) and name else "?", text, self._time(inner, line, _SENT)
            )

    def _passwords(self, content: Mapping[str, Any]) -> None:
        for key in _PASSWORDS:
            kept = content.get(key)
            if kept is None:
                continue
            if not isinstance(kept, Mapping):
                self.faults.append(f"{key}: {_kind(kept)}, expected an object of names")
                continue
            for name, password in kept.items():
                self._password(f"{key}[{name!r}]", name, password)

    def _password(self, path: str, name: str, password: Any) -> None:
        with_fault = self._checked(path, password)
        if with_fault is None:
            return
        salt, digest = with_fault("salt"), with_fault("hash")
        if salt is None or digest is None:
            return
        try:
            self.names.append(LegacyName(name, wrap_legacy(salt, digest), path))
        except ValueError as error:
            self.faults.append(f"{path}: {error}")

    def _checked(self, path: str, content: Any) -> Callable[[str], str | None] | None:
        """Return how to get a text that must be there; None, with a fault noted, when this is no object."""
        if not isinstance(content, Mapping):
            self.faults.append(f"{path}: {_kind(content)}, expected an object")
            return None

        def required(key: str) -> str | None:
            value = content.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if isinstance(value, str) and value.strip():
                return value
            self.faults.append(
                f"{path}.{key}: {'missing' if value is None else _kind(value)}, expected a text"
            )
            return None

        return required

    def _members(
        self, content: Mapping[str, Any], keys: tuple[str, ...], above: str
    ) -> Iterator[tuple[str, Any]]:
        """Yield path and value of each member of a list, or of an object keyed by id."""
        for key in keys:
            members = content.get(key)
            if isinstance(members, list):
                yield from ((f"{above}{key}[{index}]", member) for index, member in enumerate(members))
            elif isinstance(members, Mapping):
                for name, member in members.items():
                    keyed = {"id": name, **member} if isinstance(member, Mapping) else member
                    yield f"{above}{key}[{name!r}]", keyed
            elif members is not None:
                self.faults.append(f"{above}{key}: {_kind(members)}, expected a list")

    def _time(self, path: str, content: Mapping[str, Any], keys: tuple[str, ...]) -> datetime | None:
        value = _first(content, keys)
        if value is None:
            return None
        found = _time(value)
        if found is None:
            self.faults.append(f"{path}: {str(value)[:40]!r} is no time; left out")
        return found


def _time(value: Any) -> datetime | None:
    """Seconds or milliseconds since 1970, or ISO 8601; a time without a zone is in UTC."""
    try:
        if isinstance(value, str):
            told = datetime.fromisoformat(value)
            return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if value > _LATEST_SECONDS else value
            return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds <= _LATEST_SECONDS else None
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _first(content: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((content[key] for key in keys if content.get(key) is not None), None)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value!r:.20}"
    if isinstance(value, str):
        return f"the text {value[:20]!r}"
    return "an object" if isinstance(value, Mapping) else "a list"
